"""A grid of fine-tunes: every model on every dataset, with every strategy and seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from analysis.datasets import SHIFTS, dataset_problem, dataset_spec
from analysis.errors import raise_problems
from analysis.options import MAX_SEVERITY, AnalysisOptions, Recipe, RunOptions
from analysis.training.names import name_problems

_DEFAULT = AnalysisOptions()


@dataclass(frozen=True)
class DataChoice:
    """A dataset, plain or shifted. Written "digits" or "digits+rotation:3"."""

    dataset: str
    shift: str = "none"  # a name of `analysis.datasets.SHIFTS`
    severity: int = _DEFAULT.severity  # 1 (slight) to 5; without effect when `shift` is "none"

    @classmethod
    def of(cls, text: str) -> DataChoice:
        """Read what `str` writes. Text that does not end in a known shift is a dataset's name."""
        match = re.fullmatch(r"(.+)\+([\w-]+?)(?::(\d+))?", text.strip())
        if match is None or match[2] not in SHIFTS:
            return cls(text.strip())
        if match[2] == "none":
            return cls(match[1])
        return cls(match[1], match[2], int(match[3] or _DEFAULT.severity))

    @classmethod
    def of_options(cls, analysis: AnalysisOptions) -> DataChoice:
        """The data of an analysis or a run."""
        return cls(analysis.dataset, analysis.shift, analysis.severity)

    def __str__(self) -> str:
        if self.shift == "none":
            return self.dataset
        return f"{self.dataset}+{self.shift}:{self.severity}"

    def problems(self) -> list[str]:
        """Why no network can be fine-tuned on it, apart from unknown names, in sentences."""
        problems = []
        if not dataset_problem(self.dataset):
            why = dataset_spec(self.dataset).why_untrainable
            problems += [f"`dataset` {self.dataset} cannot be trained on: {why}"] if why else []
        if not 1 <= self.severity <= MAX_SEVERITY:
            problems.append(f"`severity` must be from 1 to {MAX_SEVERITY}, got {self.severity}")
        return problems


@dataclass(frozen=True)
class Grid:
    """Models × datasets × strategies × seeds. `cells` checks the names."""

    name: str  # of the sweep that runs it
    models: tuple[str, ...]
    datasets: tuple[DataChoice, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    base: RunOptions = field(default_factory=RunOptions)  # what all cells share
    # Sets of layers that train beside those of the strategy, one after the other
    also_train: tuple[tuple[str, ...], ...] = ((),)

    def cells(self) -> list[RunOptions]:
        """One run for every cell; the first seed of the whole grid comes before the second.

        Where a train split has fewer images than the grid asks for, its cells take all of them,
        since one number must suit datasets of many sizes.

        Raises
        ------
        OptionError
            Naming every unknown name and every value out of range.
        """
        raise_problems(self.problems())
        return list(
            dict.fromkeys(
                replace(self._cell(model, data, strategy, seed), also_train=layers)
                for seed in self.seeds
                for data in self.datasets
                for model in self.models
                for strategy in self.strategies
                for layers in self.also_train
            )
        )

    def problems(self) -> list[str]:
        """What is wrong with the grid, in sentences without repeats."""
        problems = [] if self.name.strip() else ["`name` must not be empty"]
        for parameter in ("models", "datasets", "strategies", "seeds", "also_train"):
            if not getattr(self, parameter):
                problems.append(f"`{parameter}` must name at least one, got none")
        for options in self._samples():
            problems += name_problems(options)
        for data in self.datasets:
            problems += data.problems()
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                problems.append(f"`seed` must be from 0 to 2³² - 1, got {seed}")
        return list(dict.fromkeys(problems))

    def notes(self, name_of: Callable[[str], str] = str) -> list[str]:
        """Say which train splits are smaller than asked for; `name_of` names datasets."""
        sizes = {}
        for data in self.datasets:
            most = dataset_spec(data.dataset).sizes["train"]
            if most < self.base.train_samples:
                sizes[data.dataset] = most
        return [
            f"The train split of {name_of(name)} has {most:,} images. All of them are used."
            for name, most in sizes.items()
        ]

    def _samples(self) -> Iterator[RunOptions]:
        """Options that together name every model, dataset and strategy, as few as possible."""
        models = self.models or (self.base.analysis.model,)
        datasets = self.datasets or (DataChoice.of_options(self.base.analysis),)
        strategies = self.strategies or (self.base.strategy,)
        for index in range(max(len(models), len(datasets), len(strategies))):
            data = datasets[index % len(datasets)]
            analysis = replace(
                self.base.analysis,
                model=models[index % len(models)],
                dataset=data.dataset,
                shift=data.shift,
            )
            strategy = strategies[index % len(strategies)]
            yield replace(self.base, analysis=analysis, strategy=strategy)

    def _cell(self, model: str, data: DataChoice, strategy: str, seed: int) -> RunOptions:
        most = dataset_spec(data.dataset).sizes["train"]
        return replace(
            self.base,
            analysis=replace(
                self.base.analysis,
                model=model,
                dataset=data.dataset,
                shift=data.shift,
                severity=data.severity,
                seed=seed,
                samples=min(self.base.analysis.samples, most),
            ),
            strategy=strategy,
            train_samples=min(self.base.train_samples, most),
            recipe=replace(self.base.recipe, seed=seed),
        )


# The sixteen pairs of AdaBet's evaluation, trained as in the released code: all training images,
# 40 epochs. We do not know the accuracies they gave.
PAPER_GRID = Grid(
    name="paper",
    models=("resnet50", "vgg16", "mobilenet_v2", "vit_b_16"),
    datasets=tuple(DataChoice(name) for name in ("pets", "flowers", "cub", "dogs")),
    strategies=("adabet", "size", "random", "head", "full", "fisher", "bn-bias"),
    base=RunOptions(train_samples=12_000, recipe=Recipe(epochs=40, learning_rate=1e-3)),
)
# A small version: offline, within minutes on a laptop. Noise and rotation change the input of
# the first layers, and with it the work of the later ones.
POCKET_GRID = Grid(
    name="pocket",
    models=("pocket-resnet20", "pocket-vgg", "pocket-mobilenetv2", "pocket-vit"),
    datasets=(
        DataChoice("digits"),
        DataChoice("fashion"),
        DataChoice("digits", "rotation"),
        DataChoice("digits", "noise"),
    ),
    strategies=("adabet", "size", "random", "head", "full"),
    base=RunOptions(train_samples=500, recipe=Recipe(epochs=4)),
)
GRIDS: dict[str, Grid] = {grid.name: grid for grid in (POCKET_GRID, PAPER_GRID)}
