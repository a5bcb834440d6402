"""What each layer is worth: the accuracy gained by training it, and the head, alone.

The fine-tuning profile of SubTuning (arXiv 2302.06354). Its runs are a grid, so that they continue
where they stopped and may run on any executor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

import numpy as np

from analysis.errors import TrainingError
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.results import Float64, NamedLayer
from analysis.runs.records import Run
from analysis.sweeps.grid import DataChoice, Grid

NAME = "profile"  # of the grids
TRAIN_SAMPLES, EPOCHS, SEEDS = 400, 5, 3
# What of an analysis decides how a network trains, or which one it is.
_DECIDING = ("model", "dataset", "weights", "weights_key", "head", "shift", "severity",
             "input_side", "input_resize", "input_mean", "input_std", "device")  # fmt: skip


@dataclass(frozen=True)
class LayerWorth:
    """One layer, trained alone with the head."""

    layer: str
    kind: str
    parameters: int  # elements
    activations: int  # elements of the output for one image
    gains: tuple[float, ...]  # in test accuracy over the head alone, by seed
    seconds: float  # of one run: choosing, training, validation; mean over the seeds
    bytes: float  # at the peak of a training step, measured; the largest over the seeds

    @property
    def gain(self) -> float:
        """Mean over the seeds."""
        return mean(self.gains)

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds; None for one seed."""
        return stdev(self.gains) if len(self.gains) > 1 else None


@dataclass(frozen=True)
class LayerProfile:
    """Every layer of a network on one dataset."""

    options: RunOptions  # of the runs; its seeds do not matter
    seeds: tuple[int, ...]
    layers: tuple[LayerWorth, ...]  # in execution order, without the head
    head_accuracies: tuple[float, ...]  # of the head alone, by seed
    head_bytes: float
    test_images: int  # 0: unknown
    fingerprints: Mapping[str, str]  # of the weights and the data

    @property
    def gains(self) -> Float64:
        """(seeds, layers)."""
        return np.array([layer.gains for layer in self.layers]).T

    @property
    def costs(self) -> Float64:
        """(layers,) in bytes."""
        return np.array([layer.bytes for layer in self.layers])


def profile_options(
    analysis: AnalysisOptions, *, train_samples: int = TRAIN_SAMPLES, epochs: int = EPOCHS
) -> RunOptions:
    """The run that trains the head alone.

    Settings of the analysis that play no part are those of every profile, so that its runs are
    found again.
    """
    own = {name: getattr(analysis, name) for name in _DECIDING}
    return RunOptions(
        analysis=AnalysisOptions(**own),
        strategy="head",
        train_samples=train_samples,
        recipe=Recipe(epochs=epochs),
    )


def profile_grid(options: RunOptions, layers: Sequence[str], seeds: Sequence[int]) -> Grid:
    """The runs of a profile: the head alone, and with each layer; see `profile_options`."""
    return set_grid(options, [(), *((layer,) for layer in layers)], seeds)


def set_grid(options: RunOptions, sets: Sequence[tuple[str, ...]], seeds: Sequence[int]) -> Grid:
    """Runs that train these sets of layers with the head."""
    return Grid(
        name=NAME,
        models=(options.analysis.model,),
        datasets=(DataChoice.of_options(options.analysis),),
        strategies=(options.strategy,),
        seeds=tuple(seeds),
        base=options,
        also_train=tuple(dict.fromkeys(sets)),
    )


def profile_of(
    options: RunOptions,
    layers: Sequence[NamedLayer],
    sizes: Sequence[int],
    seeds: Sequence[int],
    runs: Mapping[RunOptions, Run],
    *,
    test_images: int = 0,
) -> LayerProfile:
    """Read a profile off the finished runs of its grid.

    Parameters
    ----------
    options : RunOptions
        Of `profile_options`.
    layers : sequence of NamedLayer
        Without the head.
    sizes : sequence of int
        Activations of each layer for one image.
    seeds : sequence of int
    runs : mapping of RunOptions to Run
        Of `progress.runs_of`, all of them done.
    test_images : int

    Raises
    ------
    TrainingError
        If a run is missing, or has no measured memory.
    """
    trained = _trained(profile_grid(options, [layer.name for layer in layers], seeds), runs)
    head = trained[()]
    base = np.array([run.accuracy for run in head])
    worths = []
    for layer, size in zip(layers, sizes, strict=True):
        own = trained[layer.name,]
        gains = np.array([run.accuracy for run in own]) - base
        worths.append(
            LayerWorth(
                layer=layer.name,
                kind=layer.kind,
                parameters=layer.parameters,
                activations=size,
                gains=tuple(gains.tolist()),
                seconds=mean(run.seconds for run in own),
                bytes=max(run.bytes for run in own),
            )
        )
    return LayerProfile(
        options=options,
        seeds=tuple(seeds),
        layers=tuple(worths),
        head_accuracies=tuple(base.tolist()),
        head_bytes=max(run.bytes for run in head),
        test_images=test_images,
        fingerprints=head[0].fingerprints,
    )


def set_accuracies(
    grid: Grid, runs: Mapping[RunOptions, Run]
) -> dict[tuple[str, ...], list[float]]:
    """Test accuracies of each set of layers of a grid, by seed.

    Raises
    ------
    TrainingError
        If a run is missing.
    """
    return {names: [run.accuracy for run in found] for names, found in _trained(grid, runs).items()}


@dataclass(frozen=True)
class _Trained:
    accuracy: float
    seconds: float
    bytes: float
    fingerprints: Mapping[str, str]


def _trained(grid: Grid, runs: Mapping[RunOptions, Run]) -> dict[tuple[str, ...], list[_Trained]]:
    """What came of each set of layers of a grid, by seed."""
    found: dict[tuple[str, ...], list[_Trained]] = {}
    for cell in grid.cells():
        run = runs.get(cell)
        if run is None or run.result is None:
            names = " and ".join(cell.also_train) or "the head alone"
            why = f": {run.error}" if run is not None and run.error else "."
            raise TrainingError(
                f"The run with seed {cell.recipe.seed} that trains {names} has not finished{why} "
                "Run the same command again to go on."
            )
        peak = run.result.peak_memory
        chosen = run.selection.seconds if run.selection else 0.0
        found.setdefault(cell.also_train, []).append(
            _Trained(
                run.result.test_accuracy,
                run.result.seconds + chosen,
                peak.total if peak else math.nan,
                run.fingerprints,
            )
        )
    return found


def with_seed(options: RunOptions, seed: int) -> RunOptions:
    """The run of a profile with that seed, as its grid has it."""
    return replace(
        options,
        analysis=replace(options.analysis, seed=seed),
        recipe=replace(options.recipe, seed=seed),
    )
