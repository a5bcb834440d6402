"""Load a model and prepare its input, by name.

This module must not import torch: the dashboard lists models without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.errors import raise_problems
from analysis.models.catalogue import MODELS
from analysis.models.code_facts import code_digest, file_digest
from analysis.models.input_side import side_of_input
from analysis.models.names import FILE, head_problem, model_and_weights_problems, model_spec
from analysis.progress import ProgressCallback
from analysis.results import InputFormat
from analysis.system.assets import asset_entry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from analysis.models.preprocessing import Preprocessing


def list_models() -> list[str]:
    """Names that `load_model` knows, besides timm's and the user's code."""
    return list(MODELS)


def load_model(
    name: str,
    *,
    weights: str = "pretrained",
    seed: int = 0,
    num_classes: int | None = None,
    progress: ProgressCallback | None = None,
    weights_key: str = "",
    head: str = "",
) -> nn.Module:
    """Build a new network, in eval mode, on the CPU, in float32.

    The global random state does not change.

    Parameters
    ----------
    name : str
        One of `list_models()`, "timm/<name>", or "<path>.py:<function>", which is run.
    weights : str
        "pretrained", "random", the name of one of the model's weight sets, or "file:" and the
        path of a checkpoint. The user's code sets its own weights, after seeding.
    seed : int
        Of random weights and of a new head.
    num_classes : int, optional
        Give the network a new, randomly initialised head for this many classes. By default it
        keeps its own.
    progress : callable (Progress), optional
        Receives the progress of a download; see `analysis.system.downloads.fetch`.
    weights_key : str
        Which set of weights of a checkpoint to use if it contains several; "": the one that was
        trained, and not an average of it.
    head : str
        The layer of the user's network that is replaced; "none": it gets a new one behind its
        output; "": found by what the network gives.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    OptionError
        For all unknown names and values out of range at once.
    AssetError
        If the pre-trained weights are missing, damaged or unreachable, or a checkpoint is
        refused.
    ModelError
        If the user's code fails, or its network has no head to replace.
    """
    problems = model_and_weights_problems(name, weights)
    if num_classes is not None and num_classes < 1:
        problems.append(f"`num_classes` must be at least 1, got {num_classes}")
    raise_problems(problems + head_problem(name, head))
    from analysis.models.loading import build_model

    return build_model(model_spec(name), weights, seed, num_classes, progress, weights_key, head)


def checkpoint_notes(
    name: str, weights: str, *, weights_key: str = "", head: str = ""
) -> tuple[str, ...]:
    """Check a checkpoint against a network, and report what is passed over or new in it.

    Parameters
    ----------
    name, weights, weights_key, head : str
        As for `load_model`.

    Returns
    -------
    tuple of str
        Sentences for the user; none if `weights` is no checkpoint.

    Raises
    ------
    OptionError, AssetError, ModelError
        As for `load_model`.
    """
    raise_problems(model_and_weights_problems(name, weights))
    if not weights.startswith(FILE):
        return ()
    from analysis.models.loading import fit_checkpoint

    path = Path(weights.removeprefix(FILE))
    return fit_checkpoint(model_spec(name), path, key=weights_key, head=head).weights.notes


def prepare_images(
    name: str,
    images: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    *,
    weights: str = "pretrained",
    input_side: int = 0,
    input_resize: int = 0,
    input_mean: str = "",
    input_std: str = "",
) -> Tensor:
    """Turn images into a network's input, as in its training.

    A pocket model takes 28 × 28 pixels (others are resized) padded to 32 × 32; a full-size model
    uses the preprocessing of its weight set. Random weights and checkpoints get the input of the
    pre-trained weights, so that they can be compared.

    Parameters
    ----------
    name : str
        As for `load_model`.
    images : float32 array (N, C, H, W), or a sequence of float32 arrays (C, h, w)
        Values in [0, 1]; C is 1 (grey) or 3. They are not changed. A sequence is read one image
        at a time.
    weights : str
        As for `load_model`.
    input_side : int
        Pixels; 0: the side of the weights. Another side resizes in proportion.
    input_resize : int
        Pixels of the images' shorter side before the centre is cropped; 0: as for the weights.
    input_mean, input_std : str
        One number, or one for each channel, instead of those of the weights, which "" means.

    Returns
    -------
    torch.Tensor
        float32 (N, 3, S, S), with S from `side_of_input`; of a network of the user's own, the
        channels, height and width that it asks for.

    Raises
    ------
    OptionError
        If a name is unknown, the images have another shape, or the network does not accept
        that side.
    """
    problems = model_and_weights_problems(name, weights) + _image_problems(images)
    raise_problems(problems)
    from analysis.models.preparation import prepare_input

    prepare = _preprocessing(name, weights, input_side, input_resize, input_mean, input_std)
    return prepare_input(prepare, images)


def input_format(
    name: str,
    *,
    weights: str = "pretrained",
    input_side: int = 0,
    input_resize: int = 0,
    input_mean: str = "",
    input_std: str = "",
) -> InputFormat:
    """What `prepare_images` does to images. The user's code is run.

    Parameters
    ----------
    name, weights, input_side, input_resize, input_mean, input_std
        As for `prepare_images`.

    Raises
    ------
    OptionError, ModelError
        As for `prepare_images`.
    """
    raise_problems(model_and_weights_problems(name, weights))
    return _preprocessing(name, weights, input_side, input_resize, input_mean, input_std).format


def _preprocessing(
    name: str, weights: str, input_side: int, input_resize: int, input_mean: str, input_std: str
) -> Preprocessing:
    from analysis.models.preparation import preprocessing_of

    spec = model_spec(name)
    side = side_of_input(name, weights=weights, input_side=input_side)
    if spec.source in ("code", "timm") and not input_side:
        side = 0  # its own height and width, which may differ
    return preprocessing_of(
        spec, weights, side, resize=input_resize, mean=input_mean, std=input_std
    )


def weights_fingerprint(name: str, weights: str, seed: int) -> str:
    """Identify these weights among all of the same network.

    Returns
    -------
    str
        The SHA-256 of a pocket model's file or of a checkpoint, torchvision's name and hash of
        its weights, or "random:" and the seed; for the user's code, also a SHA-256 of its file,
        of the Python files beside it, and of what it read and gave when it was last run: see
        `learn_code`. Nothing is run here.

    Raises
    ------
    OptionError
        If a name is unknown.
    AssetError
        If the manifest of the assets is missing or damaged, or a file cannot be read.
    """
    raise_problems(model_and_weights_problems(name, weights))
    spec = model_spec(name)
    own = not weights.startswith(FILE)
    code = f":{code_digest(name, seed, with_weights=own)}" if spec.source == "code" else ""
    if weights.startswith(FILE):
        return FILE + file_digest(Path(weights.removeprefix(FILE))) + code
    if weights == "random" or code:
        return f"random:{seed}{code}"
    if spec.source == "pocket":
        return asset_entry(name).sha256
    chosen = spec.weight_set(weights)
    return f"{chosen.name}-{chosen.sha256}" if chosen else f"timm-{version('timm')}"


def learn_code(name: str, seed: int) -> None:
    """Run the user's code, so that `weights_fingerprint` covers all that it reads.

    Whoever is about to run it anyway calls this first. Other models need nothing.

    Raises
    ------
    OptionError, ModelError
        If the name is unknown, or the code fails.
    """
    if model_spec(name).source == "code":
        from analysis.models.loading import learn_code as learn

        learn(name, seed)


def check_head(name: str, head: str) -> None:
    """Check the choice of a head before anything slow. The user's code is run if there is one.

    Raises
    ------
    OptionError, ModelError
        If the name is unknown, the code fails, or the network has no such layer.
    """
    known = model_spec(name).head
    raise_problems(head_problem(name, head))
    if head and not known:
        from analysis.models.loading import check_head_of

        check_head_of(name, head)


def _image_problems(images: NDArray[np.float32] | Sequence[NDArray[np.float32]]) -> list[str]:
    if isinstance(images, np.ndarray):
        if images.ndim == 4 and images.shape[1] in (1, 3) and 0 not in images.shape:
            return []
        shape: object = images.shape
    else:
        if len(images):
            return []
        shape = "none"
    return [f"`images` must have the shape (N, 1 or 3, height, width), got {shape}"]
