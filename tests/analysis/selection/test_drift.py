"""What a shift does to a selection, on reports with known answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from analysis.results import TopologyReport
from analysis.selection.drift import Drift, drift
from analysis.selection.ranking import NONE_CAN_BE_CHOSEN, ranking
from analysis.topology.shift_series import ShiftSeries
from tests import factories
from tests.factories import blobs, layer

NAMES = ("a", "b", "c", "d")


def made(*loops: float, width: int = 10) -> TopologyReport:
    """Layers a, b, c … with so many loops, and a head; NaN: the layer is not finite."""
    layers, ring = [], np.array([[1.0, 2.0]], np.float32)
    for name, count in zip(NAMES, loops, strict=False):
        one = layer(name, None if np.isnan(count) else blobs(10), width=width)
        diagrams = () if np.isnan(count) else (np.repeat(ring, int(count), axis=0),)
        layers.append(replace(one, diagrams=diagrams, b1=float(count)))
    head = replace(layer("fc", blobs(10), kind="Linear"), diagrams=(ring[:0],), b1=0.0)
    return factories.report(*layers, head)


FIRST = made(9, 8, 1, 2)  # chooses a and b of four
OTHERS = [made(9, 8, 1, 2), made(9, 1, 8, 2), made(1, 9, 2, 8), made(9, 8, 2, 1)]


def drifted(
    *shifted: TopologyReport,
    first: TopologyReport = FIRST,
    redrawn: object = None,
    rho: float = 0.5,
) -> Drift:
    others = tuple(OTHERS if redrawn is None else redrawn)  # type: ignore[call-overload]
    why = "" if others else "How far luck goes was not measured."
    return drift(ShiftSeries("blur", (first, *shifted), others, why), rho=rho)


def test_the_counts_are_those_of_the_rankings() -> None:
    known = drifted(made(9, 8, 1, 2), made(9, 1, 8, 2), made(1, 2, 8, 9))
    assert known.chosen == 2
    assert known.shared == [2, 2, 1, 0]
    chosen = [set("ab"), set("ab"), set("ac"), set("bd"), set("ab")]
    assert known.pairs == tuple(len(one & two) for one, two in combinations(chosen, 2))
    assert known.luck == (0, pytest.approx(np.mean(known.pairs)), 2)
    assert known.values("b1").tolist() == [[9, 9, 9, 1], [8, 8, 1, 2], [1, 1, 8, 8], [2, 2, 2, 9],
                                           [0, 0, 0, 0]]  # fmt: skip
    ranks = known.values("rank")
    assert ranks[:4, 3].tolist() == [4, 3, 2, 1]
    assert np.isnan(ranks[4]).all()  # the head
    assert known.values("selected")[:, 2].tolist() == [1, 0, 1, 0, 0]


def test_each_severity_says_whether_it_is_luck() -> None:
    sure = [made(9, 8, 1, 2)] * 4
    known = drifted(made(9, 8, 2, 1), made(9, 1, 8, 2), made(1, 2, 8, 9), redrawn=sure)
    text = "the selection shares {} layers with that of the clean images; two draws of clean "
    assert known.sentence(1) == (
        f"At severity 1 {text.format('all 2')}images share 2 on average: it survives."
    )
    for severity, number in ((2, "1 of 2"), (3, "none of 2")):
        assert known.sentence(severity) == (
            f"At severity {severity} {text.format(number)}images share 2 on average and never "
            "fewer than 2: luck alone seldom does that."
        )
    known = drifted(made(9, 1, 8, 2), made(1, 2, 8, 9))
    assert known.sentence(1).endswith("images share 1.2 on average: this is no more than luck.")
    assert known.sentence(2).endswith("images share 1.2 on average: this is no more than luck.")


def test_one_layer_is_the_same_or_another() -> None:
    known = drifted(made(9, 8, 1, 2), made(1, 8, 2, 2), rho=0.25)
    assert known.chosen == 1
    assert known.sentence(1) == (
        "At severity 1 the selection is the same layer as that of the clean images; 6 of 10 pairs "
        "of draws of clean images agree: it survives."
    )
    assert known.sentence(2) == (
        "At severity 2 the selection is another layer than that of the clean images; 6 of 10 "
        "pairs of draws of clean images agree: this is no more than luck."
    )
    sure = drifted(made(1, 8, 2, 2), redrawn=[FIRST] * 4, rho=0.25)
    assert (
        "10 of 10 pairs of draws of clean images agree: luck alone seldom does that"
    ) in sure.sentence(1)


def test_without_other_draws_nothing_is_said_of_luck() -> None:
    known = drifted(made(9, 1, 8, 2), redrawn=())
    assert known.luck is None
    assert known.sentence(1) == (
        "At severity 1 the selection shares 1 of 2 layers with that of the clean images. How far "
        "luck goes was not measured."
    )
    assert known.document()["shared_by_draws_mean"] is None


def test_what_is_no_selection_is_said() -> None:
    nan = float("nan")
    assert drifted(FIRST, rho=1.0).sentence(1).startswith("All 4 layers that can be chosen are")
    empty = drift(ShiftSeries("blur", (FIRST, FIRST)), rho=0.01, preset="paper")
    assert empty.sentence(1) == "`rho` selects no layer; use a larger value."
    none = made(nan, nan, nan, nan)
    assert drifted(FIRST, first=none).sentence(1) == NONE_CAN_BE_CHOSEN
    assert drifted(FIRST, first=made(0, 0, 0, 0)).sentence(1).startswith("Without the shift all")
    known = drifted(made(0, 0, 0, 0), made(3, 3, 3, 3), none, made(9, nan, 8, nan))
    assert known.sentence(1).startswith("At severity 1 no layer has a loop, so only the execution")
    assert known.sentence(2).startswith("At severity 2 all scores are equal, so only the execution")
    assert known.sentence(3).startswith("At severity 3 no layer can be chosen, as no activations")
    assert "shares 1 of 2 layers" in known.sentence(4)
    assert np.isnan(known.values("b1")[1, 4])
    one = factories.report(layer("a", blobs(10)), layer("fc", blobs(10), kind="Linear"))
    assert (
        drifted(one, first=one, redrawn=()).sentence(1).startswith("Only one layer can be chosen")
    )


def test_size_alone_is_the_control() -> None:
    sizes = replace(FIRST, layers=(FIRST.layers[0], *(
        replace(one, activation_size=400 * (k + 1)) for k, one in enumerate(FIRST.layers[1:])
    )))  # fmt: skip
    known = drift(ShiftSeries("blur", (sizes, sizes)), rho=0.5, normalization="none")
    assert known.by_size == pytest.approx(2 * 2 / 4)  # without sizes it is a lottery
    known = drift(ShiftSeries("blur", (sizes, sizes)), rho=0.5)
    rows = ranking(sizes, rho=0.5)
    both = rows["selected"] & rows["selected_by_size"]
    assert known.by_size == both.sum() == 2


def test_a_layer_that_one_severity_skips_is_missing_there() -> None:
    short = replace(FIRST, layers=(*FIRST.layers[:2], FIRST.layers[4]))
    known = drifted(short)
    assert np.isnan(known.values("b1")[2:4, 1]).all()
    assert known.shared[1] == 1  # a: half of two layers
    assert known.document()["severities"][1][0]["layer"] == "a"


def test_titles_begin_the_sentences() -> None:
    series = ShiftSeries("blur", (FIRST, made(9, 1, 8, 2)), titles=("Before", "With half"))
    assert drift(series, rho=0.5).sentence(1).startswith("With half the selection shares 1 of 2")
