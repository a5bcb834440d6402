"""Names that would be markup are shown letter by letter on every page and in every figure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image
from streamlit.testing.v1 import AppTest

import app.cache
from analysis.datasets import dataset_spec
from analysis.options import AnalysisOptions, RunOptions
from analysis.runs.store import Ending
from analysis.topology.store import fingerprint, save_analysis
from app.literal import code, figure_text, literal
from app.state import Session
from tests.app.pages import MAIN, PATIENCE, texts
from tests.factories import circle, layer, report
from tests.run_factories import finished_run

NAME = "*a* $x$ <b>c [l](u) :red[x] `e` ~~f~~ :smile:\n_g_"
MARKUP = re.compile(r"(?<!\\)(\*a\*|\$x\$|<b>c|\[l\]|:red\[|`e`|~~f|:smile|\n_g)")
MARKDOWN_FIELDS = {"body", "label", "help", "tooltip", "delta", "text", "message"}
PLAIN_ELEMENTS = {"code", "doc_string", "json"}


def fill(folder: Path) -> Path:
    """Two classes with hostile names, of images with hostile names, and one that is no image."""
    for number, name in enumerate((f"0{NAME}", f"1{NAME}")):
        (folder / name).mkdir(parents=True)
        for image in range(20):
            pixels = np.random.default_rng(20 * number + image).integers(0, 255, (28, 28, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{image}{NAME}.png")
        (folder / name / f"{NAME}.jpg").write_text("none")
    return folder


@pytest.fixture(scope="module")
def options(home: Path, tmp_path_factory: pytest.TempPathFactory) -> AnalysisOptions:
    """An analysis with hostile names of the dataset, its classes and the layers; runs of it."""
    dataset = f"folder:{fill(tmp_path_factory.mktemp('data') / NAME)}"
    assert len(dataset_spec(dataset).class_names) == 2
    options = AnalysisOptions(dataset=dataset, samples=20)
    layers = [
        layer(f"l{n}{NAME}", circle(20, noise=0.01, seed=n), kind=NAME, width=10 + n)
        for n in range(8)
    ]
    layers.append(layer(f"broken{NAME}", kind=NAME))
    outside = (f"out{NAME}",)
    save_analysis(
        fingerprint(options), replace(report(*layers), never_run=outside, outside=outside)
    )
    runs = app.cache.run_queue().store
    run = RunOptions(analysis=options)
    finished_run(runs, run, layers=(layers[0].name,))
    finished_run(runs, run, ending=Ending("failed", error=f"{NAME} went wrong."))
    return options


@pytest.fixture(autouse=True)
def no_predictions(options: AnalysisOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.cache.estimates(), "get", lambda request: f"{NAME} is not known.")


def opened(view: str, options: AnalysisOptions, **query: str) -> AppTest:
    page = AppTest.from_file(str(MAIN), default_timeout=PATIENCE)
    page.session_state["session"] = state = Session()
    state.uploads.choose_dataset(options.dataset)
    state.analysis.target = options
    state.comparison.run_ids = query.get("runs", "").split()
    page.session_state["samples"] = options.samples
    for name, value in query.items():
        page.query_params[name] = value
    if view != "explore":
        page.switch_page(f"views/{view}.py")
    return page.run()


def strings(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a message, each with the names of the fields that lead to it."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        values = value if field.is_repeated else [value]
        for item in values:
            if isinstance(item, Message):
                yield from strings(item, name)
            elif isinstance(item, str):
                yield name, item


def shown(page: AppTest) -> list[tuple[str, str]]:
    """Every text on a page that Streamlit reads as Markdown, with its place."""
    found = []
    for block in (page.main, page.sidebar):
        for node in walk(block):
            proto = getattr(node, "proto", None)
            if isinstance(proto, Message) and node.type not in PLAIN_ELEMENTS:
                found += [
                    (f"{node.type}{path}", text)
                    for path, text in strings(proto)
                    if path.rpartition(".")[2] in MARKDOWN_FIELDS
                ]
    return found


def walk(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", {}).values():
        yield from walk(child)


def figure_strings(value: Any, key: str = "") -> Iterator[str]:
    """The texts that a figure draws; what a click returns is not drawn."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in ("customdata", "legendgroup", "template"):
                yield from figure_strings(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from figure_strings(item, key)
    elif isinstance(value, str):
        yield value


def check(page: AppTest) -> None:
    """No markup of a name is left, and the name is there."""
    assert not page.exception
    spans = [
        code(f"{before}{NAME}") for before in ("", "0", "1", "broken", *(f"l{n}" for n in range(8)))
    ]
    found = shown(page)
    for place, text in found:
        for span in spans:
            text = text.replace(span, "")
        assert not MARKUP.search(text), (place, text)
    assert any(literal(NAME) in text for _, text in found)
    for chart in page.get("plotly_chart"):
        for text in figure_strings(json.loads(chart.proto.spec)):
            assert not re.search(r"<b>c|\$x|\n_g", text), text


def test_explore(options: AnalysisOptions) -> None:
    page = opened("explore", options, colour="class")
    page.button(key="pin").click().run()
    check(page)
    figures = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    drawn = {text for figure in figures for text in figure_strings(figure)}
    assert figure_text(f"0{NAME}") in drawn  # a class, in the legend
    assert any(figure_text(f"l0{NAME}") in text for text in drawn)  # a layer, on hover
    assert code(f"l0{NAME}") in texts(page)


def test_finetune(options: AnalysisOptions) -> None:
    page = opened("finetune", options)
    check(page)
    assert f"{literal(NAME)} went wrong" in texts(page)


def test_runs(options: AnalysisOptions) -> None:
    runs = app.cache.run_queue().store.runs()
    page = opened("runs", options, runs=" ".join(run.id for run in runs))
    check(page)
    assert f"{literal(NAME)} went wrong" in texts(page)


def test_grid(options: AnalysisOptions) -> None:
    page = opened("grid", options)
    check(page)
