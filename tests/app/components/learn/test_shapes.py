"""The test against pure noise of the second step, which is taken in parts."""

from __future__ import annotations

import numpy as np

from analysis.topology.rotation import rotation_test
from app.cache.learn import Known, known_cloud, known_test


def test_the_parts_are_those_of_one_test_and_report_their_share() -> None:
    known = Known("Figure eight", 30, 0.05, 3, 0)
    shares: list[float] = []
    test = known_test(known, shares.append)
    whole = rotation_test(known_cloud(known).distances, draws=99, seed=known.seed)
    np.testing.assert_array_equal(test.null, whole.null)
    np.testing.assert_array_equal(test.observed, whole.observed)
    assert shares == [first / 99 for first in range(0, 99, 11)]
