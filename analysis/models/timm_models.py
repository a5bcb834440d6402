"""timm's networks, if timm is installed. BettiScope does not require it."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import redirect_stdout
from difflib import get_close_matches
from typing import Any

from torch import nn

from analysis.errors import AssetError, ModelError, OptionError
from analysis.models.preprocessing import Preprocessing
from analysis.system.downloads import is_reachable
from analysis.system.torchvision_guard import torchvision  # noqa: F401  (timm imports torchvision)


def timm_network(name: str, num_classes: int | None, *, pretrained: bool) -> nn.Module:
    """Build "timm/<name>", with a new head if `num_classes` is given.

    Raises
    ------
    OptionError
        If timm has no such model, with similar names.
    AssetError
        If its weights cannot be downloaded.
    ModelError
        If it cannot be built.
    """
    timm, own = _timm(), _own_name(name)
    classes = {} if num_classes is None else {"num_classes": num_classes}
    hub = "" if not pretrained else _unreachable_hub()
    try:
        with redirect_stdout(sys.stderr):
            model: nn.Module = timm.create_model(own, pretrained=pretrained, **classes)
        return model
    except Exception as error:  # timm and the hub may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if pretrained:
            raise AssetError(
                f"The pre-trained weights of {name} could not be downloaded ({hub or reason}). Use "
                "weights = random, a checkpoint of your own, or a pocket model, which ships with "
                "BettiScope."
            ) from error
        raise ModelError(f"timm could not build {own} ({reason}).") from error


def _unreachable_hub() -> str:
    """Say that the hub does not answer, or return ""; then timm uses only cached weights.

    By itself, the hub's client would retry for more than a minute.
    """
    try:
        hub: Any = importlib.import_module("huggingface_hub.constants")
    except ImportError:  # then timm reports it
        return ""
    if os.environ.get("HF_HUB_OFFLINE"):  # the user's choice
        return ""
    hub.HF_HUB_OFFLINE = not is_reachable(hub.ENDPOINT)
    return f"{hub.ENDPOINT} does not answer: no network?" if hub.HF_HUB_OFFLINE else ""


def timm_preprocessing(name: str) -> Preprocessing:
    """The preprocessing of a network's own training."""
    config = _data(_timm().get_pretrained_cfg(_own_name(name)))
    channels, height, width = config["input_size"]
    return Preprocessing(
        shape=(channels, height, width),
        resize=(int(height / config["crop_pct"]), int(width / config["crop_pct"])),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        stretched=config.get("crop_mode") == "squash",
        bordered=config.get("crop_mode") == "border",
    )


def takes_one_side(name: str) -> bool:
    """Whether a network accepts images of its own side only, as timm says."""
    config = _timm().get_pretrained_cfg(_own_name(name))
    return bool(getattr(config, "fixed_input_size", False))


def _data(config: Any) -> dict[str, Any]:
    data: dict[str, Any] = importlib.import_module("timm.data").resolve_data_config(
        pretrained_cfg=config.to_dict()
    )
    return data


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(f"timm cannot be imported ({error}): pip install timm") from error


def _own_name(name: str) -> str:
    timm, own = _timm(), name.removeprefix("timm/")
    if not timm.is_model(own):
        close = get_close_matches(own, timm.list_models(), 5, 0.5)
        hint = f"; similar names: {', '.join(f'timm/{model}' for model in close)}" if close else ""
        raise OptionError(f"`model` must be a name that timm knows, got {name!r}{hint}")
    return own
