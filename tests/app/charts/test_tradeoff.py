"""Accuracy against cost: the Pareto front against brute force, and what a click selects."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.selection.strategies import STRATEGIES
from app.charts.strategy_looks import strategy_look
from app.charts.tradeoff import FRONT, NO_POINT, RunPoint, pareto_front, tradeoff_figure
from app.theme import PALETTES, SelectableFigure

LIGHT = PALETTES["light"]
POINTS = [
    RunPoint("r1", "adabet · seed 0", "adabet", "seed 0", 200.0, 0.92),
    RunPoint("r2", "full · seed 0", "full", "seed 0", 900.0, 0.97),
    RunPoint("r3", "adabet · seed 1", "adabet", "seed 1", 210.0, 0.90),
    RunPoint("r4", "head · seed 0", "head", "seed 0", 100.0, 0.75),
]


def draw(points=POINTS, **options):
    return tradeoff_figure(points, x_title="Peak memory", unit="MB", palette=LIGHT, **options)


def by_name(figure):
    return {t.name: t for t in figure.data}


def unbeaten(costs, gains):
    """Pareto's definition, pair by pair."""
    return {
        i
        for i in range(len(costs))
        if not any(
            costs[j] <= costs[i]
            and gains[j] >= gains[i]
            and (costs[j] < costs[i] or gains[j] > gains[i])
            for j in range(len(costs))
        )
    }


@pytest.mark.parametrize("seed", range(40))
def test_the_front_equals_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 40))
    if seed % 2:
        costs, gains = rng.random(size), rng.random(size)
    else:  # few values: many ties and equal points
        costs, gains = rng.integers(0, 5, size), rng.integers(0, 5, size)
    front = pareto_front(costs, gains)
    assert set(front.tolist()) == unbeaten(costs, gains)
    assert len(set(front.tolist())) == len(front)
    assert (np.diff(costs[front]) >= 0).all()
    assert (np.diff(gains[front]) >= 0).all()


def test_ties():
    # Of equal costs only the best, of equal gains only the cheapest.
    assert pareto_front([1, 1], [5, 6]).tolist() == [1]
    assert pareto_front([2, 1], [5, 5]).tolist() == [1]
    # Equal points do not beat each other, and keep their order.
    assert pareto_front([1, 0, 1], [5, 3, 5]).tolist() == [1, 0, 2]
    assert pareto_front([1, 1, 0], [5, 5, 5]).tolist() == [2]


def test_a_point_without_a_number_is_never_on_the_front():
    nan = np.nan
    assert pareto_front([nan, 1, 2, 0], [9, nan, 5, 1]).tolist() == [3, 2]
    assert pareto_front([0, 1], [nan, 1]).tolist() == [1]  # though nothing is cheaper
    assert pareto_front([], []).tolist() == []
    assert pareto_front([nan], [1]).tolist() == []


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"must be \(n,\), got \(2,\) and \(1,\)"):
        pareto_front([1, 2], [1])


def test_seeds_of_a_strategy_share_a_trace_and_a_colour():
    traces = by_name(draw())
    assert list(traces) == [FRONT, "AdaBet", "Head only", "Full"], "in the order of the registry"
    assert list(zip(traces["AdaBet"].x, traces["AdaBet"].y, strict=True)) == [(200, 92), (210, 90)]
    for name, title in (("adabet", "AdaBet"), ("full", "Full"), ("head", "Head only")):
        assert traces[title].marker.color == strategy_look(LIGHT, name).color


def test_a_strategy_keeps_its_look_when_others_are_filtered_away():
    whole, alone = (
        by_name(draw())["Head only"].marker,
        by_name(draw(POINTS[3:]))["Head only"].marker,
    )
    assert (whole.color, whole.symbol) == (alone.color, alone.symbol)
    # One that only another version has comes last, in no colour of theirs.
    other = RunPoint("r0", "newer", "newer", "seed 0", 50.0, 0.5)
    traces = by_name(draw([other, *POINTS]))
    assert list(traces)[-1] == "newer"
    assert traces["newer"].marker.color == LIGHT.noise


