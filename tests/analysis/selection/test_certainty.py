"""Probabilities known in closed form, and sentences for every kind of certainty."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from analysis.results import TopologyReport
from analysis.selection.certainty import Agreement, Certainty, certainty, rank_intervals
from analysis.selection.ranking import ranking
from analysis.topology.subsets import draw_subsets, error_of_means
from tests.factories import blobs, layer, report


def measured(*means: float, noise: float, seed: int = 0, together: bool = False) -> TopologyReport:
    """Layers of one size, whose number of loops in a subset counts images with a mark, and a head.

    `noise` is the deviation of that number over subsets that share no image.
    """
    clouds = draw_subsets(160, 40, 100, seed=0)
    marks = np.random.default_rng(seed).normal(size=(len(means), 160)) * noise / np.sqrt(40)
    marks -= marks.mean(axis=1, keepdims=True)
    marks = marks[:1].repeat(len(means), axis=0) if together else marks
    loop, base = np.array([[1.0, 2.0]], np.float32), layer("", blobs(4))

    def diagrams(mean: float, mark: np.ndarray) -> tuple[np.ndarray, ...]:
        counts = np.rint(mean + mark[clouds].sum(axis=1)).clip(0).astype(int)
        return tuple(np.repeat(loop, count, axis=0) for count in counts)

    layers = [
        replace(base, name=f"l{n}", diagrams=diagrams(mean, mark))
        for n, (mean, mark) in enumerate(zip(means, marks, strict=True))
    ]
    head = replace(base, name="fc", kind="Linear", diagrams=layers[0].diagrams)
    made = replace(report(*layers, head), samples=160, pooling="subsets", clouds=clouds)
    return made


def sure(made: TopologyReport, rho: float) -> Certainty:
    known = certainty(made, ranking(made, rho=rho))
    assert known is not None
    return known


def test_of_two_layers_the_better_is_chosen_as_the_normal_law_has_it() -> None:
    made = measured(101.0, 100.0, noise=4.0)
    error = error_of_means(made)
    assert error is not None
    both = error.deviations[0] - error.deviations[1]
    expected = NormalDist(sigma=np.sqrt(2 * (both**2).sum())).cdf(1.0)
    probability = sure(made, 0.5).probability
    assert 0.55 < expected < 0.8
    assert probability["l0"] == pytest.approx(expected, abs=0.05)
    assert probability["l0"] + probability["l1"] == pytest.approx(1)
    assert np.isnan(probability["fc"])


def test_the_ranks_of_other_draws_lie_where_the_normal_law_has_them() -> None:
    made = measured(101.0, 100.0, 20.0, noise=4.0)
    ends = rank_intervals(made, ranking(made, rho=0.3))
    assert ends is not None
    # Of the first two each is the best in more than 5 % of draws, and the third in none.
    assert ends.loc[["l0", "l1", "l2"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]
    assert ends.loc["fc"].isna().all()
    surely = measured(110.0, 100.0, 20.0, noise=4.0)
    ends = rank_intervals(surely, ranking(surely, rho=0.3))
    assert ends is not None
    assert ends.loc[["l0", "l1", "l2"]].to_numpy().tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_layer_is_chosen_in_more_draws_than_not_if_its_ranks_say_so() -> None:
    made = measured(*range(50, 70, 2), noise=9.0)
    rows = ranking(made, rho=0.3)
    ends, probability = rank_intervals(made, rows), sure(made, 0.3).probability
    assert ends is not None
    ranked = probability.notna()
    assert (probability[ranked & (ends["high"] <= 3)] >= 0.95).all()
    assert (probability[ranked & (ends["low"] > 3)] <= 0.05).all()
    assert (ends["low"] <= ends["high"])[ranked].all()


def test_errors_that_layers_share_do_not_blur_their_order() -> None:
    apart = sure(measured(101.0, 100.0, noise=4.0), 0.5)
    together = sure(measured(101.0, 100.0, noise=4.0, together=True), 0.5)
    assert apart.probability["l0"] < 0.8
    assert together.probability["l0"] == 1


def test_probabilities_add_up_to_the_layers_that_are_chosen() -> None:
    known = sure(measured(*range(50, 70, 2), noise=9.0), 0.3)
    assert known.chosen == 3
    assert known.probability.sum() == pytest.approx(3)
    assert known.probability["l9"] > known.probability["l7"] > known.probability["l0"]


def test_layers_that_are_all_alike_are_chosen_by_luck() -> None:
    known = sure(measured(*[50.0] * 20, noise=9.0), 0.2)
    assert known.mostly_luck
    assert known.now.overlap < 0.35
    assert known.sentence().startswith("This choice is mostly luck. Other images would choose ")


def test_twice_as_many_images_agree_more() -> None:
    known = sure(measured(*range(50, 70, 2), noise=9.0), 0.3)
    assert known.doubled.samples == 320
    assert known.doubled.kept > known.now.kept
    assert known.doubled.overlap > known.now.overlap


def test_a_choice_far_from_any_other_is_sure() -> None:
    known = sure(measured(60.0, 59.0, 20.0, 21.0, noise=2.0), 0.5)
    assert known.now == Agreement(160, same=1.0, kept=2.0, overlap=1.0)
    assert known.sentence() == "10 of 10 other draws of images would choose these 2 layers."


def test_one_cloud_does_not_show_how_sure_a_choice_is() -> None:
    alone = report(layer("a", blobs(6)), layer("b", blobs(6)), layer("fc", blobs(6), kind="Linear"))
    assert certainty(alone, ranking(alone)) is None
    assert rank_intervals(alone, ranking(alone)) is None
    nothing = measured(60.0, 59.0, noise=2.0)
    assert certainty(nothing, ranking(nothing, rho=0.1, preset="released")) is None


def known_as(chosen: int, now: float, doubled: float, *, chance: float = 0.1) -> Certainty:
    """A certainty with these shares of the layers kept, and of draws with the same layers."""
    before, after = (
        Agreement(samples, same=share, kept=share * chosen, overlap=share)
        for samples, share in ((160, now), (320, doubled))
    )
    base = sure(measured(60.0, 59.0, noise=2.0), 0.5)
    return replace(base, chosen=chosen, now=before, doubled=after, chance=chance)


@pytest.mark.parametrize(
    ("known", "most", "sentence"),
    [
        (
            known_as(4, 0.8, 0.9), None,
            "8 of 10 other draws of images would choose these 4 layers; with 320 images it would "
            "be 9.",
        ),
        (
            known_as(4, 0.8, 0.9), 319,
            "8 of 10 other draws of images would choose these 4 layers.",
        ),
        (known_as(1, 0.6, 0.6), None, "6 of 10 other draws of images would choose this layer."),
        (
            known_as(8, 0.45, 0.6), None,
            "This choice is mostly luck. Other images would choose 4 of these 8 layers again; with "
            "320 images it would be 5.",
        ),
        (
            known_as(4, 0.05, 0.1), None,
            "This choice is mostly luck. Other images would choose none of these 4 layers again.",
        ),
        (
            known_as(4, 0.8, 0.9, chance=0.7), None,
            "8 of 10 other draws of images would choose these 4 layers; more than 100 subsets "
            "would make it surer.",
        ),
    ],
)  # fmt: skip
def test_the_sentence(known: Certainty, most: int | None, sentence: str) -> None:
    assert known.sentence(most) == sentence
