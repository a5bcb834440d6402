"""Read pre-trained weights: the pocket zoo's from assets/, torchvision's by download."""

from __future__ import annotations

import re
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from analysis.errors import AssetError
from analysis.models.catalogue import ModelSpec, WeightSet
from analysis.models.checkpoint_files import StateDict
from analysis.models.checkpoints import AUXILIARY
from analysis.models.fetching import cached_file, fetch_weight_set
from analysis.progress import ProgressCallback
from analysis.system.assets import read_asset
from analysis.system.torchvision_guard import torchvision

# torchvision's own loader renames keys like "norm.1.weight" of old DenseNet files, too.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def pocket_state(spec: ModelSpec) -> StateDict:
    """Weights from assets/, read from the same bytes as their checksum."""
    state = safetensors.torch.load(read_asset(spec.name))
    # Copies, because safetensors' tensors may share memory with those bytes.
    return {name: tensor.clone() for name, tensor in state.items()}


def torchvision_weights(spec: ModelSpec, chosen: WeightSet) -> Any:
    """The member of torchvision's weights enumeration."""
    return torchvision.models.get_model_weights(spec.name)[chosen.name]


def torchvision_state(
    spec: ModelSpec, chosen: WeightSet, progress: ProgressCallback | None = None
) -> StateDict:
    """Weights from torch hub's cache, downloaded first if necessary.

    Returns
    -------
    dict of str to Tensor
        As torchvision's own loader returns them, but in float32: a few files hold float16.
        Without the classifier if the file has none.

    Raises
    ------
    AssetError
        If the weights cannot be downloaded, or the file is damaged.
    """
    file = fetch_weight_set(spec, chosen, progress)
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        if not (isinstance(loaded, dict) and all(isinstance(t, Tensor) for t in loaded.values())):
            raise ValueError("no tensors by name")
        return _convert_state(loaded, chosen)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise damage_error(spec, chosen) from error


def damage_error(spec: ModelSpec, chosen: WeightSet | None) -> AssetError:
    """The error for a file that was read but does not contain this network's weights."""
    if chosen is None:
        return AssetError(
            f"assets/{spec.name}.safetensors does not contain the weights of {spec.name}: "
            "run `make assets` or restore it with git"
        )
    return AssetError(
        f"The pre-trained weights of {spec.name} are damaged. Delete {cached_file(chosen)} to "
        "download them again."
    )


def _convert_state(state: StateDict, chosen: WeightSet) -> StateDict:
    for key in list(state):
        tensor = state[key]
        if key.startswith(AUXILIARY) or (chosen.accuracy is None and tensor.isnan().all()):
            del state[key]
        elif tensor.is_floating_point():
            state[key] = tensor.float()
        if old := _OLD_DENSENET.match(key):
            state["".join(old.groups())] = state.pop(key)
    return state
