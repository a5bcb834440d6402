"""What Explore saves: every file says with which settings it was made."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis.options import AnalysisOptions
from analysis.selection.certainty import certainty
from analysis.selection.export import command_line, settings
from analysis.topology.pipeline import analyze_named
from analysis.topology.store import fingerprint
from app.cache import layer_rows
from app.components.explore.saving import archive
from app.state import Choice, Shown
from tests.app.pages import opened

OPTIONS = AnalysisOptions(model="pocket-vgg", samples=12)
CHOICE = Choice(0.3, "flops", "paper", "total-persistence")


@pytest.fixture(scope="module")
def files(home: Path) -> dict[str, str]:
    shown = Shown(OPTIONS, analyze_named(OPTIONS), fingerprint(OPTIONS))
    rows = layer_rows(shown.key, CHOICE, shown.report)
    layers = ("features.0", "classifier.3")
    packed = archive(shown, rows, CHOICE, layers, "http://localhost/?rho=0.3", "light")
    with zipfile.ZipFile(io.BytesIO(packed)) as zipped:
        return {name: zipped.read(name).decode() for name in zipped.namelist()}


def test_the_archive_holds_every_number(files: dict[str, str], home: Path) -> None:
    report = analyze_named(OPTIONS)
    known = settings(OPTIONS, CHOICE.settings()) | {"head": report.head}
    (whole,) = [json.loads(text) for name, text in files.items() if name.endswith(".json")]
    assert {name: whole[name] for name in known} == known
    tables = {
        name.split("-")[1]: pd.read_csv(io.StringIO(text))
        for name, text in files.items()
        if name.endswith(".csv")
    }
    assert set(tables) == {"layers", "diagrams", "clusters"}
    for row, layer in zip(whole["layers"], report.layers, strict=True):
        assert row["diagrams"] == [diagram.tolist() for diagram in layer.diagrams]
        diagrams, clusters = tables["diagrams"], tables["clusters"]
        assert (diagrams["layer"] == layer.name).sum() == len(layer.diagram)
        assert (clusters["layer"] == layer.name).sum() == OPTIONS.samples
    for table in tables.values():
        assert set(known) <= set(table.columns)
        assert set(table["summary"]) == {"total-persistence"}


def test_the_json_says_how_sure_the_selection_is(home: Path) -> None:
    options = replace(OPTIONS, samples=16, batch_size=8, subsets=6)
    choice = Choice(0.3, "none", "recommended")
    shown = Shown(options, analyze_named(options), fingerprint(options))
    rows = layer_rows(shown.key, choice, shown.report)
    known = certainty(shown.report, rows, normalization="none")
    assert known is not None
    packed = archive(shown, rows, choice, (), "", "light")
    with zipfile.ZipFile(io.BytesIO(packed)) as zipped:
        (name,) = [name for name in zipped.namelist() if name.endswith(".json")]
        whole = json.loads(zipped.read(name))
    assert whole["certainty"]["now"] == asdict(known.now)
    assert known.sentence() in whole["notes"]


def test_the_archive_holds_the_link_and_the_command(files: dict[str, str]) -> None:
    assert files["link.txt"] == "http://localhost/?rho=0.3\n"
    assert files["command.txt"] == command_line(OPTIONS, CHOICE.settings()) + "\n"


def test_the_archive_draws_the_profile_and_the_chosen_layers(files: dict[str, str]) -> None:
    (page,) = [text for name, text in files.items() if name.endswith(".html")]
    assert page.count("<figure ") == 1 + 2 * 4
    assert page.count("total-persistence, BettiScope") == 9  # one caption each
    assert "<script src=" not in page  # it opens without a network


def test_names_say_the_settings(files: dict[str, str]) -> None:
    names = set(files) - {"link.txt", "command.txt"}
    assert len(names) == 5
    assert all("pocket-vgg-pretrained-digits-12-images-seed0-paper-flops" in n for n in names)


def test_a_figure_has_a_caption_and_a_format_on_request(home: Path) -> None:
    def drawn(page: AppTest) -> tuple[dict[str, Any], dict[str, Any]]:
        chart = page.get("plotly_chart")[1]  # after the titles
        return json.loads(chart.proto.spec), json.loads(chart.proto.config)

    page = opened()
    spec, config = drawn(page)
    assert config["toImageButtonOptions"]["format"] == "svg"
    assert "activation-rho0.1-b1-v" in config["toImageButtonOptions"]["filename"]
    assert "seed 0, preset recommended" not in json.dumps(spec)
    page.toggle(key="captions").set_value(True).run()
    assert not page.exception
    taller, _ = drawn(page)
    assert "preset recommended" in json.dumps(taller, ensure_ascii=False)
    assert taller["layout"]["height"] > spec["layout"]["height"]
    page.button_group(key="figure_format").set_value("PNG").run()
    assert not page.exception
    assert drawn(page)[1]["toImageButtonOptions"]["format"] == "png"
