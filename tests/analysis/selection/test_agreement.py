"""Rankings held against each other and against size, by scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.selection.agreement import SizeDominance, agreement, kendall
from analysis.selection.correlation import partial_rank_correlation


def rows(ranks: list[float | None], chosen: int, **columns: list[float]) -> pd.DataFrame:
    """What `ranking` says of layers with these ranks, of which the best are selected."""
    rank = pd.array(ranks, dtype="Int64")
    best = pd.Series(rank).sort_values(kind="stable").index[:chosen]
    selected = [i in best for i in range(len(ranks))]
    names = [f"layer{i}" for i in range(len(ranks))]
    return pd.DataFrame({"layer": names, "rank": rank, "selected": selected, **columns})


@pytest.mark.parametrize("seed", range(5))
def test_kendall_is_scipys_tau_b(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 9, size=(2, 60)).astype(float)  # with ties
    x[:3] = np.nan
    expected = stats.kendalltau(x[3:], y[3:]).statistic
    assert kendall(x, y) == pytest.approx(expected, abs=1e-12)
    assert kendall(x, -y) == pytest.approx(-expected, abs=1e-12)
    assert math.isnan(kendall(x, np.ones(60)))


@pytest.mark.parametrize("seed", range(5))
def test_partial_correlation_is_that_of_the_residuals_of_ranks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=40)
    x, y = z + rng.normal(size=40), np.round(z - rng.normal(size=40), 1)
    ranks = [stats.rankdata(values) for values in (x, y, z)]
    rest = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    known = stats.pearsonr(*rest)
    # With one variable held fixed, one degree of freedom less than scipy knows of.
    t = known.statistic * math.sqrt(37 / (1 - known.statistic**2))
    result = partial_rank_correlation(x.tolist(), y.tolist(), z.tolist())
    assert result.coefficient == pytest.approx(known.statistic, abs=1e-9)
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(t), 37), rel=1e-6)
    assert result.n == 40
    assert math.isnan(partial_rank_correlation(z.tolist(), y.tolist(), z.tolist()).coefficient)


def test_agreement_of_rankings_by_hand() -> None:
    known = {
        "a": rows([1, 2, 3, 4], 2),
        "b": rows([4, 3, 2, 1], 2),
        "c": rows([2, 1, 3, 4], 3),
        "d": rows([1, 2, 3, 4], 0),
    }
    result = agreement(known)
    assert result.names == ("a", "b", "c", "d")
    assert result.tau[0].tolist() == pytest.approx([1, -1, 2 / 3, 1])
    assert (result.tau == result.tau.T).all()
    assert result.jaccard[0, :3].tolist() == pytest.approx([1, 0, 2 / 3])
    assert result.jaccard[1, 2] == pytest.approx(1 / 4)
    assert math.isnan(result.jaccard[3, 3])  # neither selects anything


def test_size_dominance_where_size_decides_all_and_where_it_decides_nothing() -> None:
    sizes = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    loops = [3.0, 5.0, 1.0, 6.0, 2.0, 4.0]
    all_by_size = SizeDominance.of(rows([1, 2, 3, 4, 5, 6], 2, activation_size=sizes, b1=loops))
    assert all_by_size.size.coefficient == pytest.approx(1)
    assert (all_by_size.by_size, all_by_size.tied) == (2, 0)
    assert math.isnan(all_by_size.loops_at_equal_size.coefficient)  # nothing is left of the score
    by_loops = stats.rankdata([-value for value in loops]).astype(int).tolist()
    by_topology = SizeDominance.of(rows(by_loops, 2, activation_size=sizes, b1=loops))
    expected = stats.spearmanr(loops, [1 / size for size in sizes])
    assert by_topology.size.coefficient == pytest.approx(expected.statistic)
    assert by_topology.size.p_value == pytest.approx(expected.pvalue)
    assert by_topology.loops.coefficient == pytest.approx(1)
    assert by_topology.by_size == 1  # layer1, by size the second; layer3 is the fourth
    assert (by_topology.chosen, by_topology.ranked) == (2, 6)


def test_layers_of_equal_size_count_in_part() -> None:
    sizes, loops = [10.0, 20.0, 20.0, 20.0], [1.0, 4.0, 2.0, 3.0]
    known = SizeDominance.of(rows([4, 1, 3, 2], 2, activation_size=sizes, b1=loops))
    assert known.by_size == pytest.approx(2 / 3)  # one place for three layers, two of them chosen
    assert known.tied == 3
