"""The rotation test: uniform p on Gaussian clouds, power on noisy circles, and time.

python -m tests.benchmarks --only rotation
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import kstest

from analysis.results import Float64
from analysis.topology.calibration import Calibration, calibration, distances_of
from analysis.topology.layer_tests import rotation_tests
from analysis.topology.rotation import LEVEL, STATISTICS, rotation_test
from tests.factories import layer, report

CLOUDS, DRAWS = 300, 39
FEATURES = (2, 10, 50, 200, 2000)
NOISES = (0.1, 0.2, 0.3, 0.5)  # what is added to a circle of radius 1, as its length per point
CIRCLES, POINTS = 40, 40
LAYERS = 107


@dataclass(frozen=True)
class Rotation:
    clouds: int
    uniform: dict[str, float]  # p of Kolmogorov and Smirnov, for each statistic
    rejected: dict[str, float]  # share of the clouds with p <= 0.05
    asymptotic_rejected: float
    power: dict[str, dict[str, float]]  # share of circles found, by features and noise
    asymptotic_power: dict[str, dict[str, float]]
    seconds: float  # 199 draws of 107 layers


def measure(say: Callable[[str], None]) -> Rotation:
    with Parallel(n_jobs=-1) as parallel:
        found: list[Calibration] = parallel(
            delayed(calibration)(number, draws=DRAWS) for number in range(CLOUDS)
        )
        p = np.array([one.p for one in found])
        say("circles")
        power: dict[str, dict[str, float]] = {}
        asymptotic: dict[str, dict[str, float]] = {}
        for features in FEATURES:
            for noise in NOISES:
                results = parallel(
                    delayed(_circle_found)(features, noise, seed) for seed in range(CIRCLES)
                )
                shares = np.mean(results, axis=0)
                power.setdefault(str(features), {})[str(noise)] = float(shares[0])
                asymptotic.setdefault(str(features), {})[str(noise)] = float(shares[1])
    say("layers")
    return Rotation(
        clouds=CLOUDS,
        uniform={
            name: float(kstest(p[:, i], "uniform").pvalue) for i, name in enumerate(STATISTICS)
        },
        rejected={name: float((p[:, i] <= LEVEL).mean()) for i, name in enumerate(STATISTICS)},
        asymptotic_rejected=float(np.mean([one.asymptotic for one in found])),
        power=power,
        asymptotic_power=asymptotic,
        seconds=_seconds(),
    )


def circle(features: int, noise: float, seed: int) -> Float64:
    """A circle of radius 1 in a random plane, with Gaussian noise in all directions.

    `noise` is the expected length of what is added to a point, whatever the dimension.
    """
    rng = np.random.default_rng([seed, features])
    angles = rng.uniform(0, 2 * np.pi, POINTS)
    plane = np.linalg.qr(rng.normal(size=(features, 2)))[0]
    points: Float64 = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T
    return points + rng.normal(size=points.shape) * noise / np.sqrt(features)


def _circle_found(features: int, noise: float, seed: int) -> tuple[bool, bool]:
    """Whether the rotation test finds the circle, and whether the asymptotic p does."""
    test = rotation_test(distances_of(circle(features, noise, seed)), draws=DRAWS, seed=seed)
    return bool(test.p[3] <= LEVEL), bool((test.asymptotic_bars <= LEVEL).any())


def _seconds() -> float:
    rng = np.random.default_rng(0)
    layers = [layer(str(i), rng.normal(size=(40, 10 + 5 * i))) for i in range(LAYERS)]
    started = time.perf_counter()
    rotation_tests(report(*layers), draws=199)
    return time.perf_counter() - started


def show(result: Rotation) -> None:
    print(f"p on {result.clouds} Gaussian clouds, {DRAWS} draws each")
    for name in STATISTICS:
        print(
            f"  {name:18} Kolmogorov-Smirnov p = {result.uniform[name]:.2f}; "
            f"p <= 0.05 in {result.rejected[name]:.1%}"
        )
    print(f"  Bobrowski and Skraba finds a loop in {result.asymptotic_rejected:.1%}")
    for title, table in (
        ("rotation test", result.power),
        ("Bobrowski and Skraba", result.asymptotic_power),
    ):
        print(f"circles found by {title}: features (rows), noise of the radius (columns)")
        print(f"  {'':8}" + "".join(f"{noise:>8}" for noise in NOISES))
        for features, row in table.items():
            print(f"  {features:8}" + "".join(f"{share:8.0%}" for share in row.values()))
    print(f"199 draws of {LAYERS} layers of 40 images: {result.seconds:.1f} s")
