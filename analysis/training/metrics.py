"""The metrics of a fine-tune: plain numbers, to draw, store and compare."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.instruments.memory_use import MemoryUse


@dataclass(frozen=True)
class FrozenPart:
    """Whether the frozen part of the network runs once for each image, or in every epoch."""

    once: bool = False
    text: str = ""  # for the user; empty if nothing is frozen


@dataclass(frozen=True)
class Selection:
    """The layers that train, and the cost of choosing them."""

    layers: tuple[str, ...]  # best first, the head last where it trains without being ranked
    trainable_parameters: int  # elements
    total_parameters: int  # elements
    seconds: float  # wall time of the choice, a saved analysis included
    peak_bytes: int  # of live tensors while choosing
    used_labels: bool
    used_gradients: bool
    optimizer: str = "sgd"  # or "adamw": the recipe's choice for this model
    predicted: MemoryUse | None = None  # at the peak of a training step, from fake tensors
    head: str = ""  # the classifier; older runs do not say
    # Modules inside the layers that train with them, such as an attention's projections.
    inner: tuple[str, ...] | None = None  # older runs do not say
    # Modules that were chosen and got no gradient, so that they are not among `layers`.
    without_gradient: tuple[str, ...] = ()
    note: str = ""  # for the user: which those are, and why; and what is wrong with the loss
    frozen_part: FrozenPart | None = None  # older runs do not say, nor those that just began


@dataclass(frozen=True)
class GradientGap:
    """Parameters that should train and have had no gradient so far; they keep every bit."""

    parameters: tuple[str, ...] = ()
    why: str = ""  # for the user: whose they are, and why; empty if there are none


@dataclass(frozen=True)
class LossNote:
    """That the loss diverged or stands still, or no longer does."""

    text: str  # for the user; empty if all is well again


@dataclass(frozen=True)
class StepMetrics:
    """One optimiser step, on one batch."""

    step: int  # from 1, through all epochs
    epoch: int  # from 1
    loss: float  # mean cross-entropy of the batch, nats
    accuracy: float  # of the batch, in [0, 1]
    learning_rate: float
    images: int  # in the batch
    seconds: float  # since training began
    tracked: bool  # the memory ledger ran, which slows a step


@dataclass(frozen=True)
class MemorySample:
    """The memory of one step, at its peak."""

    step: int
    epoch: int
    peak: MemoryUse
    resident: int  # bytes of the whole process (RSS) after the step
    allocator_peak: int | None  # bytes, CUDA only: the most that torch's allocator gave out


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over the training images, and the validation after it."""

    epoch: int  # from 1
    train_loss: float  # mean over the images, while the weights moved
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float  # of this epoch, validation included


@dataclass(frozen=True)
class Predictions:
    """What the last weights take the test images for."""

    labels: tuple[int, ...]  # the class of each test image, in the order of the split
    predicted: tuple[int, ...]  # as many

    @property
    def correct(self) -> tuple[bool, ...]:
        """Whether each image is classified correctly."""
        return tuple(a == b for a, b in zip(self.labels, self.predicted, strict=True))


@dataclass(frozen=True)
class FinetuneResult:
    """How a fine-tune ended."""

    best_val_accuracy: float
    best_epoch: int
    last_val_accuracy: float
    test_accuracy: float  # of the last weights, measured once
    peak_memory: MemoryUse | None  # the largest of the sampled steps; None if nothing was sampled
    seconds: float  # training and validation, without choosing the layers and the test
    # Not in the runs that a store lists, which would be slow: see `RunStore.predictions`.
    predictions: Predictions | None = field(default=None, repr=False)


Metric = StepMetrics | MemorySample | EpochMetrics | FinetuneResult
