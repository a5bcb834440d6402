"""Runs that differ only in their seed are one line, one point and one tile."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.options import RunOptions
from analysis.runs.standings import standings
from analysis.runs.store import Run, RunStore
from analysis.selection.export import file_stem, run_settings
from analysis.sweeps.table import as_csv, markdown, rows_of
from app.charts.training import BAND, accuracy_figure
from app.components.finetune.live import tile_texts
from app.components.runs.table import run_frame
from app.components.shared.run_charts import MEMORY, tradeoff
from app.components.shared.run_groups import curve_of, groups_of
from app.components.shared.run_names import names_of
from app.theme import PALETTES
from tests.app.pages import opened
from tests.run_factories import finished_run, run_options

pytestmark = pytest.mark.usefixtures("home")
LIGHT = PALETTES["light"]


@pytest.fixture
def two_by_two(store: RunStore) -> list[Run]:
    """AdaBet by two normalisations, under two seeds."""
    return [
        finished_run(
            store, run_options("adabet", seed, normalization=by), accuracy=accuracy, peak=peak
        )
        for by, seed, accuracy, peak in (
            ("activation", 0, 0.80, 10_000_000),
            ("none", 0, 0.60, 30_000_000),
            ("activation", 1, 0.90, 14_000_000),
            ("none", 1, 0.70, 30_000_000),
        )
    ]


def test_names_have_what_differs_and_no_more(store: RunStore) -> None:
    def named(*options: RunOptions) -> list[str]:
        runs = [finished_run(store, one) for one in options]
        return [names_of(runs)[run.id] for run in runs]

    assert named(run_options("adabet"), run_options("size")) == ["AdaBet", "Size alone"]
    assert named(
        run_options("adabet", normalization="none", preset="paper", summary="total-persistence"),
        run_options("adabet", min_persistence=0.5, rho=0.2),
    ) == [
        "AdaBet · by none · from total-persistence · loops from 0 · preset paper · ρ = 0.10",
        "AdaBet · by activation · from b1 · loops from 0.5 · preset recommended · ρ = 0.20",
    ]
    # What plays no part does not count: size takes no normalisation, and full no ρ.
    assert named(run_options("size", normalization="none"), run_options("full", rho=0.5)) == [
        "Size alone",
        "Full",
    ]
    assert named(run_options("head", 0), run_options("head", 1)) == [
        "Head only · seed 0",
        "Head only · seed 1",
    ]
    first, second = named(run_options("last"), run_options("last"))
    assert first.startswith("Last layers · #")
    assert first != second


def test_a_reversed_run_is_never_taken_for_a_straight_one(store: RunStore) -> None:
    runs = [finished_run(store, run_options(name)) for name in ("adabet", "adabet-reversed")]
    groups = groups_of(runs)
    assert [group.name for group in groups] == ["AdaBet", "AdaBet, reversed"]
    assert [one.name for run in runs for one in groups_of([run])] == [g.name for g in groups]
    assert [row.strategy for row in standings(runs)[0]] == [r.options.strategy for r in runs]
    cells = {run.options: run for run in runs}
    lines = csv.DictReader(io.StringIO(as_csv(cells, cells)))
    assert [line["strategy"] for line in lines] == ["adabet", "adabet-reversed"]
    assert "| AdaBet | AdaBet, reversed |" in markdown(
        rows_of(cells, cells), ["adabet", "adabet-reversed"], 1
    )
    assert file_stem("runs", run_settings(runs[1].options)).count("adabet-reversed") == 1


def test_the_seeds_of_a_setting_are_one_group(two_by_two: list[Run]) -> None:
    groups = groups_of(two_by_two)
    assert [group.name for group in groups] == ["AdaBet · by activation", "AdaBet · by none"]
    assert [[run.options.recipe.seed for run in group.runs] for group in groups] == [[0, 1]] * 2
    assert {group.strategy for group in groups} == {"adabet"}
    assert [group.variant for group in groups] == [0, 1]
    single = groups_of(two_by_two, single=True)
    assert [group.name for group in single] == list(names_of(two_by_two).values())
    assert len({group.name for group in single}) == 4


def test_groups_with_other_seeds_say_so(store: RunStore, two_by_two: list[Run]) -> None:
    runs = [*two_by_two[::2], finished_run(store, run_options("size", 5))]
    assert [group.name for group in groups_of(runs)] == ["AdaBet · 2 seeds", "Size alone · seed 5"]


def test_the_same_run_twice_is_not_two_seeds(store: RunStore) -> None:
    runs = [finished_run(store, run_options("size")) for _ in range(2)]
    assert [len(group.runs) for group in groups_of(runs)] == [1, 1]
    assert len({group.name for group in groups_of(runs)}) == 2


def test_a_line_is_the_mean_in_a_band(two_by_two: list[Run]) -> None:
    curves = [curve_of(group) for group in groups_of(two_by_two)]
    assert curves[0].val_accuracy == pytest.approx([0.85])
    assert curves[0].accuracy_spread == pytest.approx([0.1 / np.sqrt(2)])
    assert curves[0].step_x == [1 / 16]
    figure = accuracy_figure(curves, epochs=8, palette=LIGHT)
    traces = {trace.name: trace for trace in figure.data}
    band = traces[f"AdaBet · by activation, {BAND}"]
    assert list(band.y) == pytest.approx([85 + 10 / np.sqrt(2), 85 - 10 / np.sqrt(2)])
    lines = [traces[curve.name].line for curve in curves]
    assert lines[0].color == lines[1].color
    assert lines[0].dash != lines[1].dash


def test_a_single_run_has_no_band(two_by_two: list[Run]) -> None:
    curves = [curve_of(group) for group in groups_of(two_by_two, single=True)]
    figure = accuracy_figure(curves, epochs=8, palette=LIGHT)
    assert not any(BAND in (trace.name or "") for trace in figure.data)


def test_a_point_is_a_mean_with_error_bars(two_by_two: list[Run]) -> None:
    figure = tradeoff(two_by_two[::2], MEMORY)
    (points,) = [trace for trace in figure.data if trace.name == "AdaBet"]
    assert list(points.x) == pytest.approx([12])
    assert list(points.y) == pytest.approx([85])
    assert list(points.error_y.array) == pytest.approx([10 / np.sqrt(2)])
    assert list(points.error_x.array) == pytest.approx([4 / np.sqrt(2)])
    assert points.customdata[0][0] == f"{two_by_two[0].id} {two_by_two[2].id}"
    assert "mean of 2 seeds" in points.hovertext[0]
    (front,) = [trace for trace in figure.data if trace.name == "Pareto front"]
    assert list(front.y) == pytest.approx([85, 85]), "the front goes through means"


def test_variants_of_a_strategy_have_symbols_of_their_own(two_by_two: list[Run]) -> None:
    (points,) = [t for t in tradeoff(two_by_two, MEMORY).data if t.name == "AdaBet"]
    assert len(set(points.marker.symbol)) == 2
    assert list(points.error_x.array) == pytest.approx([4 / np.sqrt(2), 0])


def test_a_tile_is_a_mean(store: RunStore, two_by_two: list[Run]) -> None:
    (group,) = groups_of(two_by_two[::2])
    assert tile_texts(group) == ("85.0 ± 7.1 %", "test · 2 of 2 seeds · 1.5 s · 14 MB")
    (waiting,) = store.add([run_options("adabet", 2)])
    store.request_stop(waiting)
    stopped = store.run(waiting)
    assert stopped is not None
    (group,) = groups_of([*two_by_two[::2], stopped])
    assert tile_texts(group) == ("85.0 ± 7.1 %", "test · 2 of 3 seeds · stopped")
    (alone,) = groups_of([two_by_two[0]])
    assert tile_texts(alone) == ("80.0 %", "test · 1.5 s · 10 MB")


def test_table_and_filters_have_what_chose_the_layers(
    store: RunStore, two_by_two: list[Run]
) -> None:
    frame = run_frame([*two_by_two, finished_run(store, run_options("full"))])
    scored = ["activation", "none", "activation", "none"]
    assert frame["Normalisation"].fillna("–").tolist() == [*scored, "–"]
    assert frame["Score from"].fillna("–").tolist() == ["b1"] * 4 + ["–"]
    assert frame["Preset"].tolist() == ["recommended"] * 5
    page = opened("runs")
    assert "run_preset" not in [item.key for item in page.multiselect]  # all have the same
    page.multiselect(key="run_normalization").set_value(["none"]).run()
    assert not page.exception
    assert page.dataframe[0].value["Normalisation"].tolist() == ["none", "none"]


def drawn_points(page: AppTest) -> list[Any]:
    spec = json.loads(page.get("plotly_chart")[0].proto.spec)
    (points,) = [trace for trace in spec["data"] if trace["name"] == "AdaBet"]
    return list(points["customdata"])


def test_single_runs_are_shown_on_request(two_by_two: list[Run]) -> None:
    page = opened("runs")
    assert len(drawn_points(page)) == 2
    page.toggle(key="single_runs").set_value(True).run()
    assert not page.exception
    assert len(drawn_points(page)) == 4
