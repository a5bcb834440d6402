"""The Compare page without a browser: its sections, and that it is about Explore's analysis."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import app.cache.compare
import app.cache.worth
import app.components.compare.alike
from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.instruments.memory_use import MemoryUse
from analysis.jobs.jobs import Job
from analysis.options import AnalysisOptions, RunOptions
from analysis.progress import Progress
from analysis.selection.certainty import certainty, rank_intervals
from analysis.selection.cluster_claim import cluster_claim
from analysis.selection.criteria import linear_cka
from analysis.selection.influence import image_influence
from analysis.selection.leaderboard import leaderboard
from analysis.selection.overlap import part_overlaps
from analysis.selection.ranking import ranking
from analysis.selection.sizes import SIZES
from analysis.sweeps.judging import BEST_SINGLES, Judgement, SetAccuracy
from analysis.sweeps.layer_profile import LayerProfile, LayerWorth, profile_options
from analysis.sweeps.profile_files import _fingerprints, save_profile
from analysis.text import percent_text, plural
from analysis.topology.layer_test_store import RotationRequest, save_tests
from analysis.topology.layer_tests import OF_TESTS, rotation_tests
from analysis.topology.part_clouds import PartClouds, part_clouds_plan
from analysis.topology.part_store import PartsRequest, save_parts
from analysis.topology.permuted import PermutedLoops, observed_loops
from analysis.topology.permuted_store import PermutedRequest, save_permuted
from analysis.topology.persistence import persistence
from analysis.topology.pipeline import analyze_named
from analysis.topology.redraws import redraws_of
from analysis.topology.removal_store import RemovalRequest, save_removal
from analysis.topology.resummarize import resummarize
from analysis.topology.store import fingerprint, fingerprints, load_analysis, save_analysis
from analysis.topology.summaries import SUMMARIES
from analysis.training.names import name_problems
from app.cache.alike import pair_charts
from app.components.compare import calibration
from app.components.compare.permuted import MEANING
from tests.app.pages import button, opened, texts
from tests.factories import circle, layer
from tests.factories import report as made_up

pytestmark = pytest.mark.usefixtures("home")


def test_it_compares_the_normalisations_on_the_analysis_that_explore_shows() -> None:
    page = opened("compare", rho="0.05", layer="layer2.1.conv2", section="Normalisations")
    assert not page.exception
    assert "pocket-resnet20" in texts(page)
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    rows = ranking(report, rho=0.05, normalization="parameters")
    chosen = rows[rows["selected"]].sort_values("rank", kind="stable")["layer"]
    head = rows.loc[rows["head"], "layer"]
    trains = page.dataframe[0].value.set_index("Score")["Trains"]
    assert trains["per parameter"] == ", ".join([*chosen, *head])
    assert page.selectbox(key="layer").value == "layer2.1.conv2"
    assert page.button_group(key="section").value == "Normalisations"


def test_it_says_at_how_many_settings_loops_follow_clusters() -> None:
    page = opened("compare", section="Clusters", layer="conv1", cluster_count="Purity")
    assert not page.exception
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    said = texts(page)
    assert cluster_claim(report).sentence in said
    used = report.layer("conv1").clustering
    assert used is not None
    assert f"{plural(used.count, 'cluster')} at the radius in use, {used.eps:.4g}" in said
    assert len(page.get("plotly_chart")) == 3


def test_a_pair_of_layers_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    page = opened("compare", section="Alike", layer="layer2.1.conv2", alike_by="Wasserstein")
    assert not page.exception
    assert page.selectbox(key="beside").value == "layer2.1.bn1"  # the layer before it
    assert len(page.get("plotly_chart")) == 3  # the pairs are not known yet
    assert button(page, "Compare all diagrams")
    distances = np.full((len(report.layers),) * 2, 0.25)
    monkeypatch.setattr(app.components.compare.alike, "result_of_work", lambda *_: distances)
    page.selectbox(key="beside").select("conv1").run()
    assert len(page.get("plotly_chart")) == 4
    cka = linear_cka(report.layer("layer2.1.conv2").distances, report.layer("conv1").distances)
    assert f"CKA {cka:.3g}, Wasserstein 0.25." in texts(page)
    assert "Layers that follow each other" in texts(page)

    # The live view beside the surface, which a click moves.
    layer = report.layer("layer2.1.conv2")
    for clicked, expected in (
        ((layer.name, 0.5, 3), {"scale": pytest.approx(0.5 * layer.diameter), "clicks": 3}),
        (("fc", 0.5, 4), {"scale": 0.0, "clicks": 0}),
    ):
        page.session_state["surface_clicked"] = clicked
        page.run()
        assert not page.exception
        (live,) = page.get("bidi_component")
        data = json.loads(live.proto.json)
        assert {name: data[name] for name in expected} == expected
        assert data["count"] == report.clouds.shape[1]
        assert marks_of_surface(page) == (["50.0 %"] if clicked[0] == layer.name else [])


def marks_of_surface(page: AppTest) -> list[str]:
    (surface,) = [each for each in page.get("plotly_chart") if "-surface" in each.proto.id]
    layout = json.loads(surface.proto.spec)["layout"]
    return [mark["text"] for mark in layout.get("annotations", ())]


def test_a_link_marks_the_clicked_scale_until_another_layer_is_opened() -> None:
    page = opened("compare", section="Alike", layer="layer2.1.conv2", height="0.25")
    assert not page.exception
    assert marks_of_surface(page) == ["25.0 %"]
    (live,) = page.get("bidi_component")
    assert json.loads(live.proto.json)["clicks"] == 0  # the link has the scale of the live view
    page.selectbox(key="layer").select("conv1").run()
    assert marks_of_surface(page) == []
    assert "height" not in page.query_params
    for wrong in ("x", "nan"):
        assert marks_of_surface(opened("compare", section="Alike", height=wrong)) == []


def test_a_pair_has_the_loops_of_the_subset_that_is_chosen() -> None:
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    names = ("layer2.1.conv2", "conv1")
    page = opened("compare", section="Alike", layer=names[0], subset="3")
    assert "The diagrams are those of subset 3." in texts(page)  # at once
    page.selectbox(key="beside").select(names[1]).run()
    for number, whose in ((3, "subset 3"), (0, "all 160 images as one cloud"), (2, "subset 2")):
        if number != 3:  # as the link has it
            page.number_input(key="subset").set_value(number).run()
        assert not page.exception
        assert f"The diagrams are those of {whose}." in texts(page)
        figures = [each for each in page.get("plotly_chart") if "-pair_" in each.proto.id]
        for name, figure in zip(names, figures, strict=True):
            layer = report.layer(name)
            loops = layer.diagrams[number - 1] if number else persistence(layer.distances)[1]
            traces = json.loads(figure.proto.spec)["data"]
            births = np.concatenate([dots["x"] for dots in traces])
            expected = 100 * np.sort(loops[:, 0]) / layer.diameter
            np.testing.assert_allclose(np.sort(births), expected, rtol=1e-6)


def test_a_layer_that_is_not_finite_has_no_loops_in_a_pair() -> None:
    of = made_up(layer("a", circle(8)), layer("b"))
    for cloud in (0, None):
        figures = pair_charts("not finite", ("a", "b"), cloud, "light", of)
        assert [len(figure.to_dict()["data"]) for figure in figures] == [1, 0]  # sets of dots


def test_a_slider_makes_a_score_of_its_own_that_the_sidebar_and_the_link_carry() -> None:
    page = opened("compare", normalization="parameters")
    assert [page.slider(key=f"power_{n}").value for n in SIZES] == [0, 1, 0, 0]
    assert "your own" not in page.dataframe[0].value["Score"].tolist()
    page.slider(key="power_activation").set_value(-0.5).run()
    assert not page.exception
    text = "activation^-0.5 parameters"
    assert page.selectbox(key="normalization").value == text
    assert page.query_params["normalization"] == text
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    rows = ranking(report, normalization=text)
    chosen = rows[rows["selected"]].sort_values("rank", kind="stable")["layer"]
    trains = page.dataframe[0].value.set_index("Score")["Trains"]
    assert trains["your own"].startswith(", ".join(chosen))
    assert f"**Selects** `{chosen.iloc[0]}`" in texts(page)
    page.slider(key="power_activation").set_value(0.0).run()  # back to a score with a name
    assert page.selectbox(key="normalization").value == "parameters"
    assert text not in page.selectbox(key="normalization").options


def test_a_link_with_powers_is_what_fine_tune_trains_by(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "parameters^-1  activation^3.25"  # beyond the sliders, and not in the usual order
    page = opened("compare", normalization=text)
    assert not page.exception
    assert page.slider(key="power_activation").value == 3.25
    page.switch_page("views/finetune.py").run()
    page.button_group(key="strategies").set_value(["adabet"]).run()
    started: list[RunOptions] = []
    monkeypatch.setattr(app.cache.run_queue(), "start", started.extend)
    button(page, "Start 1 run").click().run()
    assert not page.exception
    assert [run.normalization for run in started] == ["activation^3.25 parameters^-1"]
    assert name_problems(started[0]) == []


def test_it_says_how_sure_the_selection_is_in_the_largest_type() -> None:
    page = opened("compare", section="Luck", rho="0.1")
    assert not page.exception
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    rows = ranking(report, rho=0.1)
    known = certainty(report, rows)
    assert known is not None
    assert [header.value for header in page.header] == [known.sentence()]
    best = rows.loc[rows["rank"] == 1, "layer"].iloc[0]
    assert f"How probable each is: `{best}` {100 * known.probability[best]:.0f} %" in texts(page)
    ends = rank_intervals(report, rows)
    assert ends is not None
    numbers = page.dataframe[0].value.set_index("layer")
    assert numbers.loc[best, "rank, 95 %"] == ends.loc[best, "high"]
    assert numbers["selected"].sum() == known.chosen
    assert len(page.get("plotly_chart")) == 3


def test_parts_of_the_images_are_compared_once_and_then_shown_at_once() -> None:
    key = fingerprint(AnalysisOptions())
    report = load_analysis(key)
    assert report is not None
    page = opened("compare", section="Luck")
    assert button(page, "Compare parts of the images")
    ways, images = part_clouds_plan(160)
    layers = [  # made up, so that the test is short
        replace(e, diagrams=tuple(e.diagrams[i % 100] for i in range(len(images))))
        for e in report.layers
    ]
    parts = PartClouds(ways, images, tuple(layers))
    path = save_parts(PartsRequest(key), parts)
    page.run()
    assert not page.exception
    table = part_overlaps(report, parts, ranking(report)).set_index(["kind", "images", "clouds"])
    overlap = table.loc[("subsets", 80, 20), "overlap"]
    assert f"in 20 subsets each, overlap by **{overlap:.2f}** (mean of 3 pairs)" in texts(page)
    assert len(page.get("plotly_chart")) == 6
    page.selectbox(key="normalization").set_value("parameters").run()  # only ranks again
    path.unlink()
    assert not page.exception
    table = part_overlaps(report, parts, ranking(report, normalization="parameters"),
                          normalization="parameters")  # fmt: skip
    overlap = table.set_index(["kind", "images", "clouds"]).loc[("subsets", 80, 20), "overlap"]
    assert f"overlap by **{overlap:.2f}**" in texts(page)


def test_other_draws_are_counted_once_they_are_saved() -> None:
    options = AnalysisOptions()
    report = load_analysis(fingerprint(options))
    assert report is not None
    page = opened("compare", section="Luck")
    assert button(page, "Analyse 4 other draws")
    assert f"This analysis took {report.seconds:.1f} s, so expect about" in texts(page)
    shifted = replace(report, layers=tuple(  # made up: loops as of the next layer
        replace(one, diagrams=other.diagrams)
        for one, other in zip(report.layers, (*report.layers[1:], report.layers[0]), strict=True)
    ))  # fmt: skip
    keys = fingerprints(redraws_of(options))
    paths = [
        save_analysis(key, other)
        for key, other in zip(keys, (report, report, report, shifted), strict=True)
    ]
    page.run()
    for path in paths:
        path.unlink()  # other tests share the folder
    assert not page.exception
    rows = ranking(report)
    chosen = set(rows.loc[rows["selected"], "layer"])
    other = ranking(shifted)
    shared = len(chosen & set(other.loc[other["selected"], "layer"]))
    assert 0 < shared < len(chosen)
    kept = (3 * len(chosen) + shared) / 4
    overlap = (6 + 4 * shared / (2 * len(chosen) - shared)) / 10
    assert f"4 other draws choose **{kept:.1f}** of {len(chosen)} layers" in texts(page)
    assert "share about 24 of 160 images" in texts(page)  # of 1078 in the training split
    assert f"overlap by **{overlap:.2f}** (Jaccard, mean of 10 pairs)" in texts(page)
    numbers = page.dataframe[0].value.set_index("layer")
    assert numbers.loc[list(chosen), "counted, %"].sum() == pytest.approx(100 * kept)


def test_images_that_may_tip_the_selection_can_be_left_out() -> None:
    key = fingerprint(AnalysisOptions())
    report = load_analysis(key)
    assert report is not None
    rows = ranking(report)
    influence = image_influence(report, rows)
    assert influence is not None
    page = opened("compare", section="Luck")
    assert not page.exception
    said = "No single image decides" if not influence.decisive else "More than chance"
    assert said in texts(page)
    assert f"`{influence.last}`, leads the next one, `{influence.following}`, by" in texts(page)
    assert f"would differ for {influence.changes.sum()} of 160" in texts(page)
    numbers = next(f.value for f in page.dataframe if "lead" in f.value)
    assert numbers["lead"].tolist() == influence.without.round(3).tolist()
    assert (
        numbers["its rank"].tolist()
        == influence.ranks[influence.layers.index(page.selectbox(key="layer").value)].tolist()
    )
    first = influence.strongest[0]
    page.checkbox(key=f"without_{key}_{first}").check().run()
    assert button(page, "Measure without 1 image")
    # Made up: the last selected layer has lost its loops.
    layers = [
        replace(e, diagrams=tuple(d[:0] for d in e.diagrams), b1=0.0)
        if e.name == influence.last
        else e
        for e in report.layers
    ]
    request = RemovalRequest(key, (first,))
    page.selectbox(key="without_class").set_value("3").run()
    assert "Measure without " in "".join(b.label for b in page.button)
    page.selectbox(key="without_class").set_value(None).run()
    path = save_removal(request, replace(report, layers=tuple(layers)))
    page.run()
    path.unlink()  # other tests share the folder
    assert not page.exception
    probability = certainty(report, rows).probability[influence.last]
    assert (
        f"**the selection changes**. `{influence.last}` (chosen by {100 * probability:.0f} % of "
        f"other draws) leaves, `{influence.following}`" in texts(page)
    )


def test_work_that_was_started_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []

    def start(request: Hashable, watcher: str) -> Job:
        job = Job(request, worker=None)  # type: ignore[arg-type]
        job.record(Progress("Parts of the images", "conv1", 10, 40))
        return job

    monkeypatch.setattr(app.cache.jobs(), "start", start)
    monkeypatch.setattr(app.cache.jobs(), "leave", lambda job, _: left.append(job.request))
    page = opened("compare", section="Luck", seed="0")
    button(page, "Compare parts of the images").click().run()
    assert not page.exception
    assert "Compare parts of the images" not in [b.label for b in page.button]
    page.button(key="stop_parts").click().run()
    assert not page.exception
    assert left == [PartsRequest(fingerprint(AnalysisOptions()))]
    assert "Stopped. Press **Compare parts of the images**" in texts(page)
    assert button(page, "Compare parts of the images")


def test_luck_is_not_known_of_one_cloud() -> None:
    options = AnalysisOptions(samples=16, batch_size=8, pooling="pooled")
    report = analyze_named(options)
    page = opened("compare", section="Luck", preset="paper", samples="16")
    assert not page.exception
    assert "on 16 images" in texts(page)
    assert "One cloud of images does not show" in texts(page)
    assert not page.header
    assert "This needs random subsets" in texts(page)
    assert not page.get("plotly_chart")
    paths = [save_analysis(key, report) for key in fingerprints(redraws_of(options))]
    page.run()
    assert not page.exception
    assert len(page.get("plotly_chart")) == 1
    chosen = ranking(report, preset="paper")["selected"].sum()
    assert f"4 other draws choose **{chosen:.1f}** of {chosen} layers on average." in texts(page)
    for path in paths:
        path.unlink()  # other tests share the folder
    page.slider(key="rho").set_value(0.01).run()
    assert "Nothing is selected" in texts(page)


def test_the_loops_are_tested_once_and_then_shown_at_once() -> None:
    page = opened("compare", section="Topology", layer="conv1")
    assert not page.exception
    assert "a draw from one Gaussian" in texts(page)
    assert not page.get("plotly_chart")
    key = fingerprint(AnalysisOptions())
    report = load_analysis(key)
    assert report is not None
    few = replace(report, layers=report.layers[:3])
    request = RotationRequest(key, 199, 0)
    tests = rotation_tests(few, draws=199, enough=3)
    path = save_tests(request, tests)
    page.run()
    assert not page.exception
    assert "Of 3 layers, b₁ is larger than in rotated clouds" in texts(page)
    assert "Predicted for this machine: about" in texts(page)
    assert button(page, "Permute the features").proto.type == "secondary"
    shown = page.dataframe[0].value
    assert "permuted" not in shown
    own = [  # made up: two draws of what the tested clouds give themselves, and no loop at all
        replace(one, diagrams=(*2 * one.diagrams[:2], *([one.diagrams[0][:0]] * 34)))
        for one in report.layers
    ]
    permuted = PermutedRequest(AnalysisOptions(), key)
    loops = PermutedLoops(tuple(own), observed_loops(report, own), 19)
    paths = (path, save_permuted(permuted, loops))
    page.run()
    for path in paths:
        path.unlink()  # other tests share the folder
    assert not page.exception
    assert loops.sentence() in texts(page)
    assert MEANING in texts(page)
    shown = page.dataframe[0].value.set_index("layer")
    means = loops.by_layer()["permuted_mean"].iloc[:3]
    assert shown["permuted"].tolist() == pytest.approx(means.tolist(), abs=1e-3)
    assert [b.label for b in page.button if b.key == "start_permuted"] == []
    low, high = np.quantile(tests.noise, [0.025, 0.975], axis=1)
    b1 = np.array([test.observed[0] for test in tests.tests.values()])
    more, fewer = (b1 > high).sum(), (b1 < low).sum()
    assert f"b₁ is larger in **{more}** layers and smaller in **{fewer}**." in texts(page)
    assert len(page.get("plotly_chart")) == 1
    assert [b.label for b in page.button if b.key == "start_tests"] == []
    page.button_group(key="draws").set_value(999).run()
    assert button(page, "Test the loops")


def test_gaussian_clouds_are_tested_while_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "CALIBRATION_CLOUDS", 24)
    page = opened("compare", section="Topology", draws="4999")
    assert page.button_group(key="draws").value == 4999
    button(page, "Test 24 Gaussian clouds").click().run()
    assert not page.exception
    assert "12 clouds; ties" in texts(page)
    assert button(page, "Stop")
    page.run()
    assert "24 clouds; ties" in texts(page)
    assert button(page, "Test 24 Gaussian clouds")


def test_the_costs_are_those_predicted_for_each_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(request: MemoryRequest) -> MemoryEstimate:
        size = 100 if request.scope == "everything" else 10 * len(request.layers)
        return MemoryEstimate(MemoryUse(parameters=1_000_000 * size), analytic=1)

    monkeypatch.setattr(app.cache.estimates(), "known", known)
    page = opened("compare")
    assert not page.exception
    costs = page.dataframe[0].value.set_index("Score")
    assert costs.loc["per activation", "Training memory"] == "50 MB"  # four layers and the head
    assert costs.loc["per activation", "Against full"] == "50 % less"
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    rows = ranking(report)
    trained = rows.loc[rows["selected"] | rows["head"], "parameters"].sum()
    assert costs.loc["per activation", "Parameters"] == percent_text(
        trained, rows["parameters"].sum()
    )


def test_the_definitions_of_a_loop_stand_beside_each_other() -> None:
    key = fingerprint(AnalysisOptions())
    page = opened("compare", section="Definitions", normalization="none", rho="0.1")
    assert not page.exception
    assert "The 6 definitions select" in texts(page)
    assert "once the loops are tested" in texts(page)
    report = load_analysis(key)
    assert report is not None
    everything = ranking(report, normalization="none")
    for percent in (1.0, 10.0):  # of the diameter; the slider starts at the first
        page.slider(key="shortest").set_value(percent).run()
        longer = resummarize(report, min_persistence=percent / 100, persistence_unit="diameter")
        rows = ranking(longer, normalization="none")
        both = (everything["selected"] & rows["selected"]).sum()
        assert f"b₁ selects {both} of the {everything['selected'].sum()} layers" in texts(page)
    path = save_tests(RotationRequest(key, 9), rotation_tests(report, draws=9, enough=1))
    page.run()
    path.unlink()  # other tests share the folder
    assert not page.exception
    assert "The 8 definitions select" in texts(page)


def test_every_definition_has_a_head() -> None:
    assert set(app.cache.compare.DEFINITIONS) == {*SUMMARIES, *OF_TESTS}


def test_it_says_which_criterion_finds_the_layers_worth_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.sweeps.profile_files.SHIPPED", tmp_path)
    app.cache.worth._stored_profile.clear()
    page = opened("compare", section="Worth")
    assert not page.exception
    assert "No layer profile of this network and these images exists yet." in texts(page)
    words = "python -m analysis profile --model pocket-resnet20 --dataset digits --criteria"
    assert page.code[0].value == words
    assert "This trains 129 runs with 3 seeds (no estimate until a similar run" in texts(page)
    assert button(page, "Train every layer").proto.type == "primary"

    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    names = [layer.name for layer in report.layers if layer.name != report.head]
    gains = np.random.default_rng(0).normal(0.1, 0.05, len(names))
    layers = [
        LayerWorth(name, "Conv2d", 9, 9, (gain, gain), 1.0, 1e6)
        for name, gain in zip(names, gains.tolist(), strict=True)
    ]
    shared = {"fingerprints": _fingerprints(AnalysisOptions(), 0), "test_images": 360}
    options = profile_options(AnalysisOptions())
    made = LayerProfile(options, (0, 1), tuple(layers), (0.5, 0.6), 1e6, **shared)
    scores = {"parameters": gains, "adabet": -gains, "random": np.roll(gains, 1)}
    board = leaderboard(
        made.gains, made.costs, {n: [own, own] for n, own in scores.items()},
        sizes=gains, parameters=gains, rho=0.1, draws=100,
    )  # fmt: skip
    sets = {name: SetAccuracy((0.8, 0.9), 0.025) for name in (*scores, BEST_SINGLES)}
    judged = {name: tuple(own.tolist()) for name, own in scores.items()}
    save_profile(made, Judgement(board, judged, sets, 0.1, 4))
    page = opened("compare", section="Worth", worth_criterion="Random")
    assert not page.exception
    answer = page.header[0].value
    assert answer == "Parameters: it finds the layers worth training better than all others."
    assert "AdaBet does worse than chance: rank correlation −1.00 (−1.00 to −1.00)." in texts(page)
    assert "55.0 % of 360 test images" in texts(page)
    assert "Two seeds rank the layers alike with a correlation of +1.00." in texts(page)
    assert "trained together, lose 2.5 points against the best of these sets." in texts(page)
    table = page.dataframe[0].value
    assert table["title"].tolist() == ["Parameters", "Random", "AdaBet"]
    assert table["hits"].tolist()[0] == 100
    scatter = next(c for c in page.get("plotly_chart") if "worth_scatter" in c.proto.id)
    assert "place by Random" in scatter.proto.spec
