"""Predict the memory of a training step: the ledger over fake tensors.

Nothing is computed and almost nothing is allocated: fake tensors have shapes and storages, but no
numbers. The step is the one of `finetune`, so the prediction is exact where torch's fake kernels
allocate as the real ones do.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from analysis.instruments.fake import fake_copy, prediction_error
from analysis.instruments.ledger import Ledger
from analysis.instruments.memory_use import MemoryUse
from analysis.options import Recipe
from analysis.training.cut import PROBED
from analysis.training.freezing import freeze, training_mode
from analysis.training.loop import training_step
from analysis.training.optimizers import make_optimizer
from analysis.training.reuse import Batch, Passes, predicted_passes


def predict_peak(
    model: nn.Module,
    image_shape: tuple[int, ...],
    *,
    trained: Collection[str],
    recipe: Recipe | None = None,
    reused: tuple[int, int] | None = None,
) -> MemoryUse:
    """Live tensor bytes at the peak of a training step, with the optimiser's state.

    Parameters
    ----------
    model : nn.Module
        On any device; neither run nor changed. For "meta" the prediction is that of the CPU.
    image_shape : tuple of int
        Of one input image, (C, H, W).
    trained : collection of str
        Names of the parameters that train.
    recipe : Recipe, optional
        Only its batch size and optimiser matter.
    reused : (int, int), optional
        Training and validation images, of which the frozen part runs only once.

    Raises
    ------
    ModelError
        If a step depends on numbers, which fake tensors lack, or the model cannot be copied.
    TrainingError
        If nothing trains.
    """
    recipe = recipe or Recipe()
    with fake_copy(model) as fake:
        freeze(fake, trained)
        optimizer = make_optimizer(fake, recipe)
        device = next(fake.parameters()).device
        images = torch.empty(recipe.batch_size, *image_shape, device=device)
        labels = torch.empty(recipe.batch_size, dtype=torch.int64, device=device)
        few = torch.empty(PROBED, *image_shape, device=device)
        try:
            passes = predicted_passes(fake, few, reused) if reused else None
            training_mode(fake)
            if passes is None or reused is None:
                return _peak(fake, optimizer, images, labels, steps=2)  # one creates the state
            store, indices = passes.stores[0], torch.empty(recipe.batch_size, dtype=torch.int64)
            batch = Batch(indices, images, store=store)
            steps = 1 if reused[0] <= recipe.batch_size else 2  # of the first epoch
            first = _peak(fake, optimizer, batch, labels, steps=steps, passes=passes)
            del batch, images
            batch = Batch(indices, rows=tuple(store.get(indices))).to(device)
            later = _peak(fake, optimizer, batch, labels, steps=1, passes=passes)
        except Exception as error:  # a model's own code may raise anything
            raise prediction_error(error) from error
        return max(first, later, key=lambda use: use.total)


def predict_kept(
    model: nn.Module,
    image_shape: tuple[int, ...],
    *,
    trained: Collection[str],
    counts: tuple[int, int],
) -> int | None:
    """Bytes that the results of the frozen part take, if it runs only once for each image.

    Parameters
    ----------
    model, image_shape, trained
        As for `predict_peak`.
    counts : (int, int)
        Training and validation images.

    Returns
    -------
    int or None
        None if the network cannot be cut. Whether its parts give the same numbers as the whole,
        only a run finds out.

    Raises
    ------
    ModelError
        If the model cannot be copied.
    """
    with fake_copy(model) as fake:
        freeze(fake, trained)
        few = torch.empty(PROBED, *image_shape, device=next(fake.parameters()).device)
        try:
            passes = predicted_passes(fake, few, counts)
        except Exception as error:  # a model's own code may raise anything
            raise prediction_error(error) from error
        return None if passes is None else sum(store.bytes for store in passes.stores)


def _peak(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Tensor | Batch,
    labels: Tensor,
    *,
    steps: int,
    passes: Passes | None = None,
) -> MemoryUse:
    held = (batch,) if isinstance(batch, Tensor) else batch.tensors
    with Ledger(model, optimizer, (*held, labels)) as ledger:
        if passes is not None:
            ledger.hold(passes.cached, "cache")
        for _ in range(steps):
            training_step(passes.network if passes else model, optimizer, batch, labels)
    return ledger.peak


FROZEN_BITS, FLOAT_BITS, ANALYTIC_BATCH = 4, 32, 8


def analytic_bytes(
    model: nn.Module, image_shape: tuple[int, ...], *, trained: Collection[str]
) -> int:
    """Training memory by the analytic model behind the paper's figures, after TinyTL.

    A weight that trains takes 32 bits, a frozen one 4. For a batch of 8 images, every
    convolution, linear layer, norm and attention that trains keeps its inputs at 32 bits. From
    the first layer that trains on, a ReLU keeps one bit per output, another activation function
    32 bits per input. Gradients, the optimiser's state and torch's real allocations do not count.

    References
    ----------
    Cai et al., TinyTL (NeurIPS 2020), §3.1; AdaBet §5 by way of METHOD.
    """
    bits_per_image = 0.0
    reached = False

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal bits_per_image, reached
        tensor = next((value for value in inputs if isinstance(value, Tensor)), None)
        if tensor is None:
            return
        elements = math.prod(tensor.shape[1:])
        if any(p.requires_grad for p in module.parameters(recurse=False)):
            reached = True
            bits_per_image += elements * FLOAT_BITS
        elif reached and isinstance(module, (nn.ReLU, nn.ReLU6)):
            bits_per_image += elements
        elif reached and type(module).__module__ == nn.ReLU.__module__:
            bits_per_image += elements * FLOAT_BITS

    with fake_copy(model) as fake:
        freeze(fake, trained)
        fake.eval()
        for module in fake.modules():
            if next(module.children(), None) is None or module._parameters:
                module.register_forward_hook(note)
        fake(torch.empty(1, *image_shape, device=next(fake.parameters()).device))
        sizes = [(p.numel(), p.requires_grad) for p in fake.parameters()]
    bits = sum(n * (FLOAT_BITS if trains else FROZEN_BITS) for n, trains in sizes)
    return round((bits + ANALYTIC_BATCH * bits_per_image) / 8)
