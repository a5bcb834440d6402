"""The Explore page without a browser: what it shows, and that changing ρ computes no topology."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import analysis.topology.persistence
import app.cache
import app.components.shared.cost
import app.components.shared.obtain
import app.components.sidebar.sidebar
import app.components.sidebar.subject
from analysis.options import AnalysisOptions
from analysis.selection.certainty import certainty
from analysis.selection.ranking import ranking
from analysis.sweeps.profile_files import find_profile
from analysis.text import gigabytes
from analysis.topology.layer_test_store import RotationRequest, save_tests
from analysis.topology.layer_tests import rotation_tests
from analysis.topology.pipeline import analyze_named
from analysis.topology.resummarize import resummarize
from analysis.topology.rotation import rotation_test
from analysis.topology.saved_limit import LIMIT_VARIABLE, saved_bytes
from analysis.topology.store import fingerprint, load_analysis
from app.theme import LARGE
from tests.app.pages import (
    MAIN,
    button,
    endless,
    opened,
    settled,
    table,
    texts,
    tile,
    tiles,
)

pytestmark = pytest.mark.usefixtures("home")


def test_the_first_visit_shows_the_default_analysis() -> None:
    page = opened()
    assert not page.exception
    assert tile(page, "Selected") == "4 of 42 layers"
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    expected = ranking(report)
    assert table(page)["b1"].tolist() == expected["b1"].tolist()
    assert table(page)["score"].tolist() == expected["score"].tolist()
    best = expected.loc[expected["rank"] == 1, "layer"].item()
    assert page.selectbox(key="layer").value == best
    assert f"`{best}`" in texts(page)
    assert "Spearman" in texts(page)
    assert report.stored_text
    assert report.stored_text in texts(page)
    # Fourteen layers of the last stage have the same size, and the four chosen are among them.
    assert "narrows the choice to 14 layers, these among them; b₁ decides" in texts(page)
    sure = certainty(report, expected)
    assert sure is not None
    assert sure.sentence() in texts(page)
    np.testing.assert_array_equal(table(page)["probability"], sure.probability)
    found = find_profile(AnalysisOptions())
    assert found is not None
    gains = [100 * layer.gain for layer in found.profile.layers]
    np.testing.assert_allclose(table(page)["worth"], [*gains, np.nan])  # the head has none


def test_rho_and_normalization_move_the_selection_without_any_topology(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = opened()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("topology was computed")

    monkeypatch.setattr(analysis.topology.persistence, "doRipsFiltrationDM", never)
    # A prediction of memory may be made, as that is no topology.
    start = app.cache.jobs().start
    monkeypatch.setattr(
        app.cache.jobs(),
        "start",
        lambda request, *_: never() if isinstance(request, AnalysisOptions) else start(request),
    )
    page.slider(key="rho").set_value(0.5).run()
    assert not page.exception
    assert tile(page, "Selected") == "21 of 42 layers"
    page.selectbox(key="normalization").set_value("none").run()
    assert not page.exception
    rows = table(page)
    assert (rows["score"] == rows["b1"]).all()
    page.selectbox(key="summary").set_value("entropy").run()
    assert not page.exception
    assert not (table(page)["score"] == rows["score"]).any()


def test_the_shortest_loop_may_be_a_share_of_the_diameter() -> None:
    page = opened(min_persistence="5", persistence_unit="diameter")
    assert not page.exception
    assert page.number_input(key="min_persistence").value == 0  # a share is below 1
    every = table(page)["b1"]
    page.number_input(key="min_persistence").set_value(0.02).run()
    assert not page.exception
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    short = resummarize(report, min_persistence=0.02, persistence_unit="diameter")
    assert table(page)["b1"].tolist() == [layer.b1 for layer in short.layers] != every.tolist()
    page.button_group(key="persistence_unit").set_value("distance").run()
    page.number_input(key="min_persistence").set_value(3.0).run()
    page.button_group(key="persistence_unit").set_value("diameter").run()
    assert not page.exception
    assert page.number_input(key="min_persistence").value == 0


def test_the_url_restores_the_view() -> None:
    page = opened(rho="0.25", normalization="parameters", preset="paper", layer="layer2.1.conv2")
    page = settled(page, lambda page: "Selected" in tiles(page))
    assert page.slider(key="rho").value == 0.25
    assert page.selectbox(key="normalization").value == "parameters"
    assert page.selectbox(key="layer").value == "layer2.1.conv2"
    assert tile(page, "Selected") == "11 of 43 layers"  # the head is ranked; round(10.75)


@pytest.mark.parametrize(
    "link",
    [
        {"model": "vit_b_16", "weights": "random"},
        {"dataset": "fashion", "samples": "1500"},
        {"input_side": "512"},
    ],
)
def test_a_link_does_not_start_a_long_analysis(
    link: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[AnalysisOptions] = []
    monkeypatch.setattr(app.components.shared.obtain, "render_cost", costs.append)
    page = opened(**link)
    assert not page.exception
    assert page.session_state["session"].analysis.job is None
    assert "Press **Analyse** for" in texts(page)
    assert len(costs) == 1


@pytest.mark.usefixtures("real_predictions")
def test_a_warning_comes_before_an_analysis_that_does_not_fit_into_memory() -> None:
    page = opened(dataset="fashion", samples="1500", memory="0.5")
    settled(page, lambda page: bool(page.warning))
    assert page.warning[0].title == "This will not fit into memory"
    assert page.session_state["session"].analysis.job is None


def test_a_long_analysis_brings_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.components.shared.cost, "LONG", 0.0)
    page = opened(samples="401")
    settled(page, lambda page: bool(page.warning))
    assert page.warning[0].title == "This will take a long time"
    assert page.warning[0].value == "Use fewer images."


@pytest.mark.usefixtures("real_predictions")
def test_an_image_side_the_model_refuses_is_reported_before_the_start() -> None:
    page = opened(model="vit_b_16", weights="random", input_side="96")
    settled(page, lambda page: bool(page.warning))
    assert "could not be predicted. `input_side` must be 224" in page.warning[0].value


def test_a_link_to_missing_images_says_so() -> None:
    page = opened(dataset="![x](http://example.org/x.png)`shapes")
    sentence = "There is no dataset ``![x](http://example.org/x.png)`shapes`` here. Chosen: digits."
    assert [warning.value for warning in page.warning] == [sentence]
    page.run()
    assert [warning.value for warning in page.warning] == [sentence]
    assert not [warning.value for warning in opened(dataset="fashion").warning]


def test_a_link_with_too_many_images_asks_for_all_images() -> None:
    page = opened(samples="1000000", model="pocket-vgg")
    assert "pocket-vgg (pre-trained) on 1078 images of digits" in texts(page)
    assert "1,000,000 were asked for" in texts(page)


def test_settings_other_than_the_default_are_shown() -> None:
    page = opened(model="pocket-vgg", precision="bfloat16", input_side="64")
    assert "random subsets of 40, 64 pixels a side, in bfloat16, seed 0" in texts(page)


def test_a_reopened_page_continues_its_analysis() -> None:
    long = {"model": "vgg16", "weights": "random", "samples": "1000"}
    page = opened(**long)
    button(page, "Analyse").click().run()
    again = opened(**long)
    assert "stop" in [b.key for b in again.button]
    assert again.session_state["session"].analysis.job is page.session_state["session"].analysis.job
    for view in (page, again):
        view.run()
        view.button(key="stop").click().run()
    assert "stop" not in [b.key for b in opened(**long).button]


def test_nonsense_in_the_url_falls_back_to_the_default() -> None:
    page = opened(rho="7", normalization="size", model="x", samples="-3", layer="y", seed="a")
    assert not page.exception
    assert tile(page, "Selected") == "4 of 42 layers"


def test_another_model_waits_for_the_button_and_is_then_analysed() -> None:
    page = opened()
    page.selectbox(key="model").set_value("pocket-vgg").run()
    assert "press **Analyse** for pocket-vgg" in texts(page)
    assert len(table(page)) == 43  # what was there stays
    button(page, "Analyse").click().run()
    settled(page, lambda p: len(table(p)) == 10)
    assert not page.exception
    assert load_analysis(fingerprint(AnalysisOptions(model="pocket-vgg"))) is not None
    assert "Stored analysis" not in texts(page)


def test_an_analysis_whose_file_is_gone_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened()
    with monkeypatch.context() as patch:
        patch.setattr(app.components.shared.obtain, "load_analysis", lambda _: None)
        page.selectbox(key="model").set_value("pocket-vgg").run()
        page.number_input(key="seed").set_value(5).run()
        button(page, "Analyse").click().run()
        settled(page, lambda p: bool(p.error))
        assert page.error[0].value.startswith("Its file no longer exists. Press **Analyse**")
        assert len(table(page)) == 43
    button(page, "Analyse").click().run()
    settled(page, lambda p: len(table(p)) == 10)
    assert not page.error


def test_a_stopped_analysis_says_so_and_starts_again() -> None:
    page = opened()
    page.selectbox(key="model").set_value("vgg16").run()
    page.selectbox(key="weights").set_value("random").run()
    with endless() as job:
        button(page, "Analyse").click().run()
        page.button(key="stop").click().run()
    assert job.state == "stopped"
    assert "Stopped. Press **Analyse** to start again." in texts(page)
    assert len(table(page)) == 43
    with endless() as again:
        button(page, "Analyse").click().run()
        page.button(key="stop").click().run()
    assert again.state == "stopped"


def test_clicks_count_even_if_the_page_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened()
    page.selectbox(key="model").set_value("vgg16").run()
    page.selectbox(key="weights").set_value("random").run()
    with endless() as job:
        with monkeypatch.context() as patch:
            patch.setattr(app.components.sidebar.sidebar, "render_subject", lambda _: st.stop())
            button(page, "Analyse").click().run()
        page.run()
        with monkeypatch.context() as patch:
            patch.setattr(app.components.sidebar.sidebar, "render_subject", lambda _: st.stop())
            page.button(key="stop").click().run()
    assert job.state == "stopped"
    assert "Stopped. Press **Analyse** to start again." in texts(page.run())


def test_weights_that_cannot_be_downloaded_leave_the_page_usable() -> None:
    page = opened()
    page.selectbox(key="model").set_value("resnet50").run()
    button(page, "Analyse").click().run()
    settled(page, lambda p: bool(p.error))
    assert "Use weights = random" in page.error[0].value
    assert not page.exception
    page.selectbox(key="model").set_value("pocket-resnet20").run()
    assert not page.error
    assert tile(page, "Selected") == "4 of 42 layers"


def test_a_damaged_analysis_is_reported_and_computed_again(home: Path) -> None:
    options = AnalysisOptions(model="pocket-vgg", dataset="fashion")
    analyze_named(options)
    newest = max((home / "analyses").glob("*.npz"), key=lambda p: p.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:1000])
    page = opened(model="pocket-vgg", dataset="fashion")
    settled(page, lambda p: bool(p.metric))
    assert "was damaged. It was set aside" in texts(page)
    assert len(table(page)) == 10


def test_only_the_analysis_of_a_damaged_file_reports_it(home: Path) -> None:
    whole, damaged = AnalysisOptions(samples=8, seed=1), AnalysisOptions(samples=8, seed=2)
    analyze_named(whole)
    analyze_named(damaged)
    newest = max((home / "analyses").glob("*.npz"), key=lambda p: p.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:1000])
    page = opened()
    page.number_input(key="samples").set_value(8).run()
    page.number_input(key="seed").set_value(2).run()
    page.number_input(key="seed").set_value(1).run()
    assert page.session_state["session"].analysis.shown.options == whole
    assert "was damaged" not in texts(page)
    page.number_input(key="seed").set_value(2).run()
    button(page, "Analyse").click().run()
    settled(page, lambda page: page.session_state["session"].analysis.shown.options == damaged)
    assert "was damaged. It was set aside" in texts(page)


def test_the_image_side_is_that_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.components.shared.obtain, "render_cost", lambda _: None)
    page = opened(model="vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1")
    assert "Here that is 384 × 384." in page.number_input(key="input_side").help
    page.selectbox(key="weights").set_value("pretrained").run()
    assert "Here that is 224 × 224." in page.number_input(key="input_side").help


def test_a_preset_sets_images_and_normalization() -> None:
    page = opened()
    page.selectbox(key="preset").set_value("released").run()
    assert page.number_input(key="samples").value == 128
    assert "press **Analyse**" in texts(page)
    page.slider(key="rho").set_value(0.01).run()
    assert "rounds down to none" in texts(page)
    assert tile(page, "Selected") == "0 of 43 layers"


def reopened(page: AppTest) -> AppTest:
    """The link of a page, opened by somebody else."""
    return opened(**page.query_params)


def test_the_first_layer_chosen_by_hand_survives_the_link() -> None:
    page = opened()
    first = table(page)["layer"].iloc[0]
    assert page.selectbox(key="layer").value != first
    page.selectbox(key="layer").set_value(first).run()
    again = reopened(page)
    assert again.selectbox(key="layer").value == first
    again.slider(key="rho").set_value(0.5).run()
    assert again.selectbox(key="layer").value == first


def test_without_a_choice_the_best_layer_is_open() -> None:
    page = opened()
    page.selectbox(key="normalization").set_value("parameters").run()
    rows = ranking(load_analysis(fingerprint(AnalysisOptions())), normalization="parameters")
    best = rows.loc[rows["rank"] == 1, "layer"].iloc[0]  # of those that share the first rank
    assert page.selectbox(key="layer").value == best
    assert "layer" not in page.query_params


def test_pinned_layers_survive_the_link() -> None:
    page = opened()
    for name in table(page)["layer"].iloc[[3, 1]]:
        page.selectbox(key="layer").set_value(name).run()
        page.button(key="pin").click().run()
    again = reopened(page)
    pins = [b.key for b in again.button if b.key and b.key.startswith("unpin_")]
    assert pins == [f"unpin_{name}" for name in table(page)["layer"].iloc[[3, 1]]]
    again.button(key=pins[0]).click().run()
    assert again.query_params["pin"] == pins[1].removeprefix("unpin_")
    again.button(key=pins[1]).click().run()
    assert "pin" not in again.query_params


def open_a_layer() -> None:
    import streamlit as st

    from app.state import open_layer

    open_layer(st.session_state["model"], ["a", "b", "c"], "a")


def test_a_chosen_layer_and_pins_end_with_their_model() -> None:
    page = AppTest.from_function(open_a_layer)
    page.session_state["model"] = "first"
    page.query_params["layer"], page.query_params["pin"] = "b", ["b", "c"]
    page.run()
    assert page.session_state["layer"] == "b"
    assert page.session_state["session"].profile.pinned_layers == ["b", "c"]
    page.session_state["model"] = "second"  # whose layers have the same names
    page.run()
    assert page.session_state["layer"] == "a"
    assert page.session_state["session"].profile.pinned_layers == []
    assert page.query_params == {}


def test_layers_of_a_link_that_the_model_lacks_are_named_once_and_leave_the_link() -> None:
    page = opened(layer="nowhere", pin=["elsewhere", "conv1"])
    assert "`elsewhere`, `nowhere`, which pocket-resnet20 does not have" in page.toast[0].value
    assert page.query_params.get("pin") == "conv1"
    assert "layer" not in page.query_params
    page.run()
    assert not page.toast


def test_a_preset_in_a_link_sets_what_it_sets_on_the_page() -> None:
    page = opened()
    page.selectbox(key="preset").set_value("released").run()
    # A browser leaves a widget's default out of the link.
    assert page.number_input(key="samples").proto.default == 128
    linked = opened(preset="released")
    assert linked.number_input(key="samples").value == page.number_input(key="samples").value
    assert opened(preset="released", samples="40").number_input(key="samples").value == 40


def test_up_to_four_layers_are_pinned() -> None:
    page = opened()
    names = table(page)["layer"].tolist()
    for count, name in enumerate(names[:4], start=1):
        page.selectbox(key="layer").set_value(name).run()
        page.button(key="pin").click().run()
        assert sum(b.key is not None and b.key.startswith("unpin_") for b in page.button) == count
    page.selectbox(key="layer").set_value(names[5]).run()
    assert page.button(key="pin").disabled
    page.button(key=f"unpin_{names[0]}").click().run()
    assert not page.button(key="pin").disabled
    assert not page.exception


def test_a_smaller_dataset_lowers_the_number_of_images() -> None:
    page = opened()
    page.selectbox(key="dataset").set_value("fashion").run()
    page.number_input(key="samples").set_value(1500).run()
    page.selectbox(key="dataset").set_value("digits").run()
    assert not page.exception
    assert page.number_input(key="samples").value == 1078
    assert "digits has 1,078 images to draw from; 1,500 were asked for." in texts(page)
    page.number_input(key="samples").set_value(5000).run()
    assert page.number_input(key="samples").value == 1078
    assert "5,000 were asked for." in texts(page)
    page.number_input(key="samples").set_value(40).run()
    assert "were asked for" not in texts(page)


def test_the_sentence_on_size_names_the_divisor() -> None:
    assert "Size alone, without" in texts(opened())
    assert "Size (flops) alone, without" in texts(opened(normalization="flops"))
    other = texts(opened(normalization="parameters", summary="total-persistence"))
    assert "these among them; the total persistence decides between them." in other
    assert "b₁ decides" not in other


@pytest.mark.parametrize(
    ("typed", "model"),
    [("Vgg1", "vgg16"), ("resn", "pocket-resnet20"), ("vit_b_16", "vit_b_16"), ("zzz", "zzz")],
)
def test_part_of_a_model_name_can_be_typed(typed: str, model: str) -> None:
    assert app.components.sidebar.subject.completed(typed) == model


@pytest.mark.parametrize("typing", [True, False])
def test_a_link_cannot_run_code(
    typing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.components.sidebar.subject, "TIMM", typing)
    victim, code = tmp_path / "victim", tmp_path / "mine.py"
    code.write_text(f"import pathlib\npathlib.Path({str(victim)!r}).touch()\ndef build(): ...\n")
    page = opened(model=f"{code}:build")
    assert not page.exception
    assert not victim.exists()
    assert "which is not possible here. `pocket-resnet20` is used" in page.toast[0].value
    assert "model" not in page.query_params
    assert tile(page, "Selected") == "4 of 42 layers"
    if typing:
        page = AppTest.from_file(str(MAIN))
        page.session_state["model"] = f"{code}:build"
        assert "There is no model" in page.run().error[0].value
    assert not victim.exists()


def test_the_sidebar_shows_what_is_used_and_the_limit(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0.35")
    st.cache_data.clear()
    with (home / "analyses" / "large.npz").open("wb") as file:
        file.truncate(178_000_000)  # sparse
    used = saved_bytes(home / "analyses")
    assert used > 178_000_000
    assert f"Saved analyses take {gigabytes(used)} of 350 MB." in texts(opened())


def test_a_limit_that_is_no_number_is_named_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "two")
    st.cache_data.clear()
    page = opened()
    assert not page.exception
    assert f"{LIMIT_VARIABLE} must be a number of gigabytes from 0, got 'two'" in texts(page)


def charts(page: AppTest) -> dict[str, str]:
    """What the browser gets of each chart, by the second half of its id: its key."""
    return {
        chart.proto.id.rpartition("-")[2]: str(chart.proto) for chart in page.get("plotly_chart")
    }


def test_a_moved_rho_redraws_the_profile_and_no_other_chart() -> None:
    page = opened(pin=["conv1"])
    before = charts(page)
    assert {"rows_wide", "titles_wide_chart", "diagram", "map", "diagram_conv1"} <= set(before)
    page.slider(key="rho").set_value(0.5).run()
    after = charts(page)
    changed = {key for key, chart in after.items() if chart != before.get(key)}
    assert changed == {"rows_wide", "rows_narrow"}


def test_help_texts_have_at_most_two_sentences() -> None:
    page = opened(layer="conv1", pin=["conv1"])
    settled(page, lambda page: "predicting" not in str(page.metric))
    kinds = ("caption", "metric", "selectbox", "button", "download_button", "toggle")
    helps = {e.proto.help for kind in kinds for e in page.main.get(kind) if e.proto.help}
    assert len(helps) >= 12
    for text in helps:
        first, _, _ = text.partition("\n\n")  # a second paragraph is a note of its own
        first = re.sub(r' "[^"]*"(?=\))', "", first)  # a link's own sentence is seen on hover only
        assert len(re.findall(r"[.!?](?=\s|$)", first)) <= 2, text
        assert len(first) <= 220, text


def test_large_type_is_in_the_figures_and_the_page() -> None:
    plain, large = opened(), opened(large="true")
    heights = [
        json.loads(page.get("plotly_chart")[1].proto.spec)["layout"]["height"]
        for page in (plain, large)
    ]
    assert heights[1] == pytest.approx(LARGE * heights[0])
    sheets = [" ".join(e.proto.body for e in page.get("html")) for page in (plain, large)]
    assert "font-size: 21px" in sheets[1]
    assert "font-size: 21px" not in sheets[0]
    assert "--layers: 43;" in sheets[0]  # rows that share the full screen


def test_pinned_cards_say_whether_they_share_their_axes() -> None:
    assert "All diagrams have the same axes" in texts(opened(pin=["conv1", "bn1"]))
    assert "Each diagram has its own axes" in texts(opened(pin=["conv1", "fc"]))
    assert "axes. The maps" not in texts(opened(pin=["conv1"]))


def test_once_the_loops_were_tested_the_charts_show_which_pass() -> None:
    key = fingerprint(AnalysisOptions())
    page = opened(layer="conv1")
    assert "filled" not in texts(page)
    report = load_analysis(key)
    assert report is not None
    first = replace(report, layers=report.layers[:1])
    tests = rotation_tests(first, draws=9)
    path = save_tests(RotationRequest(key, 9), tests)
    page.number_input(key="subset").set_value(3).run()
    path.unlink()  # other tests share the folder
    assert not page.exception
    images = report.clouds[2]
    third = rotation_test(first.layers[0].distances[np.ix_(images, images)], draws=9)
    passing = (third.bars <= 0.05).sum()
    assert "drawn is subset 3" in texts(page)
    assert f"{passing} filled: longer than in rotated clouds" in texts(page)
    drawn = json.loads(page.get("plotly_chart")[1].proto.spec)
    low, high = tests.tests["conv1"].band()
    assert "rotated clouds" in [trace["name"] for trace in drawn["data"]]
    assert f"95 % of rotated clouds: {low:.4g} to {high:.4g} loops" in json.dumps(
        drawn, ensure_ascii=False
    )


def test_the_curve_is_beside_the_loops_of_each_subset() -> None:
    page = opened()
    page.session_state["loops"] = "Betti curve"
    page.run()
    assert not page.exception
    assert "b₁ of each subset; the dashed line is their mean" in texts(page)
