"""What a person may ask for: one analysis, one fine-tune, and the presets of the method."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from analysis.errors import OptionError, choice_problem, raise_problems

Pooling = Literal["pooled", "per-batch"]
Rounding = Literal["nearest", "floor", "at-least-one"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "float16"]
Split = Literal["train", "validation", "test"]
Augmentation = Literal["none", "flip-crop"]
Optimizer = Literal["auto", "sgd", "adamw"]

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
WEIGHTS = ("pretrained", "random")  # beside weight sets by name and checkpoints by path
DEVICES: tuple[Device, ...] = get_args(Device)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SPLITS: tuple[Split, ...] = get_args(Split)
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)

MIN_SAMPLES = 4  # a loop needs four points
MAX_SEVERITY = 5
LEARNING_RATES = {"sgd": 0.05, "adamw": 1e-3}  # what suits the pocket zoo on the digits


@dataclass(frozen=True)
class AnalysisOptions:
    """Everything that decides the numbers of one analysis. Names are checked where they are used.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    model: str = "pocket-resnet20"
    dataset: str = "digits"
    weights: str = "pretrained"  # or "random", a weight set's name, or "file:" and a checkpoint
    shift: str = "none"  # a name of `analysis.datasets.SHIFTS`
    severity: int = 3  # 1 (slight) to 5; without effect when `shift` is "none"
    samples: int = 40  # images, each one point of every cloud
    batch_size: int = 8  # images; decides the clouds when `pooling` is "per-batch"
    seed: int = 0  # of the images drawn and of random weights
    pooling: Pooling = "pooled"
    split: Split = "train"
    input_side: int = 0  # pixels; 0: what the model's weights ask for
    precision: Precision = "float32"  # of the activations; distances are never taken in less
    # These two decide how an analysis is computed, not what comes out of it.
    device: Device = "auto"  # CUDA if there is any, else MPS, else the CPU
    memory: int = 0  # bytes that the process, or the GPU, may hold; 0: most of what is free

    def __post_init__(self) -> None:
        problems = choice_problem("pooling", self.pooling, POOLINGS)
        problems += choice_problem("precision", self.precision, PRECISIONS)
        problems += choice_problem("device", self.device, DEVICES)
        if self.input_side < 0:
            problems.append(f"`input_side` must be at least 0, got {self.input_side}")
        if self.memory < 0:
            problems.append(f"`memory` must be at least 0, got {self.memory}")
        problems += choice_problem("split", self.split, SPLITS)
        if self.samples < MIN_SAMPLES:
            problems.append(f"`samples` must be at least {MIN_SAMPLES}, got {self.samples}")
        if self.batch_size < 1:
            problems.append(f"`batch_size` must be at least 1, got {self.batch_size}")
        elif self.pooling == "per-batch" and MIN_SAMPLES <= self.samples < self.batch_size:
            problems.append(
                f"`samples` must be at least one batch of {self.batch_size} when `pooling` is "
                f"'per-batch', got {self.samples}"
            )
        if not 1 <= self.severity <= MAX_SEVERITY:
            problems.append(f"`severity` must be from 1 to {MAX_SEVERITY}, got {self.severity}")
        if not 0 <= self.seed < 2**32:
            problems.append(f"`seed` must be from 0 to 2³² - 1, got {self.seed}")
        raise_problems(problems)

    def idle(self) -> frozenset[str]:
        """The fields that do not affect the numbers of this analysis."""
        names = {"memory"}
        if self.shift == "none":
            names.add("severity")
        if self.pooling == "pooled":
            names.add("batch_size")
        # In half widths autocast takes other operations on a GPU than on the CPU. What "auto" is
        # here only torch could say, which is not imported: the server works without it.
        if self.precision == "float32":
            names.add("device")
        return frozenset(names)

    def deciding(self) -> AnalysisOptions:
        """The same value for all options that ask for the same numbers."""
        return _with_defaults(self, self.idle())


def _with_defaults(options: AnalysisOptions, names: Iterable[str]) -> AnalysisOptions:
    return replace(options, **{name: getattr(AnalysisOptions, name) for name in names})


@dataclass(frozen=True)
class Preset:
    """One reading of the method (METHOD: three presets)."""

    help: str
    pooling: Pooling
    batches: int
    batch_size: int  # images
    normalization: str  # a name of `analysis.selection.scores.NORMALIZATIONS`
    rounding: Rounding
    ranks_head: bool  # False: the classifier head is always trained and never ranked

    @property
    def samples(self) -> int:
        return self.batches * self.batch_size


