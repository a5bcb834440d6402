"""Check the names of models and weights, without torch."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from analysis.errors import raise_problems
from analysis.models.catalogue import MODELS, ModelSpec

ADDED_HEAD = "new_classifier"  # the module behind a network that has no head
FILE = "file:"  # before the path of a checkpoint
TIMM = "timm/"
# Of names that are paths even if nothing is there; what a file holds is seen from its content.
CHECKPOINT_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".th", ".tar")
_CODE = re.compile(r"(.+\.py):([^\W\d]\w*)")


def spec_of(name: str) -> ModelSpec | None:
    """The description of a model; None if no model can have this name."""
    if name in MODELS:
        return MODELS[name]
    if name.startswith(TIMM) and len(name) > len(TIMM):
        title = name.removeprefix(TIMM)
        return ModelSpec(name, title, "timm", f"timm's {title}.", "timm", trained_on="ImageNet")
    if match := _CODE.fullmatch(name):
        return ModelSpec(name, match[2], "own code", f"Built by {match[1]}.", "code")
    return None


def model_spec(name: str) -> ModelSpec:
    """The description of a model by name.

    Raises
    ------
    OptionError
        If there is no such model.
    """
    raise_problems(model_problem(name))
    spec = spec_of(name)
    assert spec is not None  # for the type checker: `model_problem` has reported it otherwise
    return spec


def model_problem(name: str) -> list[str]:
    """Report an unknown model, or an empty list. Names in timm are checked only on loading."""
    spec = spec_of(name)
    if spec is None and name.endswith(".py"):
        return [f"`model` must name the function as well, {name}:FUNCTION"]
    if spec is None:
        return [
            f"`model` must be one of the {len(MODELS)} that `python -m analysis models` lists, "
            f"such as {', '.join(similar_names(name))}; got {name!r}"
        ]
    if spec.source == "timm" and ":" in name:  # such as hf-hub:, a repository of anybody's
        return [f"`model` must be one of timm's own models, got {name!r}"]
    if spec.source == "timm" and find_spec("timm") is None:
        return [f"`model` is {name!r}, but timm is not installed: pip install timm"]
    if spec.source == "code" and not Path(name.rpartition(":")[0]).is_file():
        return [f"`model` must name an existing file, got {name!r}"]
    return []


def head_problem(name: str, head: str) -> list[str]:
    """Report a head other than that of a network whose head is known, or an empty list."""
    spec = spec_of(name)
    if not head or spec is None or spec.head in ("", head):
        return []
    return [f"`head` must be {spec.head} for {name}, or left out, got {head!r}"]


def similar_names(name: str) -> list[str]:
    """Models of almost this name, the most similar first; the first models if there are none."""
    plain = {_letters(known): known for known in MODELS}
    close = get_close_matches(_letters(name), plain, 5, 0.5)
    return [plain[letters] for letters in close] or list(MODELS)[:4]


def _letters(name: str) -> str:
    """A name without what people spell in different ways."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def weights_choices(name: str) -> list[str]:
    """Values of `weights` for a known model, except the user's checkpoints."""
    spec = spec_of(name)
    return ["pretrained", "random", *(known.name for known in (spec.weight_sets if spec else ()))]


def weights_problem(name: str, weights: str) -> list[str]:
    """Report unknown weights of a known model, or an empty list."""
    if not weights.startswith(FILE):
        choices = weights_choices(name)
        if weights in choices:
            return []
        return [
            f"`weights` must be one of {', '.join(choices)}, or {FILE} followed by the path of a "
            f"checkpoint; got {weights!r}"
        ]
    path = Path(weights.removeprefix(FILE))
    if not path.exists():
        return [f"`weights` must name an existing file, got {weights!r}"]
    spec = spec_of(name)
    most = most_bytes(spec.parameters) if spec and spec.parameters else math.inf
    if path.stat().st_size > most:
        return [
            f"`weights` must name a file of at most {most / 1e6:,.0f} MB for {name}, "
            f"got {weights!r} with {path.stat().st_size / 1e6:,.0f} MB"
        ]
    return []


def most_bytes(parameters: int) -> int:
    """The largest size of a checkpoint: the weights and an optimiser's state, with a margin."""
    return 16 * 4 * parameters + 2**26


def side_problem(spec: ModelSpec, own: int, input_side: int) -> list[str]:
    """Report an input side that a model does not accept, or an empty list; `own` is its own."""
    if input_side and spec.fixed_side and input_side != own:
        return [
            f"`input_side` must be {own} for {spec.name} with these weights, got {input_side}; "
            "leave it out, or choose a network that takes any size, such as resnet50"
        ]
    if 0 < input_side < spec.smallest_side:
        return [
            f"`input_side` must be at least {spec.smallest_side} for {spec.name}, got {input_side}"
        ]
    if input_side < 0:
        return [f"`input_side` must be at least 0, got {input_side}"]
    return []


def model_and_weights_problems(name: str, weights: str) -> list[str]:
    """Report an unknown model, else unknown weights, else an empty list."""
    return model_problem(name) or weights_problem(name, weights)
