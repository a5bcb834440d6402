"""How wrong a layer's distances are because its activations, and those before them, are rounded.

Where activations lie far from the origin, as behind a large bias, their rounding is large compared
with the distances between them, and every layer behind inherits it. So it is measured: a few images
run once more while every layer's output is altered by about its rounding, and what that changes in
the distances is the error. It scales with the activations, so b₁ does not depend on their unit.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.utils._pytree import tree_map

from analysis.errors import ModelError
from analysis.instruments.activations import parameter_owners
from analysis.instruments.behaviour import Behaviour
from analysis.options import Precision
from analysis.results import Float32, LayerTopology, all_one_point
from analysis.text import first_of, plural
from analysis.topology.footprints import ImageBlocks
from analysis.topology.layer_distances import LayerDistances, measure_layer_distances
from analysis.topology.passes import Plan

# Images that run again. What they show is 1 to 4 times the largest error among 40 images, measured
# against float64 for biases of 10² to 10⁶, behind norms too.
_IMAGES = 6
# How far a point lies from the origin, as a multiple of the largest distance, before float32 loses
# digits that matter beside `RELATIVE_ERROR`.
_FAR = 50


def layer_errors(
    model: nn.Module,
    images: Tensor | ImageBlocks,
    clouds: LayerDistances,
    plan: Plan,
    *,
    precision: Precision = "float32",
    behaviour: Behaviour,
) -> dict[str, float]:
    """`measure_rounding` where rounding may matter; else empty, which takes no pass."""
    if behaviour.random or behaviour.altered:  # no two passes are alike
        return {}
    if not (coarse_format(model, precision) or is_far_from_origin(clouds)):
        return {}
    whole = behaviour.looks_at_batch
    return measure_rounding(model, images, clouds.distances, plan, precision=precision, whole=whole)


def coarse_format(model: nn.Module, precision: Precision) -> str:
    """The 16-bit format of a network's activations; "" if they are float32 or finer.

    Its rounding is as large as many real loops. Leaving those out made b₁ much smaller than that
    of float32, and counting them did not: it is counted, and said by
    `rounding_sentences`.
    """
    if precision != "float32":
        return precision
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    coarse = parameter is not None and parameter.dtype.itemsize < torch.float32.itemsize
    return str(parameter.dtype).removeprefix("torch.") if parameter is not None and coarse else ""


def rounding_sentences(
    layers: Sequence[LayerTopology], coarse: str, left_out: Container[str]
) -> list[str]:
    """Say where rounding hides loops or may make some.

    Parameters
    ----------
    layers : sequence of LayerTopology
    coarse : str
        By `coarse_format`.
    left_out : container of str
        The layers in which loops were left out.
    """
    if coarse:
        return _coarse_sentences(layers, coarse)
    sentences = []
    within = [each.name for each in layers if each.within_rounding and each.diameter > 0]
    if within and not all_one_point(layers):
        sentences.append(
            f"The images differ by no more than rounding in {first_of(within)}, so no loop counts "
            "there. Bring the activations closer to zero, for example with a smaller bias."
        )
    names = [each.name for each in layers if each.name in left_out and each.name not in within]
    if names:
        sentences.append(
            f"Loops that are shorter than the rounding do not count in {first_of(names)}: "
            "activations lie too far from zero. A smaller bias would show them."
        )
    return sentences


def _coarse_sentences(layers: Sequence[LayerTopology], coarse: str) -> list[str]:
    lives = [(d - b, 2 * each.rounding) for each in layers for b, d in each.diagram.tolist()]
    short = sum(life <= error for life, error in lives)
    if not short:
        return []
    return [
        f"{short:,} of {plural(len(lives), 'loop')} are no longer than the rounding of {coarse}, "
        "which makes some and hides others. Use float32 to be sure of b₁."
    ]


def measure_rounding(
    model: nn.Module,
    images: Tensor | ImageBlocks,
    distances: Mapping[str, Float32 | None],
    plan: Plan,
    *,
    precision: Precision = "float32",
    whole: bool = False,
) -> dict[str, float]:
    """Measure the error of each layer's distances that comes from rounded activations.

    Parameters
    ----------
    model : nn.Module
        In the state in which `distances` were measured.
    images : Tensor (N, ...) or ImageBlocks
    distances : mapping of str to ndarray (N, N) of float32, or None
        Of each layer, measured before.
    plan : Plan
        By which they were measured: no pass is larger now.
    precision : Precision
        Of the forward passes; a coarser one rounds more.
    whole : bool
        Run all images again, as if one's activations depend on the others.

    Returns
    -------
    dict of str to float
        The largest error of a distance in each layer, in the units of the activations. Layers for
        which it cannot be measured are missing.
    """
    few = images if whole else images[:_IMAGES]
    if not whole:
        plan = Plan(len(few), blocks=1 if plan.largest >= len(few) else len(few))
    try:
        with _altered_outputs(model, distances.keys()):
            again = measure_layer_distances(
                model, few, distances.keys(), plan, precision=precision, on_layer=lambda *_: None
            ).distances
    except ModelError:  # a network that does not take altered outputs, or so few images
        return {}
    errors = {}
    for name, before in distances.items():
        after = again.get(name)
        if before is not None and after is not None:
            before = before[: len(few), : len(few)]
            # Equal images stay equal: they have no distance that could be wrong.
            changes = np.abs(after.astype(np.float64) - before)[before > 0]
            errors[name] = float(changes.max(initial=0))
    return errors


def is_far_from_origin(clouds: LayerDistances) -> bool:
    """Whether float32 may lose digits that matter in some layer."""
    return any(
        matrix is not None and clouds.norms.get(name, 0) > _FAR * float(matrix.max()) > 0
        for name, matrix in clouds.distances.items()
    )


@contextmanager
def _altered_outputs(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Alter what these layers put out, by up to one unit in the last place of its format."""
    generators: dict[torch.device, torch.Generator] = {}

    def alter(value: object) -> object:
        if not isinstance(value, Tensor) or not _can_alter(value):
            return value
        if value.device not in generators:
            generators[value.device] = torch.Generator(value.device).manual_seed(0)
        noise = torch.empty_like(value.real if value.is_complex() else value)
        step = torch.finfo(value.dtype).eps
        noise.uniform_(-step, step, generator=generators[value.device])
        return value.addcmul(value, noise)

    def hook(_module: nn.Module, _inputs: object, output: object) -> object:
        return tree_map(alter, output)

    with ExitStack() as stack:
        for name, module in parameter_owners(model).items():
            if name in names:
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _can_alter(tensor: Tensor) -> bool:
    return (
        (tensor.is_floating_point() or tensor.is_complex())
        and tensor.layout == torch.strided
        and not tensor.is_nested
        and not is_functorch_wrapped_tensor(tensor)
    )
