"""What decided a selection: ties, zeros, size alone, and the sentences about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analysis.selection.decision import Decision
from analysis.selection.ranking import ranking
from tests.factories import circle, layer, report


def rings(count: int) -> np.ndarray:
    """Circles far from each other: one loop each."""
    return np.concatenate([circle(8) + np.array([3.7 * n**1.5, 0]) for n in range(count)])


def decided(
    loops: Sequence[int],
    widths: Sequence[int],
    *,
    rho: float,
    preset: str = "recommended",
    summary: str = "b1",
    normalization: str = "activation",
    head: int | None = None,
) -> tuple[list[str], Decision, str]:
    """The layers chosen, the decision and its sentences, for layers with so many loops each."""
    most = 8 * max([*loops, head or 1, 1])
    layers = [
        layer(f"l{n}", _cloud(count, most), kind="LayerNorm", width=width)
        for n, (count, width) in enumerate(zip(loops, widths, strict=True))
    ]
    if head is not None:
        layers.append(layer("head", _cloud(head, most), kind="Linear", width=1))
    measured = report(*layers)
    assert [layer.b1 for layer in measured.layers][: len(loops)] == list(loops)
    rows = ranking(measured, rho=rho, preset=preset, summary=summary, normalization=normalization)
    decision = Decision.of(rows, measured.head)
    chosen = rows.loc[rows["selected"]].sort_values("rank", kind="stable")["layer"].tolist()
    text = " ".join(decision.sentences(normalization=normalization, summary=summary))
    return chosen, decision, text


def _cloud(loops: int, points: int) -> np.ndarray:
    """A cloud of so many points with so many loops: rings, and points on a line far away."""
    parts = [rings(loops)] if loops else []
    rest = points - 8 * loops
    parts.append(np.stack([-10 - np.arange(rest) ** 1.1, np.zeros(rest)], axis=1))
    return np.concatenate(parts)


def test_without_any_loop_only_the_order_decides() -> None:
    chosen, decision, text = decided([0, 0, 0, 0], [9, 3, 5, 7], rho=0.5)
    assert chosen == ["l0", "l1"]
    assert decision.degenerate == ("no-loops", "execution-order")
    assert decision.by_order_alone
    assert text == (
        "No layer has a loop that counts, so all scores are 0, and only the execution order "
        "decides. This is not AdaBet's selection: use more images, or images that differ more."
    )


def test_equal_scores_are_named_and_share_a_rank() -> None:
    _, decision, text = decided([2, 2, 2], [5, 5, 5], rho=0.34)
    assert decision.degenerate == ("equal-scores", "execution-order", "one-layer")
    assert text.startswith(
        "All 3 layers have the same score, and only the execution order decides."
    )


def test_a_summary_that_is_zero_is_not_a_lack_of_loops() -> None:
    _, decision, text = decided([1, 1, 1], [5, 9, 7], rho=0.34, summary="entropy")
    assert decision.by_order_alone
    assert text.startswith("For every layer the persistent entropy is 0, and only")


def test_ties_for_the_last_places_are_named_with_their_number() -> None:
    # As in the first view: layers of one size, and a tie across the border.
    chosen, decision, text = decided([5, 4, 3, 3, 3, 1, 9], [4] * 6 + [99], rho=0.57)
    assert chosen == ["l0", "l1", "l2", "l3"]
    assert (decision.tied, decision.tied_chosen) == (3, 2)
    assert decision.degenerate == ("execution-order",)
    assert text == (
        "Size alone, without any topology, narrows the choice to 6 layers, these among them; b₁ "
        "decides the first 2. For the last 2 places, 3 layers have the same score: those that "
        "run first are taken."
    )


@pytest.mark.parametrize(
    ("summary", "phrase"),
    [
        ("b1", "b₁"),
        ("betti-maximum", "the Betti curve's maximum"),
        ("total-persistence", "the total persistence"),
    ],
)
def test_what_decides_is_the_summary_of_the_score(summary: str, phrase: str) -> None:
    _, decision, text = decided([5, 4, 3, 9], [4, 4, 4, 99], rho=0.5, summary=summary)
    assert decision.degenerate == ()
    assert text.endswith(f"narrows the choice to 3 layers, these among them; {phrase} decides "
                         "between them.")  # fmt: skip


def test_layers_without_loops_that_compete_for_places_are_named() -> None:
    _, decision, text = decided([3, 0, 0, 0, 0], [9, 9, 9, 9, 9], rho=0.6, normalization="none")
    assert decision.degenerate == ("execution-order",)
    assert text == (
        "For the last 2 places, 4 layers have no loop that counts: those that run first are taken."
    )


@pytest.mark.parametrize(
    ("loops", "widths", "rho", "degenerate", "sentence"),
    [
        ([2, 2, 2, 2], [1, 2, 3, 4], 0.5, "size-alone", "would rank every layer the same."),
        ([3, 8, 4, 9], [1, 2, 8, 90], 0.5, "size-alone", "would choose the same layers."),
        (
            [3, 3, 1, 12, 1], [1, 2, 3, 9, 99], 0.6, "mostly-size",
            "would choose 2 of these 3: it is mostly a choice by size.",
        ),
        ([1, 1, 9, 9], [1, 2, 3, 4], 0.5, "", "would choose none of these."),
        ([1, 9, 1, 1], [4, 5, 6, 7], 0.25, "one-layer", "would choose another layer."),
        ([1, 1, 8, 9], [1, 5, 5, 5], 0.5, "", "narrows the choice to 4 layers, these among them."),
        ([1, 1, 9, 9], [4, 4, 5, 6], 0.25, "one-layer", "narrows the choice to 2 layers, not this "
         "one among them."),
        ([1, 1, 1, 9, 9], [4, 4, 4, 5, 6], 0.4, "", "narrows the choice to 3 layers, none of these "
         "2 among them."),
    ],
)  # fmt: skip
def test_the_part_of_size_is_named(
    loops: list[int], widths: list[int], rho: float, degenerate: str, sentence: str
) -> None:
    _, decision, text = decided(loops, widths, rho=rho)
    assert decision.degenerate == ((degenerate,) if degenerate else ())
    assert f"Size alone, without any topology, {sentence}" in text


def test_a_single_layer_is_one_also_in_the_sentences() -> None:
    _, decision, text = decided([9, 1, 8, 1], [1, 2, 8, 90], rho=0.25)
    assert decision.degenerate == ("one-layer", "size-alone")
    assert "would choose the same layer." in text
    assert "Only one layer is chosen, so all rests on one score." in text


def test_the_head_alone_is_plain_transfer_learning() -> None:
    chosen, decision, text = decided([1, 1, 1], [50, 60, 70], rho=0.3, preset="paper", head=1)
    assert chosen == ["head"]
    assert {"head-only", "one-layer"} <= set(decision.degenerate)
    assert "Only the classifier trains, which is plain transfer learning (“Head only”)." in text


def test_a_ranked_head_that_is_left_out_is_named() -> None:
    chosen, decision, text = decided([3, 1, 2], [1, 1, 1], rho=0.25, preset="paper", head=0)
    assert chosen == ["l0"]
    assert "head-left-out" in decision.degenerate
    assert text.endswith("The classifier is not among them: a new one would stay untrained.")


def test_when_everything_is_chosen_nothing_was_decided() -> None:
    _, decision, text = decided([0, 0, 0], [1, 2, 3], rho=1.0)
    assert not decision.by_order_alone
    assert text == "Every layer that can be chosen is chosen, whatever its score."


def test_nothing_chosen_and_nothing_to_choose_are_silent() -> None:
    for decision in (
        decided([1, 2], [3, 4], rho=0.1, preset="released")[1],
        Decision.of(ranking(report(layer("a"), layer("b"))), None),
    ):
        assert decision.sentences() == []
        assert not decision.by_order_alone
        assert "execution-order" not in decision.degenerate
