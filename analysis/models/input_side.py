"""The side of a network's input in pixels. Only timm and the user's code need torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.errors import raise_problems
from analysis.models.catalogue import ModelSpec
from analysis.models.checkpoint_shapes import checkpoint_side
from analysis.models.names import FILE, model_and_weights_problems, model_spec, side_problem


def side_of_input(name: str, *, weights: str = "pretrained", input_side: int = 0) -> int:
    """The side of a network's input in pixels. Only timm and the user's code need torch.

    Parameters
    ----------
    name, weights : str
        As for `load_model`.
    input_side : int
        The requested side; 0: the side of the weights.

    Raises
    ------
    OptionError
        If a name is unknown, or the network does not accept such images.
    """
    raise_problems(model_and_weights_problems(name, weights))
    spec = model_spec(name)
    own = spec.input_side
    if chosen := spec.weight_set(weights):
        own = chosen.input_side
    elif weights.startswith(FILE) and spec.family == "ViT" and spec.source == "torchvision":
        own = checkpoint_side(Path(weights.removeprefix(FILE))) or own
    elif not own and not input_side:
        own = built_side(spec)
    elif spec.source == "timm" and input_side:
        spec, own = replace(spec, fixed_side=_takes_one_side(spec)), built_side(spec)
    raise_problems(side_problem(spec, own, input_side))
    return input_side or own


def _takes_one_side(spec: ModelSpec) -> bool:
    from analysis.models.timm_models import takes_one_side

    return takes_one_side(spec.name)


def built_side(spec: ModelSpec) -> int:
    """The width of the input of a network that has to be built to know it."""
    return built_shape(spec)[-1]


def built_shape(spec: ModelSpec) -> tuple[int, int, int]:
    """Channels, height and width of such a network's input."""
    if spec.source == "timm":
        from analysis.models.timm_models import timm_preprocessing

        return timm_preprocessing(spec.name).shape
    if spec.source == "code":
        from analysis.models.own_input import own_preprocessing

        return own_preprocessing(spec.name).shape
    return (3, spec.input_side, spec.input_side)
