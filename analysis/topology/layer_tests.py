"""The rotation test of every layer of a report, with the same rotations for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from joblib import Parallel, cpu_count, delayed

from analysis.errors import ModelError
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float32, Float64, Integers, LayerTopology, TopologyReport
from analysis.text import plural
from analysis.topology.noise import noise_loops
from analysis.topology.rotation import (
    DRAWS,
    LEVEL,
    STATISTICS,
    RotationTest,
    check_draws,
    coordinates,
    null_statistics,
    observe,
)

if TYPE_CHECKING:
    import pandas as pd

# A layer is given up once so many draws reach each of its statistics: with up to 199 draws, none
# of its p-values can be at most 0.05 then.
ENOUGH = 10
SUBSETS = 2  # random subsets that are tested; each takes as long as one cloud of 40 images
_ROUND = 10  # draws of one task
_MOST_NOISE = 199  # draws of pure noise, which only a band is taken from
_RIPSER = 7e-4  # seconds for 40 points, and with their number to the power of 2.5
_SERIAL = 2.0  # seconds of work for which starting processes does not pay


@dataclass(frozen=True, eq=False)
class LayerTests:
    """The rotation test of each layer that is finite, in execution order."""

    tests: dict[str, RotationTest]
    asked: int  # draws
    seed: int
    groups: int  # clouds of a layer, each rotated by itself
    size: int  # images of each
    seconds: float = 0.0
    notes: tuple[str, ...] = ()  # sentences for the user, such as of a failed save
    # (layers, draws): b₁ of pure noise of each layer's dimension; none in files of older versions
    noise: Float64 = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def least_p(self) -> float:
        """The smallest p that a layer can have after Holm's correction, if it is the only one."""
        return min(1.0, len(self.tests) / (self.asked + 1))

    @property
    def draws_needed(self) -> int:
        """The draws with which one layer alone could be rejected at `LEVEL`."""
        return draws_needed(len(self.tests))

    def sentence(self) -> str:
        """That no layer can be rejected with so few draws; empty if one can."""
        if self.least_p <= LEVEL:
            return ""
        return (
            f"With {self.asked} draws, no single one of {plural(len(self.tests), 'layer')} can "
            f"reach p ≤ {LEVEL:g} after Holm's correction. Make at least {self.draws_needed} draws."
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per layer and statistic.

        Returns
        -------
        DataFrame
            layer, statistic, value, null_mean, null_sd, p, p_holm (over the layers, for each
            statistic by itself), draws (fewer than asked for if the layer was given up).
        """
        import pandas as pd

        if not self.tests:
            columns = ["layer", "statistic", "value", "null_mean", "null_sd", "p", "p_holm"]
            return pd.DataFrame(columns=[*columns, "draws"])
        frames = [
            test.to_frame().reset_index().assign(draws=test.draws) for test in self.tests.values()
        ]
        table = pd.concat(frames, ignore_index=True)
        table.insert(0, "layer", np.repeat(list(self.tests), len(STATISTICS)))
        adjusted = table.groupby("statistic")["p"].transform(lambda p: holm(p.to_numpy()))
        table.insert(6, "p_holm", adjusted)
        return table

    def by_layer(self) -> pd.DataFrame:
        """One row per layer, for charts and tables.

        Returns
        -------
        DataFrame
            Index layer; b1, b1_mean, b1_low, b1_high (the middle 95 % of the draws), b1_z,
            longest, longest_high (95 % of the draws are below), total, total_mean, long_bars,
            draws, noise_mean, noise_low, noise_high (b₁ of pure noise of the same dimension, and
            its middle 95 %; NaN if it was not drawn), and p and p_holm of each statistic, as
            "p b1-more" and "p_holm b1-more".
        """
        import pandas as pd

        rows = []
        for test in self.tests.values():
            frame = test.to_frame()
            low, high = test.band()
            rows.append(
                {
                    "b1": frame.loc["b1-more", "value"],
                    "b1_mean": frame.loc["b1-more", "null_mean"],
                    "b1_low": low,
                    "b1_high": high,
                    "b1_z": test.z,
                    "longest": frame.loc["longest-loop", "value"],
                    "longest_high": test.longest_below(),
                    "total": frame.loc["total-persistence", "value"],
                    "total_mean": frame.loc["total-persistence", "null_mean"],
                    "long_bars": test.long_bars,
                    "draws": test.draws,
                }
                | {f"p {name}": frame.loc[name, "p"] for name in STATISTICS}
            )
        table = pd.DataFrame(rows, index=pd.Index(list(self.tests), name="layer"))
        for name in STATISTICS:
            table[f"p_holm {name}"] = holm(table[f"p {name}"].to_numpy())
        drawn = self.noise if self.noise.size else np.full((len(table), 1), np.nan)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
        return table.assign(noise_mean=drawn.mean(axis=1), noise_low=low, noise_high=high)

    @property
    def asymptotic_errors(self) -> float:
        """Share of all layers' draws in which the asymptotic p finds a loop that is none."""
        return float(np.mean(np.concatenate([t.null[:, 3] for t in self.tests.values()])))

    @property
    def asymptotic_layers(self) -> int:
        """Layers in which the asymptotic p finds a loop."""
        return sum(bool((t.asymptotic_bars <= LEVEL).any()) for t in self.tests.values())

    def of_statistic(self, statistic: str) -> pd.DataFrame:
        """The rows of `to_frame` with this statistic, by layer."""
        table = self.to_frame()
        return table[table["statistic"] == statistic].set_index("layer")


@dataclass(frozen=True)
class OfTest:
    """A number of a layer that only its test gives, to score it by."""

    title: str
    help: str
    compute: Callable[[RotationTest], float]


OF_TESTS = {
    "b1-z": OfTest(
        "b₁ against rotations",
        "b₁ less its mean over rotated clouds, in their standard deviations.",
        lambda test: test.z,
    ),
    "long-loops": OfTest(
        "Loops that pass",
        "Number of loops longer than those of rotated clouds.",
        lambda test: float(test.long_bars),
    ),
}


def holm(p: Float64) -> Float64:
    """p-values corrected for their number by Holm's method: the smallest times k, and so on."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    factors = np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def draws_needed(layers: int) -> int:
    """The draws with which one of so many layers could be rejected by Holm's method."""
    return max(1, round(layers / LEVEL) - 1)


def rotation_tests(
    report: TopologyReport,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    enough: int | None = ENOUGH,
    progress: ProgressCallback | None = None,
) -> LayerTests:
    """Test the loops of every layer; see `rotation.rotation_test`.

    Parameters
    ----------
    report : TopologyReport
        The clouds are those of its pooling: all images, or each batch, rotated by itself. Of
        random subsets, the first ones that share no image are tested.
    draws : int
        Rotations. With few, no layer can be rejected after Holm's correction: see
        `LayerTests.sentence`.
    seed : int
        Decides the rotations, one per draw for all layers.
    enough : int, optional
        A layer is given up once so many draws reach each of its statistics, so its p-values
        are large; None makes all draws for every layer.
    progress : callable (Progress), optional
        Called after some draws. An error that it raises ends the tests and is passed on.

    Raises
    ------
    OptionError
        If `draws` or `seed` is out of range.
    ModelError
        If no layer is finite.
    """
    check_draws(draws, seed)
    started = time.perf_counter()
    layers = [layer for layer in report.layers if layer.finite]
    if not layers:
        raise ModelError("No layer has finite activations, so there is nothing to test.")
    images = images_to_test(report)
    points = [coordinates(_distances_of(layer, images)) for layer in layers]
    tests = [
        observe(layer.diagrams[: len(images)], null=np.zeros((0, 4)), asked=draws, enough=enough)
        for layer in layers
    ]
    groups, size = images.shape
    seconds = ripser_seconds(draws * len(layers) * groups, size)
    with _processes(seconds) as parallel:
        made = 0
        while made < draws:
            open_layers = [i for i, test in enumerate(tests) if not test.is_decided]
            if not open_layers:
                break
            if progress is not None:
                text = f"draw {made} of {draws}, {plural(len(open_layers), 'layer')} left"
                progress(Progress("Random rotations", text, made, draws))
            ahead = range(made, min(draws, made + _ROUND * parallel.n_jobs))
            parts = [ahead[i : i + _ROUND] for i in range(0, len(ahead), _ROUND)]
            inputs = [points[i] for i in open_layers]
            null = np.concatenate(
                parallel(delayed(null_statistics)(inputs, part, seed) for part in parts)
            )
            for column, i in enumerate(open_layers):
                so_far = np.concatenate([tests[i].null, null[:, column]])
                tests[i] = replace(tests[i], null=so_far)
            made = ahead.stop
        # Layers of the same dimension share their noise.
        dimensions = [layer.activation_size // report.samples for layer in layers]
        distinct = sorted(set(dimensions))
        how = {"clouds": groups, "draws": min(draws, _MOST_NOISE), "seed": seed}
        noise = parallel(delayed(noise_loops)(d, size, **how) for d in distinct)
    of_dimension = dict(zip(distinct, noise, strict=True))
    names = [layer.name for layer in layers]
    return LayerTests(
        dict(zip(names, tests, strict=True)),
        draws,
        seed,
        groups,
        size,
        seconds=time.perf_counter() - started,
        noise=np.stack([of_dimension[d] for d in dimensions]),
    )


def images_to_test(report: TopologyReport) -> Integers:
    """The images of each cloud that is tested, (clouds, N): all, each batch, or some subsets.

    Each image is in at most one of them, because the null hypothesis needs independent clouds. So
    of random subsets only the first `SUBSETS` are tested, which share no image: all 160 images as
    one cloud would take thirty times as long as 40, and are not what b₁ was counted in.
    """
    size = report.samples if report.pooling == "pooled" else report.batch_size
    clouds: Integers = report.clouds
    if not len(clouds):
        clouds = np.arange(report.samples // size * size).reshape(-1, size)
    if report.pooling not in ("pooled", "per-batch"):
        clouds = clouds[:SUBSETS]
    seen: set[int] = set()
    for number, images in enumerate(clouds.tolist()):
        if not seen.isdisjoint(images):
            return clouds[:number]
        seen.update(images)
    return clouds


def ripser_seconds(clouds: int, points: int) -> float:
    """Seconds that one process needs for the loops of so many clouds, on a usual machine."""
    return clouds * _RIPSER * float((points / 40) ** 2.5)


def _distances_of(layer: LayerTopology, images: Integers) -> Float32:
    """The distances of these clouds, (clouds, N, N)."""
    return np.stack([layer.distances[np.ix_(cloud, cloud)] for cloud in images])


def _processes(seconds: float) -> Parallel:
    """Processes for work that takes one so long. Ripser keeps the interpreter's lock."""
    cores = cpu_count()
    return Parallel(n_jobs=cores if seconds > _SERIAL else 1, max_nbytes=None)