def test_variants_of_a_strategy_have_its_colour_and_other_symbols():
    points = [RunPoint(f"r{i}", f"by {i}", "adabet", "seed 0", 1.0, 0.5, variant=i) for i in (0, 1)]
    points.append(RunPoint("r2", "f", "fisher", "seed 0", 1.0, 0.5))
    traces = by_name(draw(points))
    marker = traces["AdaBet"].marker
    assert len(set(marker.symbol)) == 2
    assert marker.line.width[1] > 1, "an open symbol is all line"
    assert traces["Fisher"].marker.color != marker.color


def test_more_strategies_have_a_higher_legend():
    points = [RunPoint(f"r{i}", n, n, "seed 0", 1.0, 0.5) for i, n in enumerate(STRATEGIES)]
    assert draw(points).layout.height > draw().layout.height == 340


def test_the_front_is_a_staircase_to_the_right_edge():
    figure = draw()
    front = by_name(figure)[FRONT]
    right = figure.layout.xaxis.range[1]
    assert list(zip(front.x, front.y, strict=True)) == [
        (100, 75),
        (200, 92),
        (900, 97),
        (right, 97),
    ]
    assert front.line.shape == "hv"
    assert right > 900
    assert front.mode == "lines"


def test_a_click_selects_a_run_and_never_the_front():
    figure = draw()
    ids = [i for t in figure.data if t.name != FRONT for (i,) in t.customdata]
    assert sorted(ids) == ["r1", "r2", "r3", "r4"]
    assert list(by_name(figure)["AdaBet"].customdata) == [["r1"], ["r3"]]
    front = by_name(figure)[FRONT]
    assert (front.customdata, front.hoverinfo) == (None, "skip")
    assert figure.layout.clickmode == "event+select"
    assert isinstance(figure, SelectableFigure)
    assert figure.to_dict()["layout"]["dragmode"] == "none"


def test_hovering_shows_the_run_and_its_numbers():
    best, beaten = by_name(draw(y_title="Test accuracy"))["AdaBet"].hovertext
    assert best.split("<br>")[:4] == [
        "<b>adabet · seed 0</b>",
        "strategy AdaBet, seed 0",
        "test accuracy 92.0 %",
        "peak memory 200 MB",
    ]
    assert "on the Pareto front" in best
    assert "Pareto" not in beaten


def test_axes_have_titles_with_units():
    layout = draw(y_title="Test accuracy").layout
    assert layout.xaxis.title.text == "Peak memory (MB)"
    assert (layout.yaxis.title.text, layout.yaxis.ticksuffix) == ("Test accuracy", " %")
    assert layout.xaxis.range[0] == 0
    low, high = layout.yaxis.range
    assert low < 75 < 97 < high <= 100


def test_a_small_spread_looks_small():
    points = [RunPoint(f"{i}", "a", "a", f"seed {i}", 5.0, a) for i, a in enumerate((0.80, 0.801))]
    low, high = draw(points).layout.yaxis.range
    assert high - low == pytest.approx(10)
    low, high = draw([RunPoint("r", "a", "a", "seed 0", 5.0, 1.0)]).layout.yaxis.range
    assert (low, high) == (95, 100)


def test_without_finished_runs_a_note_says_so():
    lost = RunPoint("r", "a", "a", "seed 0", float("nan"), 0.5)
    unfinished = RunPoint("r", "a", "a", "seed 0", 5.0, float("nan"))
    for points in ([], [lost, unfinished]):
        figure = draw(points)
        assert [a.text for a in figure.layout.annotations] == [NO_POINT]
        assert not figure.data
        assert list(figure.layout.yaxis.range) == [0, 100]
        assert figure.layout.xaxis.showticklabels is False
    assert not draw().layout.annotations
