"""The side of a network's input in pixels. Only timm and the user's code need torch."""

from __future__ import annotations

from functools import lru_cache
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
    raise_problems(side_problem(spec, own, input_side))
    return input_side or own


@lru_cache(maxsize=64)
def built_side(spec: ModelSpec) -> int:
    """The input side of a network that has to be built to know it."""
    if spec.source == "timm":
        from analysis.models.timm_models import timm_preprocessing

        return timm_preprocessing(spec.name).crop
    if spec.source == "code":
        from analysis.models.own_code import code_network, side_of_code

        return side_of_code(code_network(spec.name, None)[0])
    return spec.input_side