PRESETS = {
    "recommended": Preset(
        help="One cloud of 5 × 8 images; at least one layer; the new head is always trained.",
        pooling="pooled",
        batches=5,
        batch_size=8,
        normalization="activation",
        rounding="at-least-one",
        ranks_head=False,
    ),
    "paper": Preset(
        help="One cloud of 5 × 8 images; the head is ranked like any layer. The paper does not "
        "state how ρ × layers is rounded: we take the nearest whole number.",
        pooling="pooled",
        batches=5,
        batch_size=8,
        normalization="activation",
        rounding="nearest",
        ranks_head=True,
    ),
    "released": Preset(
        help="b₁ of each of 4 batches of 32 images, averaged; ρ × layers is rounded down, "
        "so a small ρ may select nothing; the head is ranked like any layer.",
        pooling="per-batch",
        batches=4,
        batch_size=32,
        normalization="activation",
        rounding="floor",
        ranks_head=True,
    ),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever part of it.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    epochs: int = 8
    batch_size: int = 32  # images
    learning_rate: float | None = None  # at the start; None: as in `LEARNING_RATES`
    optimizer: Optimizer = "auto"  # AdamW for transformers, else SGD with momentum
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-3  # decoupled: weights shrink by learning rate x this, every step
    augmentation: Augmentation = "none"
    seed: int = 0  # of the training images, their order, a new head, augmentation and dropout

    def __post_init__(self) -> None:
        problems = choice_problem("optimizer", self.optimizer, OPTIMIZERS)
        problems += choice_problem("augmentation", self.augmentation, AUGMENTATIONS)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                problems.append(f"`{name}` must be at least 1, got {getattr(self, name)}")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            problems.append(f"`learning_rate` must be above 0, got {rate:g}")
        if not 0 <= self.momentum < 1:
            problems.append(f"`momentum` must be in [0, 1), got {self.momentum:g}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            problems.append(f"`weight_decay` must be at least 0, got {self.weight_decay:g}")
        if not 0 <= self.seed < 2**32:
            problems.append(f"`seed` must be from 0 to 2³² - 1, got {self.seed}")
        raise_problems(problems)


@dataclass(frozen=True)
class RunOptions:
    """Everything that decides one fine-tune. Names are checked where they are used.

    Raises
    ------
    OptionError
        Naming every field out of range.
    """

    # The model and the data; also the images by which a strategy chooses its layers.
    analysis: AnalysisOptions = field(default_factory=AnalysisOptions)
    strategy: str = "adabet"  # a name of `analysis.selection.strategies.STRATEGIES`
    rho: float = 0.1  # share of the layers to train, in (0, 1]
    normalization: str = "activation"  # a name of `analysis.selection.scores.NORMALIZATIONS`
    preset: str = "recommended"  # a name of `PRESETS`: rounding, and whether the head is ranked
    summary: str = (
        "b1"  # a name of `analysis.topology.summaries.SUMMARIES`: what the scores are made from
    )
    min_persistence: float = 0.0  # loops that live shorter do not count; units of the activations
    train_samples: int = 500  # images of the train split; validation and test are used whole
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def largest_step(self) -> Recipe:
        """The recipe with the batch of the largest step: there may be fewer images than asked."""
        return replace(self.recipe, batch_size=min(self.recipe.batch_size, self.train_samples))

    def deciding(self) -> RunOptions:
        """The same value for all options that ask for the same numbers.

        Unlike an analysis, training depends on the device, and the backward passes that choose
        layers depend on the batch size.
        """
        idle = self.analysis.idle() - {"device", "batch_size"}
        return replace(self, analysis=_with_defaults(self.analysis, idle))

    def __post_init__(self) -> None:
        problems = choice_problem("preset", self.preset, PRESETS)
        if self.train_samples < 1:
            problems.append(f"`train_samples` must be at least 1, got {self.train_samples}")
        if not self.min_persistence >= 0:
            problems.append(f"`min_persistence` must be at least 0, got {self.min_persistence:g}")
        try:
            check_rho(self.rho)
        except OptionError as error:
            problems.append(str(error))
        raise_problems(problems)


def check_rho(rho: float) -> None:
    """Raise `OptionError` unless 0 < rho <= 1."""
    if not (math.isfinite(rho) and 0 < rho <= 1):
        raise_problems([f"`rho` must be in (0, 1], got {rho:g}"])


Scope = Literal["layers", "head", "norms-and-biases", "everything"]
