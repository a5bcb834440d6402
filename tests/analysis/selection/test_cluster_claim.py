"""Whether loops follow clusters, held against scipy and scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.cluster import DBSCAN

from analysis.selection.cluster_claim import ClusterClaim, cluster_claim
from tests.factories import blobs, distances_of, layer, report


def test_each_cell_is_spearman_with_dbscans_own_counts() -> None:
    clouds = [blobs(8, groups, seed=groups) for groups in (1, 2, 3, 4, 5)]
    layers = [layer(f"l{i}", cloud[:8]) for i, cloud in enumerate(clouds)]
    layers = [
        dataclasses.replace(each, distances=distances_of(cloud), b1=float(loops))
        for each, cloud, loops in zip(layers, clouds, (3, 1, 4, 1, 5), strict=True)
    ]
    claim = cluster_claim(
        report(*layers, layer("gone")), eps_quantiles=[0.1, 0.4], min_samples=[2, 3]
    )
    assert claim.layers == 5
    for row, few in enumerate((2, 3)):
        for column, share in enumerate((0.1, 0.4)):
            counts = []
            for cloud in clouds:
                distances = distances_of(cloud)
                eps = np.quantile(distances[np.triu_indices(len(cloud), 1)].astype(float), share)
                counts.append(DBSCAN(eps=eps, min_samples=few).fit_predict(cloud).max() + 1)
            expected = spearmanr([3, 1, 4, 1, 5], counts)
            assert claim.coefficients[row, column] == pytest.approx(expected.statistic)
            assert claim.p_values[row, column] == pytest.approx(expected.pvalue)


def test_the_sentence_counts_the_settings_with_a_clear_link() -> None:
    claim = ClusterClaim(
        np.array([0.1, 0.2]),
        (2, 3),
        coefficients=np.array([[0.8, -0.9], [0.2, np.nan]]),
        p_values=np.array([[0.01, 0.02], [0.4, np.nan]]),
        layers=9,
    )
    assert (claim.share(1), claim.share(-1), claim.undefined) == (0.25, 0.25, 0.25)
    assert claim.sentence == (
        "b₁ clearly rises with the cluster count at 25 % of 4 settings and clearly falls at 25 %; "
        "Spearman runs from −0.90 to +0.80."
    )


def test_equal_counts_everywhere_can_follow_nothing() -> None:
    same = [layer(name, blobs(8, 2)) for name in "abc"]
    assert cluster_claim(report(*same)).sentence.startswith("At no setting can b₁ follow")
    assert cluster_claim(report(layer("gone"))).undefined == 1
