"""The training loop: an iterator of metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from analysis.errors import TrainingError
from analysis.instruments.ledger import Ledger, note_kept_tensors
from analysis.instruments.memory_use import MemoryUse
from analysis.instruments.wrappers import check_modes
from analysis.options import Recipe, batch_sizes
from analysis.system.devices import device_of
from analysis.system.memory import allocator_peak, reset_allocator_peak, resident_bytes
from analysis.training.augmentation import AUGMENT
from analysis.training.followed import FollowedTopology
from analysis.training.following import Follower
from analysis.training.freezing import training_mode
from analysis.training.gradient_gaps import GradientWatch
from analysis.training.loss_watch import LossWatch
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    FrozenPart,
    GradientGap,
    LossNote,
    MemorySample,
    Metric,
    Predictions,
    StepMetrics,
)
from analysis.training.network_errors import explain_network_errors
from analysis.training.optimizers import make_optimizer
from analysis.training.randomness import Randomness
from analysis.training.reuse import Batch, Passes, StoredImages, plan_passes
from analysis.training.splits import LabelledImages

EVALUATION_BATCH = 128  # images at most


def finetune(
    model: nn.Module,
    train: LabelledImages,
    validation: LabelledImages,
    test: LabelledImages,
    *,
    recipe: Recipe | None = None,
    track_memory: bool = True,
    follow: bool = False,
) -> Iterator[Metric | FrozenPart | GradientGap | LossNote | FollowedTopology]:
    """Train the parameters that require gradients (see `freezing.freeze`), and yield metrics.

    Trains the model in place, on its own device, and leaves it in eval mode with the weights of
    the last step. Frozen parameters and buffers keep every bit. The same seed on the same CPU
    gives the same numbers, even if the caller draws random numbers in between. On a GPU the last
    digits may differ: some kernels, such as those of attention, add in any order.

    Parameters
    ----------
    model : nn.Module
        Takes a batch of images and gives logits, (N, classes).
    train, validation, test : LabelledImages
        Validated after each epoch; tested once, with the last weights.
    recipe : Recipe, optional
        Cosine decay from the learning rate to zero, over all steps. If it reuses the frozen part,
        training and validation images that the caller does not hold are freed after one epoch.
    track_memory : bool
        Run the memory ledger on the first step, and on one step of each epoch.
    follow : bool
        Measure the loops of every layer before the training and after each epoch, as the recipe
        says. This changes none of the training's numbers, and its time is not in theirs.

    Yields
    ------
    FrozenPart, StepMetrics, MemorySample, EpochMetrics, GradientGap, LossNote, FollowedTopology
        As they are measured; at the end one FinetuneResult. The frozen part comes first, if there
        is one, a gap only if parameters that should train get no gradient, a note only if the loss
        diverges or stands still, and each again if that changes. The topology comes with all that
        was measured so far.

    Raises
    ------
    TrainingError
        If nothing trains, a split is empty, the network fails, or the loss is not finite.
    """
    check_modes(model)
    recipe = recipe or Recipe()
    optimizer = make_optimizer(model, recipe)
    _check_splits(train, validation, test)
    classes = 1 + max(int(split.labels.max()) for split in (train, validation, test))
    started = time.perf_counter()
    passes = plan_passes(model, train, validation, recipe)
    follower = Follower(model, validation, passes.evaluated, recipe) if follow else None
    del train, validation  # so that they can be freed
    randomness = Randomness(recipe.seed, device_of(model))
    loop = _Loop(model, passes, optimizer, recipe, randomness, classes)
    sampled: list[MemoryUse] = []
    epochs: list[EpochMetrics] = []
    # No more than in a step, so that validation does not take more memory than training.
    batch = max(2, min(recipe.batch_size, EVALUATION_BATCH))
    frozen_part = FrozenPart()
    try:
        if passes.frozen_part != frozen_part:
            yield (frozen_part := passes.frozen_part)
        if follower is not None:
            started += follower.seconds
            yield follower.start()
        for epoch in range(1, recipe.epochs + 1):
            epoch_started = time.perf_counter()
            totals = _Totals()
            for metric in loop.epoch(epoch, started, totals, track_memory):
                if isinstance(metric, MemorySample):
                    sampled.append(metric.peak)
                yield metric
            model.eval()
            accuracy, loss = evaluate(passes.evaluated, passes.validation, batch_size=batch)
            passes.free_images()
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The validation loss is no longer finite after epoch {epoch}. Lower the "
                    "learning rate."
                )
            epochs.append(
                EpochMetrics(
                    epoch=epoch,
                    train_loss=totals.loss / totals.images,
                    train_accuracy=totals.correct / totals.images,
                    val_loss=loss,
                    val_accuracy=accuracy,
                    seconds=time.perf_counter() - epoch_started,
                )
            )
            yield epochs[-1]
            if passes.frozen_part != frozen_part:
                yield (frozen_part := passes.frozen_part)
            if gap := loop.watch.gap():
                yield gap
            loop.losses.epoch(loss)
            if (note := loop.losses.note()) is not None:
                yield LossNote(note)
            if follower is not None:
                before = follower.seconds
                if followed := follower.after(epoch):
                    yield followed
                started += follower.seconds - before
    finally:
        passes.close()
        model.eval()
        optimizer.zero_grad()
    seconds = time.perf_counter() - started
    best = max(epochs, key=lambda epoch: epoch.val_accuracy)
    predicted: list[int] = []
    test_accuracy, _ = evaluate(model, test, batch_size=batch, predicted=predicted)
    yield FinetuneResult(
        best_val_accuracy=best.val_accuracy,
        best_epoch=best.epoch,
        last_val_accuracy=epochs[-1].val_accuracy,
        test_accuracy=test_accuracy,
        peak_memory=max(sampled, key=lambda use: use.total, default=None),
        seconds=seconds,
        predictions=Predictions(tuple(test.labels.tolist()), tuple(predicted)),
    )


def evaluate(
    model: nn.Module,
    data: LabelledImages | StoredImages,
    *,
    batch_size: int = EVALUATION_BATCH,
    predicted: list[int] | None = None,
) -> tuple[float, float]:
    """Accuracy in [0, 1] and mean cross-entropy in nats; leaves the model in eval mode.

    The class that each image is taken for is appended to `predicted`, if it is given.
    """
    model.eval()
    device, correct, loss = device_of(model), 0.0, 0.0
    with torch.no_grad():
        sizes = batch_sizes(len(data.labels), batch_size)
        for indices in torch.split(torch.arange(len(data.labels)), sizes):
            labels = data.labels[indices].to(device)
            images = data.images(indices).to(device)
            if len(images) == 1 and isinstance(
                images, Tensor
            ):  # all there is, and networks may squeeze its axis away
                images = torch.cat((images, images))
            with explain_network_errors():
                logits = logits_of(model, images)[: len(labels)]
            correct += (logits.argmax(1) == labels).sum().item()
            loss += cross_entropy(logits.float(), labels, reduction="sum").item()
            if predicted is not None:
                predicted += logits.argmax(1).cpu().tolist()
    return correct / len(data.labels), loss / len(data.labels)


def logits_of(model: nn.Module, images: Tensor | Batch) -> Tensor:
    """The model's output for images: logits, (N, classes).

    Of one image they may also be (classes,), from networks that squeeze.

    Raises
    ------
    TrainingError
        If the output is anything else.
    """
    output = model(images)
    if isinstance(output, Tensor) and output.dim() == 2 and len(output) == len(images):
        return output
    is_tensor = isinstance(output, Tensor)
    if isinstance(output, Tensor) and output.dim() == 1 and len(images) == 1 and len(output) > 1:
        return output[None]
    kind = f"a tensor {tuple(output.shape)}" if is_tensor else type(output).__name__
    when = " in training mode" if model.training else ""
    raise TrainingError(
        "To be fine-tuned, a network must return one tensor of logits, (images, classes). This one "
        f"returns {kind} for {len(images)} images{when}: let its forward pass return only the "
        "logits."
    )


def training_step(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor | Batch,
    labels: Tensor,
    *,
    watch: GradientWatch | None = None,
    classes: int = 0,
) -> tuple[Tensor, Tensor]:
    """Take one optimiser step; return the loss, a scalar, and the logits, (N, at least classes)."""
    logits = logits_of(model, images)
    if logits.shape[1] < classes:
        raise TrainingError(
            f"The network gives {logits.shape[1]} numbers for an image, but there are {classes} "
            "classes. Let the function that builds it use the `num_classes` that it takes, or take "
            "none: then the network gets a new head."
        )
    loss = cross_entropy(logits, labels)
    if watch is not None and not loss.requires_grad:
        raise TrainingError(watch.nothing_trains())
    note_kept_tensors(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    if watch is not None:
        watch.look()
    optimizer.step()
    # Free them now, not before the next backward pass: the next forward pass needs the memory.
    optimizer.zero_grad(set_to_none=True)
    return loss.detach(), logits.detach()


@dataclass
class _Totals:
    images: int = 0
    loss: float = 0.0
    correct: float = 0.0


@dataclass
class _Loop:
    model: nn.Module
    passes: Passes
    optimizer: Optimizer
    recipe: Recipe
    random: Randomness
    classes: int  # that the labels need
    step: int = 0

    def __post_init__(self) -> None:
        self.device, self.train = device_of(self.model), self.passes.train
        self.sizes = batch_sizes(len(self.train.labels), self.recipe.batch_size)
        self.watch, self.losses = GradientWatch(self.model), LossWatch()
        self.scheduler = CosineAnnealingLR(self.optimizer, self.recipe.epochs * len(self.sizes))

    def epoch(
        self, epoch: int, started: float, totals: _Totals, track: bool
    ) -> Iterator[StepMetrics | MemorySample | GradientGap | LossNote]:
        training_mode(self.model)
        with self.random():
            order = torch.randperm(len(self.train.labels))
        for position, indices in enumerate(torch.split(order, self.sizes)):
            tracked = track and self._is_sampled(epoch, position)
            rate = float(self.scheduler.get_last_lr()[0])
            loss, logits, peak = self._step(indices, tracked)
            if not math.isfinite(loss) and self.step == 1:
                raise TrainingError(
                    "The loss is not finite before the first step. Check the weights, the images "
                    "and the network for NaN or infinite numbers."
                )
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss is no longer finite at step {self.step} (epoch {epoch}). Lower the "
                    f"learning rate, which was {rate:.3g}."
                )
            correct = (logits.argmax(1) == self.train.labels[indices].to(self.device)).sum().item()
            totals.images += len(indices)
            totals.loss += loss * len(indices)
            totals.correct += correct
            if self.step == 1 and (gap := self.watch.gap()):
                yield gap
            self.losses.step(logits, loss)
            if (note := self.losses.note()) is not None:
                yield LossNote(note)
            yield StepMetrics(
                step=self.step,
                epoch=epoch,
                loss=loss,
                accuracy=correct / len(indices),
                learning_rate=rate,
                images=len(indices),
                seconds=time.perf_counter() - started,
                tracked=tracked,
            )
            if peak is not None:
                yield MemorySample(
                    self.step, epoch, peak, resident_bytes(), allocator_peak(self.device)
                )

    def _is_sampled(self, epoch: int, position: int) -> bool:
        """Whether to measure a step's memory: the very first, and the second of each epoch.

        By the second step the optimiser has its state. Later epochs measure their first step if
        the second is smaller, and all measure the last if it is larger.
        """
        sizes = self.sizes
        second = len(sizes) > 1 and (epoch == 1 or sizes[1] >= sizes[0])
        largest = position > 0 and position == len(sizes) - 1 and sizes[-1] > sizes[0]
        return largest or position == int(second) or (epoch == 1 and position == 0)

    def _step(self, indices: Tensor, tracked: bool) -> tuple[float, Tensor, MemoryUse | None]:
        with self.random():
            images = self.train.images(indices)
            if isinstance(images, Tensor):
                images = AUGMENT[self.recipe.augmentation](images)
            # Not `non_blocking`: MPS would read them after they are freed (pytorch#189690).
            images = images.to(self.device)
            labels = self.train.labels[indices].to(self.device)
            ledger = None
            with ExitStack() as stack:
                stack.enter_context(explain_network_errors())
                if self.step == 0:
                    stack.enter_context(self.watch.listening())
                    stack.enter_context(self.losses.listening(self.passes.network))
                if tracked:
                    reset_allocator_peak(self.device)
                    held = (images,) if isinstance(images, Tensor) else images.tensors
                    ledger = Ledger(self.model, self.optimizer, (*held, labels))
                    ledger.hold(self.passes.cached, "cache")
                    stack.enter_context(ledger)
                loss, logits = training_step(
                    self.passes.network,
                    self.optimizer,
                    images,
                    labels,
                    watch=self.watch,
                    classes=self.classes,
                )
        peak = ledger.peak if ledger is not None else None
        self.step += 1
        self.scheduler.step()
        return loss.item(), logits, peak


def _check_splits(*splits: LabelledImages) -> None:
    for name, split in zip(("training", "validation", "test"), splits, strict=True):
        if len(split.labels) == 0:
            raise TrainingError(f"The {name} split has no images.")
