"""The memory of a training step before it is taken: the ledger over fake tensors.

Nothing is computed and next to nothing allocated: fake tensors have shapes and storages, no
numbers. The step is the one that `finetune` takes, so the prediction is exact where torch's fake
kernels allocate what the real ones do.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from analysis.instruments.fake import fake_copy, unpredictable
from analysis.instruments.ledger import Ledger
from analysis.instruments.memory_use import MemoryUse
from analysis.options import Recipe
from analysis.training.freezing import freeze, training_mode
from analysis.training.loop import training_step
from analysis.training.optimizers import make_optimizer


def predict_peak(
    model: nn.Module,
    image_shape: tuple[int, ...],
    *,
    trained: Collection[str],
    recipe: Recipe | None = None,
) -> MemoryUse:
    """Live tensor bytes at the peak of a training step, the optimiser's state being there.

    Parameters
    ----------
    model : nn.Module
        On any device, "meta" included; neither run nor altered. On "meta" it is predicted as on
        the CPU.
    image_shape : tuple of int
        Of one image as the model takes it, (C, H, W).
    trained : collection of str
        Names of the parameters that train.
    recipe : Recipe, optional
        Its batch size and optimiser count.

    Raises
    ------
    ModelError
        If a step depends on numbers, which fake tensors have not, or the model cannot be copied.
    TrainingError
        If nothing trains.
    """
    recipe = recipe or Recipe()
    with fake_copy(model) as fake:
        freeze(fake, trained)
        training_mode(fake)
        optimizer = make_optimizer(fake, recipe)
        device = next(fake.parameters()).device
        images = torch.empty(recipe.batch_size, *image_shape, device=device)
        labels = torch.empty(recipe.batch_size, dtype=torch.int64, device=device)
        with Ledger(fake, optimizer, (images, labels)) as ledger:
            try:
                for _ in range(2):  # the optimiser's state is made in the first
                    training_step(fake, optimizer, images, labels)
            except Exception as error:  # whatever a model's own code may raise
                raise unpredictable(error) from error
        return ledger.peak


FROZEN_BITS, FLOAT_BITS, ANALYTIC_BATCH = 4, 32, 8


def analytic_bytes(
    model: nn.Module, image_shape: tuple[int, ...], *, trained: Collection[str]
) -> int:
    """Training memory by the analytic model that the paper's figures rest on, after TinyTL.

    Weights that train take 32 bits each and frozen ones 4. Of a batch of 8 images the inputs of
    every convolution, linear layer, norm and attention that trains are kept at 32 bits, and from
    the first layer that trains on one bit for each output of a ReLU, or 32 bits for each input
    of another activation function. Gradients, the optimiser's state, and what torch really
    allocates have no part in it.

    References
    ----------
    Cai et al., TinyTL (NeurIPS 2020), §3.1; AdaBet §5 by way of METHOD.
    """
    kept = 0.0
    reached = False

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal kept, reached
        given = next((value for value in inputs if isinstance(value, Tensor)), None)
        if given is None:
            return
        each = math.prod(given.shape[1:])
        if any(p.requires_grad for p in module.parameters(recurse=False)):
            reached = True
            kept += each * FLOAT_BITS
        elif reached and isinstance(module, (nn.ReLU, nn.ReLU6)):
            kept += each
        elif reached and type(module).__module__ == nn.ReLU.__module__:
            kept += each * FLOAT_BITS

    with fake_copy(model) as fake:
        freeze(fake, trained)
        fake.eval()
        for module in fake.modules():
            if next(module.children(), None) is None or module._parameters:
                module.register_forward_hook(note)
        fake(torch.empty(1, *image_shape, device=next(fake.parameters()).device))
        sizes = [(p.numel(), p.requires_grad) for p in fake.parameters()]
    bits = sum(n * (FLOAT_BITS if trains else FROZEN_BITS) for n, trains in sizes)
    return round((bits + ANALYTIC_BATCH * kept) / 8)
