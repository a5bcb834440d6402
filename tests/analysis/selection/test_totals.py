"""What a selection comes to, and the ρ that chooses as much."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.options import PRESETS
from analysis.selection.ranking import equal_rho, ranking
from analysis.selection.totals import Totals
from tests.factories import circle, layer, report

LAYERS = [layer(f"l{n}", circle(8), width=n + 1, parameters=10**n) for n in range(6)]
MEASURED = report(*LAYERS, layer("head", circle(8), kind="Linear"))


@pytest.mark.parametrize("preset", PRESETS)
def test_an_equal_rho_gives_the_same_ranking(preset: str) -> None:
    rhos = [step / 100 for step in range(1, 101)]
    equal = [equal_rho(MEASURED, rho=rho, preset=preset) for rho in rhos]
    assert len(set(equal)) <= len(MEASURED.layers) + 1
    for rho, other in zip(rhos, equal, strict=True):
        pd.testing.assert_frame_equal(
            ranking(MEASURED, rho=rho, preset=preset), ranking(MEASURED, rho=other, preset=preset)
        )


def test_totals_name_the_chosen_layers_best_first_and_count_their_parameters() -> None:
    rows = ranking(MEASURED, rho=0.5)
    totals = Totals.of(rows)
    assert totals.chosen == ("l0", "l1", "l2")  # the smallest, with one loop each
    assert totals.heads == ("head",)
    assert (totals.ranked, totals.countable) == (6, 6)
    assert (totals.trained, totals.parameters) == (111 + 100, 111_111 + 100)
