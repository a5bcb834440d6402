"""The choice of each strategy, against rankings computed here from the network itself."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import analysis
from analysis.datasets import load_dataset
from analysis.errors import TrainingError
from analysis.models import load_model, prepare_images
from analysis.options import PRESETS, AnalysisOptions, Recipe, RunOptions
from analysis.selection.criteria import (
    intrinsic_dimension,
    linear_cka,
    linear_evidence,
    participation_ratio,
)
from analysis.selection.ranking import ranking, select
from analysis.selection.scores import score
from analysis.selection.strategies import (
    ALL_STRATEGIES,
    STRATEGIES,
    Evidence,
    chosen_layers,
    idle_settings,
    order_share,
    reversed_name,
)
from analysis.topology.resummarize import resummarize
from analysis.training.choosing import choose
from analysis.training.gradients import gradient_evidence
from analysis.training.metrics import Selection
from analysis.training.norms import norm_evidence
from analysis.training.weights import weight_evidence
from tests import factories
from tests.factories import same_bits, state_of

NAMES = [
    "adabet", "raw-b1", "size", "random", "first", "last", "head", "bn-bias", "full", "fisher",
    "auto-rgn", "stale", "parameters", "participation-ratio", "intrinsic-dimension", "cka",
    "stable-rank", "snr", "neighbours", "input-shift", "logme", "elastic",
]  # fmt: skip
RANKED = [name for name in NAMES if name not in ("head", "bn-bias", "full")]
ANALYSIS = AnalysisOptions(samples=12, seed=4)


@pytest.fixture(scope="module", autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # one home: the topology is computed once
        patch.setenv("BETTISCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@cache  # a selection by the same options is the same
def chosen(
    strategy: str, *, model: nn.Module | None = None, seed: int = 0, **options: object
) -> Selection:
    network = load_model("pocket-resnet20", num_classes=10) if model is None else model
    fields = {"analysis": ANALYSIS, "recipe": Recipe(seed=seed)} | options
    return choose(network, RunOptions(strategy=strategy, **fields))  # type: ignore[arg-type]


def seen(model: nn.Module, images: torch.Tensor) -> tuple[list[str], dict[str, int]]:
    """Modules with own parameters, in the order in which they begin, and their output sizes."""
    begun: list[str] = []
    sizes: dict[str, int] = {}
    for name, module in model.named_modules():
        if not name or not list(module.parameters(recurse=False)):
            continue
        module.register_forward_pre_hook(lambda *_, name=name: begun.append(name))

        def keep(_: object, __: object, output: object, name: str = name) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            sizes[name] = tensor[0].numel()  # type: ignore[index]

        module.register_forward_hook(keep)
    with torch.no_grad():
        model(images)
    return begun, sizes


@cache
def pocket(name: str = "pocket-resnet20") -> tuple[list[str], dict[str, int]]:
    return seen(load_model(name), torch.zeros(1, 3, 32, 32))


def test_the_registry_lists_every_strategy() -> None:
    assert sorted(STRATEGIES) == sorted(NAMES)
    assert len(NAMES) == 22
    for strategy in STRATEGIES.values():
        assert strategy.help.endswith(".")
        assert strategy.source
        assert (strategy.needs == "gradients") is ("backward pass" in strategy.description)
        assert (strategy.needs == "gradients") is (strategy.measure in ("gradients", "step"))
    assert [n for n in NAMES if STRATEGIES[n].equal_budget] == RANKED


def test_equal_budgets_are_equal() -> None:
    layers = len(pocket()[0]) - 1
    for name in RANKED:
        selected = chosen(name).layers
        assert len(selected) == len(set(selected)) == round(0.1 * layers) + 1, name
        assert selected[-1] == "fc"  # the head, trained and not ranked


def test_size_takes_the_fewest_activations() -> None:
    begun, sizes = pocket()
    ranked = sorted(begun[:-1], key=lambda name: sizes[name])  # stable: ties as they run
    assert chosen("size", rho=0.3).layers == (*ranked[:13], "fc")  # of 42 or 43 layers
    assert len(begun) - 1 in (42, 43)


def test_parameters_takes_the_largest_layers() -> None:
    begun, _ = pocket()
    modules = dict(load_model("pocket-resnet20", num_classes=10).named_modules())
    counts = {name: sum(p.numel() for p in modules[name].parameters()) for name in begun[:-1]}
    ranked = sorted(counts, key=lambda name: -counts[name])
    selected = chosen("parameters", rho=0.3).layers
    assert selected == (*ranked[: len(selected) - 1], "fc")
    assert len(selected) > 10


@pytest.mark.parametrize("name", ["participation-ratio", "intrinsic-dimension"])
def test_criteria_of_one_layer_rank_by_their_values(name: str) -> None:
    criterion = {"participation-ratio": participation_ratio,
                 "intrinsic-dimension": intrinsic_dimension}[name]  # fmt: skip
    layers = [layer for layer in analysis.run(ANALYSIS).layers if layer.name != "fc"]
    ranked = sorted(layers, key=lambda layer: -criterion(layer.distances))
    selected = chosen(name, rho=0.2).layers
    assert selected == (*(layer.name for layer in ranked[: len(selected) - 1]), "fc")


def test_cka_takes_the_layers_that_change_the_most() -> None:
    layers = analysis.run(ANALYSIS).layers
    alike = {
        layer.name: linear_cka(before.distances, layer.distances)
        for before, layer in itertools.pairwise(layers)
    }
    ranked = sorted((name for name in alike if name != "fc"), key=alike.__getitem__)
    selected = chosen("cka", rho=0.2).layers
    assert selected == (*ranked[: len(selected) - 1], "fc")
    everything = chosen("cka", rho=1.0).layers
    assert set(pocket()[0]) - set(everything) == {layers[0].name}, "there is none before the first"


def test_stable_rank_takes_the_layers_whose_weights_spread_the_most() -> None:
    model = load_model("pocket-resnet20", num_classes=10)
    ranks = {}
    for name in pocket()[0][:-1]:
        weight = model.get_parameter(f"{name}.weight").detach().numpy()
        matrix = weight.reshape(len(weight), -1)
        ranks[name] = (np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2
    selected = chosen("stable-rank", rho=0.3).layers
    ranked = sorted(ranks, key=lambda name: -ranks[name])
    assert selected == (*ranked[: len(selected) - 1], "fc")


def test_snr_compares_layers_of_a_kind() -> None:
    model = load_model("pocket-vit", num_classes=10)
    options = {"analysis": AnalysisOptions(model="pocket-vit", samples=8)}
    names = [name for name in pocket("pocket-vit")[0] if name != "heads.head"]
    ranked = chosen("snr", model=model, rho=1.0, **options).layers[:-1]
    modules = dict(model.named_modules())
    kinds = [type(modules[name]).__name__ for name in ranked]
    assert set(kinds) == {"Conv2d", "Linear", "MultiheadAttention", "Encoder"} & set(kinds)
    assert "LayerNorm" not in kinds
    assert "LayerNorm" in {type(modules[name]).__name__ for name in names}
    for kind in ("Linear", "MultiheadAttention"):
        own = [name for name, its in zip(ranked, kinds, strict=True) if its == kind]
        assert len(own) > 1
        values = weight_evidence(model, pocket("pocket-vit")[0])["snr"][own].to_list()
        assert values == sorted(values, reverse=True)
    best = {kind: kinds.index(kind) for kind in ("Linear", "MultiheadAttention")}
    assert max(best.values()) < len(ranked) / 2, "the best of each kind come first"


def test_neighbours_takes_the_layers_that_classify_best_by_the_nearest_image() -> None:
    drawn = load_dataset("digits").sample(12, seed=4)
    shares = {}
    for layer in analysis.run(ANALYSIS).layers[:-1]:
        nearest = KNeighborsClassifier(1, metric="precomputed")
        distances = layer.distances
        shares[layer.name] = cross_val_score(nearest, distances, drawn.labels, cv=LeaveOneOut())
    ranked = sorted(shares, key=lambda name: -shares[name].mean())  # stable: ties as they run
    selected = chosen("neighbours", rho=0.3).layers
    assert selected == (*ranked[: len(selected) - 1], "fc")
    assert len({shares[name].mean() for name in ranked}) > 1


def test_logme_takes_the_layers_that_predict_the_classes_best() -> None:
    drawn = load_dataset("digits").sample(12, seed=4)
    layers = analysis.run(ANALYSIS).layers[:-1]
    ranked = sorted(layers, key=lambda layer: -linear_evidence(layer.distances, drawn.labels))
    selected = chosen("logme", rho=0.3).layers
    assert selected == (*(layer.name for layer in ranked[: len(selected) - 1]), "fc")


def test_input_shift_takes_the_norms_whose_inputs_moved_the_most() -> None:
    model = load_model("pocket-resnet20", num_classes=10)
    images = prepare_images("pocket-resnet20", load_dataset("digits").sample(12, seed=4).images)
    shifts = norm_evidence(model, images, pocket()[0])["input_shift"].dropna()
    ranked = list(shifts.sort_values(ascending=False).index)
    selected = chosen("input-shift", rho=0.2).layers
    assert selected == (*ranked[: len(selected) - 1], "fc")
    assert chosen("input-shift", rho=1.0).layers == (*ranked, "fc")
    assert all("bn" in name or "downsample" in name for name in ranked)


def test_a_network_in_which_a_strategy_scores_no_layer_is_refused() -> None:
    model = load_model("pocket-vit", num_classes=10)  # layer norms have no running statistics
    options = {"analysis": AnalysisOptions(model="pocket-vit", samples=8)}
    with pytest.raises(TrainingError, match="“Input shift” cannot choose: it gives no layer"):
        chosen("input-shift", model=model, **options)


def test_criteria_leave_out_layers_without_numbers() -> None:
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(8, 3)) for _ in range(3)]
    layers = [
        factories.layer(name, cloud) for name, cloud in zip(("a", "b", "d"), clouds, strict=True)
    ]
    layers.insert(2, factories.layer("c"))
    report = replace(factories.report(*layers), head=None)
    evidence = Evidence.of_report(report, normalization="activation", seed=0)
    for name in ("participation-ratio", "intrinsic-dimension"):
        assert sorted(chosen_layers(name, evidence, rho=1.0)) == ["a", "b", "d"]
    assert sorted(chosen_layers("cka", evidence, rho=1.0)) == ["b", "d"]
    scores = STRATEGIES["cka"].scores
    assert scores is not None
    assert scores(evidence)["d"] == 1 - linear_cka(layers[3].distances, layers[1].distances)


def test_reversed_strategies_choose_from_the_other_end() -> None:
    rng = np.random.default_rng(1)
    clouds = [rng.normal(size=(8, 3)) @ np.diag([1, own, own]) for own in (0.1, 1, 0.5, 0.2)]
    layers = [factories.layer(name, cloud) for name, cloud in zip("abde", clouds, strict=True)]
    layers.insert(2, factories.layer("c"))  # without numbers: never chosen, from neither end
    report = replace(factories.report(*layers), head="e")
    evidence = Evidence.of_report(report, normalization="activation", seed=0)
    for name in ("participation-ratio", "intrinsic-dimension", "random", "last"):
        straight = chosen_layers(name, evidence, rho=1.0)[:-1]
        other_way = chosen_layers(f"{name}-reversed", evidence, rho=1.0)
        assert other_way == [*reversed(straight), "e"]
        assert len(straight) == (4 if name in ("random", "last") else 3)


def test_a_reversed_strategy_has_a_name_of_its_own_and_the_needs_of_its_strategy() -> None:
    assert set(ALL_STRATEGIES) == set(NAMES) | {f"{name}-reversed" for name in RANKED}
    assert [reversed_name(name) for name in ("adabet", "adabet-reversed", "full")] == [
        "adabet-reversed", "adabet", "full",
    ]  # fmt: skip
    titles = [strategy.title for strategy in ALL_STRATEGIES.values()]
    assert len(set(titles)) == len(titles)
    for name in RANKED:
        straight, other = ALL_STRATEGIES[name], ALL_STRATEGIES[f"{name}-reversed"]
        assert (other.needs, other.measure, other.equal_budget) == (
            straight.needs, straight.measure, True,
        )  # fmt: skip
        options = RunOptions(strategy=name)
        assert idle_settings(replace(options, strategy=f"{name}-reversed")) == idle_settings(
            options
        )


def test_the_shortest_loop_matters_only_to_strategies_that_count_loops() -> None:
    counting = {n for n in NAMES if "min_persistence" not in idle_settings(RunOptions(strategy=n))}
    assert counting == {"adabet", "raw-b1", "stale"}


def test_first_and_last_follow_the_execution_order() -> None:
    begun, _ = pocket()
    count = round(0.1 * (len(begun) - 1))
    assert chosen("first").layers == (*begun[:count], "fc")
    assert chosen("last").layers == (*begun[-2 : -2 - count : -1], "fc")


def test_a_transformers_own_parameters_are_used_first() -> None:
    begun, _ = pocket("pocket-vit")
    assert begun[:2] == ["conv_proj", "encoder"], "the position embedding is the encoder's"
    model = load_model("pocket-vit", num_classes=10)
    options = {"analysis": AnalysisOptions(model="pocket-vit", samples=8), "rho": 0.12}
    selected = chosen("first", model=model, **options).layers
    assert selected == (*begun[: len(selected) - 1], "heads.head")
    selected = chosen("last", model=model, **options).layers
    assert selected == (*begun[-2 : -1 - len(selected) : -1], "heads.head")


def test_random_depends_on_the_seed_alone() -> None:
    draws = {seed: chosen("random", seed=seed).layers for seed in range(6)}
    assert chosen("random", seed=3).layers == draws[3]
    assert len(set(draws.values())) == 6
    other = AnalysisOptions(samples=4, seed=9)
    assert chosen("random", seed=3, analysis=other).layers == draws[3]


def test_random_gives_every_layer_the_same_chance() -> None:
    layers = [factories.layer(name, kind=name) for name in "abcde"]
    counts = dict.fromkeys("abcde", 0)
    for seed in range(500):
        evidence = Evidence(layers, [1] * 5, "activation", seed)
        for name in chosen_layers("random", evidence, rho=0.4):
            counts[name] += 1
    # 200 expected of each; three standard deviations.
    assert all(abs(count - 200) < 3 * (500 * 0.4 * 0.6) ** 0.5 for count in counts.values())


def test_raw_b1_takes_the_most_loops() -> None:
    report = analysis.run(ANALYSIS)
    layers = [layer for layer in report.layers if layer.name != "fc"]
    ranked = sorted(layers, key=lambda layer: -len(layer.diagram))
    selected = chosen("raw-b1", normalization="activation").layers
    assert selected == (*(layer.name for layer in ranked[: len(selected) - 1]), "fc")


@pytest.mark.parametrize("normalization", ["activation", "parameters", "flops"])
def test_adabet_trains_the_selection_of_the_page(normalization: str) -> None:
    scores = score(analysis.run(ANALYSIS), normalization=normalization)
    expected = select(scores, rho=0.2, exclude=["fc"])
    selected = chosen("adabet", rho=0.2, normalization=normalization)
    assert selected.layers == (*expected, "fc")


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("strategy", [n for n in RANKED if STRATEGIES[n].chooses_at_once])
def test_page_and_run_choose_the_same_layers(strategy: str, preset: str) -> None:
    choice = {"normalization": "sqrt-activation", "summary": "total-persistence"}
    evidence = Evidence.of_report(
        analysis.run(ANALYSIS), seed=ANALYSIS.seed, min_persistence=0.05, **choice
    )
    planned = chosen_layers(strategy, evidence, rho=0.2, preset=preset)
    ran = chosen(
        strategy, seed=ANALYSIS.seed, min_persistence=0.05, rho=0.2, preset=preset, **choice
    )
    assert ran.layers == tuple(planned)
    if strategy == "adabet":
        short_loops_out = resummarize(analysis.run(ANALYSIS), min_persistence=0.05)
        rows = ranking(short_loops_out, rho=0.2, preset=preset, **choice).sort_values(
            "rank", kind="stable"
        )
        assert planned == [*rows.loc[rows["selected"], "layer"], *rows.loc[rows["head"], "layer"]]


def test_gradient_strategies_rank_by_their_evidence() -> None:
    model = load_model("pocket-resnet20", num_classes=10, seed=0)
    drawn = load_dataset("digits").sample(12, seed=4)
    images = prepare_images("pocket-resnet20", drawn.images)
    labels, recipe = torch.from_numpy(drawn.labels), Recipe()
    evidence = gradient_evidence(model, images, labels, pocket()[0], recipe=recipe)
    for strategy, column in (("fisher", "fisher"), ("auto-rgn", "relative"), ("elastic", "step")):
        ranked = evidence[column].drop("fc").sort_values(ascending=False).index
        selected = chosen(strategy).layers
        assert selected == (*ranked[: len(selected) - 1], "fc")


def test_only_gradient_strategies_need_labels_and_a_backward_pass() -> None:
    for name in NAMES:
        selected = chosen(name)
        assert selected.used_gradients is (name in ("fisher", "auto-rgn", "elastic"))
        by_labels = name in ("neighbours", "logme")
        assert selected.used_labels is (selected.used_gradients or by_labels)
        assert selected.seconds > 0
        assert selected.predicted is None
    weights = 4 * chosen("full").total_parameters
    # A backward pass of 8 images takes more than weights and gradients, a look takes no more
    # than the weights, and an analysis is somewhere between.
    assert chosen("fisher").peak_bytes > 2 * weights
    assert weights < chosen("size").peak_bytes < 2 * weights
    assert chosen("adabet").peak_bytes == analysis.run(ANALYSIS).peak_bytes > weights


def test_a_choice_from_before_the_shift_is_that_of_the_plain_images() -> None:
    shifted = replace(ANALYSIS, shift="inversion", severity=5)
    fresh = chosen("adabet", analysis=shifted).layers
    stale = chosen("stale", analysis=shifted, normalization="sqrt-activation").layers
    assert stale == chosen("adabet", normalization="sqrt-activation").layers
    assert stale != chosen("adabet", analysis=shifted, normalization="sqrt-activation").layers
    assert chosen("stale").layers == chosen("adabet").layers != fresh
    names = idle_settings(RunOptions(strategy="stale"))
    assert names == idle_settings(RunOptions(strategy="adabet"))


def test_the_selection_counts_the_time_of_a_saved_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = replace(analysis.run(ANALYSIS), seconds=1000.0)  # loaded in no time
    monkeypatch.setattr("analysis.training.choosing.analyze_named", lambda _: saved)
    assert chosen.__wrapped__("adabet").seconds >= 1000


@pytest.mark.parametrize("strategy", ["adabet", "fisher", "bn-bias", "full"])
def test_choosing_alters_no_weight_and_no_statistic(strategy: str) -> None:
    model = load_model("pocket-resnet20", num_classes=10)
    before = state_of(model)
    chosen(strategy, model=model)
    assert all(same_bits(before[name], now) for name, now in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_preset_that_ranks_the_head_may_freeze_it() -> None:
    model = load_model("pocket-resnet20", num_classes=10)
    begun, _ = pocket()
    selected = chosen("first", model=model, preset="released", rho=0.1)
    assert selected.layers == tuple(begun[: int(0.1 * len(begun))])
    assert not model.get_parameter("fc.weight").requires_grad
    assert chosen("last", preset="paper", rho=0.1).layers[0] == "fc"


def test_a_run_that_would_train_nothing_is_refused() -> None:
    with pytest.raises(
        TrainingError,
        match=r"ρ = 0.01 of \d+ layers rounds down to 0 under the preset “released”. Raise ρ",
    ):
        chosen("adabet", preset="released", rho=0.01)
    assert chosen("adabet", preset="recommended", rho=0.01).layers[-1] == "fc"


def test_a_share_of_the_diameter_does_not_depend_on_a_layers_scale() -> None:
    cloud = factories.circle(12, noise=0.2)
    measured = factories.report(
        factories.layer("a", cloud), factories.layer("b", 1000 * cloud, kind="LayerNorm")
    )
    for least in (0.0, 0.1, 0.3, 0.5, 0.9):
        share = resummarize(measured, min_persistence=least, persistence_unit="diameter")
        assert share.layers[0].b1 == share.layers[1].b1
        values = score(share, normalization="none", summary="betti-maximum")
        assert values["a"] == values["b"]
        evidence = Evidence.of_report(
            measured, normalization="none", seed=0, min_persistence=least,
            persistence_unit="diameter",
        )  # fmt: skip
        assert evidence.topology().shortest_loop(measured.layers[1]) == pytest.approx(
            1000 * share.shortest_loop(measured.layers[0])
        )
    distance = resummarize(measured, min_persistence=1.5)
    assert distance.layers[0].b1 < distance.layers[1].b1


def evidence_of(*loops: int) -> Evidence:
    """Of layers of one size with no loop or one each."""
    clouds = {0: factories.blobs(8, 1, dimensions=1), 1: factories.circle(8)}
    layers = [factories.layer(f"l{n}", clouds[b1], kind="LayerNorm") for n, b1 in enumerate(loops)]
    return Evidence.of_report(factories.report(*layers), normalization="activation", seed=0)


def test_what_only_the_order_would_choose_is_no_choice_of_the_strategy() -> None:
    for name, loops in (("adabet", (0, 0, 0, 0)), ("raw-b1", (1, 1, 1, 1)), ("size", (0, 1, 0, 1))):
        order = order_share(name, evidence_of(*loops), rho=0.5)
        assert order.alone
        assert order.sentence.startswith(f"“{STRATEGIES[name].title}” cannot choose: all 4 layers")
        assert not order_share(name, evidence_of(*loops), rho=1.0).alone
    for name in ("random", "first", "last", "head", "full"):
        assert not order_share(name, evidence_of(0, 0, 0, 0), rho=0.5).sentence
    order = order_share("adabet", evidence_of(0, 1, 1, 1), rho=0.5)
    assert not order.alone
    assert order.sentence.startswith("For all 2 places, 3 layers have the same score")


def test_a_run_without_any_loop_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    report = analysis.run(ANALYSIS)
    flat = [replace(layer, diagrams=(layer.diagram[:0],), b1=0.0) for layer in report.layers]
    flat_report = replace(report, layers=tuple(flat))
    monkeypatch.setattr("analysis.training.choosing.analyze_named", lambda *_, **__: flat_report)
    with pytest.raises(TrainingError, match="“AdaBet” cannot choose: all 42 layers have the same"):
        choose(load_model("pocket-resnet20"), RunOptions(analysis=ANALYSIS))


def test_a_run_names_the_ties_for_its_last_places() -> None:
    options = RunOptions(analysis=AnalysisOptions(samples=40, pooling="pooled"))
    selection = choose(load_model("pocket-resnet20"), options)
    assert selection.note.startswith("For the last 2 places, 3 layers have the same score")


def test_listing_strategies_needs_no_torch() -> None:
    code = "import sys, analysis; analysis.STRATEGIES; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
