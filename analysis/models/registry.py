"""The models by name: what each is, and the way to its network, weights and input.

This module must not import torch: the dashboard lists models without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.asset_files import asset_entry
from analysis.errors import choice_problem, raise_problems
from analysis.options import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor, nn

Source = Literal["pocket", "torchvision"]


@dataclass(frozen=True)
class ModelSpec:
    """One network."""

    name: str
    title: str
    family: str
    description: str  # one line
    source: Source  # "pocket": weights come with BettiScope; "torchvision": over the network
    input_side: int  # pixels
    classes: int
    head: str  # the classifier's qualified module name
    trained_on: str
    weights_name: str  # torchvision's name of the weights; of a pocket model its asset
    weights_file: str  # as it is called in assets/, or in torch hub's cache


def _pocket(name: str, title: str, family: str, description: str, head: str) -> ModelSpec:
    return ModelSpec(
        name, title, family, description, "pocket", 32, 10, head, "Fashion-MNIST",
        weights_name=name, weights_file=f"{name}.safetensors",
    )  # fmt: skip


def _full_size(
    name: str, title: str, family: str, description: str, head: str, weights: str, file: str
) -> ModelSpec:
    return ModelSpec(
        name, title, family, description, "torchvision", 224, 1000, head, "ImageNet-1k",
        weights_name=weights, weights_file=file,
    )  # fmt: skip


_SPECS = (
    _pocket(
        "pocket-resnet20", "Pocket ResNet-20", "ResNet",
        "Nine residual blocks in three stages, 0.3 million parameters.", "fc",
    ),
    _pocket(
        "pocket-vgg", "Pocket VGG", "VGG",
        "Eight narrow convolutions without batch norm, two linear layers.", "classifier.3",
    ),
    _pocket(
        "pocket-mobilenetv2", "Pocket MobileNetV2", "MobileNetV2",
        "torchvision's inverted residuals, narrow and eleven blocks deep.", "classifier.1",
    ),
    _pocket(
        "pocket-vit", "Pocket ViT", "ViT",
        "torchvision's vision transformer: six blocks of width 64, patches of 4 × 4.",
        "heads.head",
    ),
    _full_size(
        "resnet50", "ResNet-50", "ResNet",
        "Sixteen bottleneck blocks, 25.6 million parameters.", "fc",
        "IMAGENET1K_V2", "resnet50-11ad3fa6.pth",
    ),
    _full_size(
        "vgg16", "VGG-16", "VGG",
        "Thirteen convolutions and three linear layers, 138.4 million parameters.",
        "classifier.6", "IMAGENET1K_V1", "vgg16-397923af.pth",
    ),
    _full_size(
        "mobilenet_v2", "MobileNetV2", "MobileNetV2",
        "Seventeen inverted residual blocks, 3.5 million parameters.", "classifier.1",
        "IMAGENET1K_V2", "mobilenet_v2-7ebf99e0.pth",
    ),
    _full_size(
        "vit_b_16", "ViT-B/16", "ViT",
        "Twelve transformer blocks of width 768, 86.6 million parameters.", "heads.head",
        "IMAGENET1K_V1", "vit_b_16-c867db91.pth",
    ),
)  # fmt: skip
MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def list_models() -> list[str]:
    """Names that `load_model` knows."""
    return list(MODELS)


def model_problem(name: str) -> list[str]:
    """Say that there is no such model, or nothing."""
    return choice_problem("model", name, MODELS)


def weights_problem(name: str, weights: str) -> list[str]:
    """Say that there are no such weights of a model that there is, or nothing."""
    return choice_problem("weights", weights, WEIGHTS)


def model_spec(name: str) -> ModelSpec:
    """What is known of a model by name.

    Raises
    ------
    OptionError
        If there is no such model.
    """
    raise_problems(model_problem(name))
    return MODELS[name]


def load_model(
    name: str, *, weights: str = "pretrained", seed: int = 0, num_classes: int | None = None
) -> nn.Module:
    """Build a network that nobody else holds, in eval mode, on the CPU, in float32.

    The global random state is left as it was.

    Parameters
    ----------
    name : str
        One of `list_models()`.
    weights : {"pretrained", "random"}
    seed : int
        Of random weights and of a new head.
    num_classes : int, optional
        Give the network a new, randomly initialised head for so many classes. By default it
        keeps its own.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    OptionError
        Naming every unknown name and every value out of range.
    AssetError
        If the pre-trained weights are missing, damaged or out of reach.
    """
    problems = _problems(name, weights)
    if num_classes is not None and num_classes < 1:
        problems.append(f"`num_classes` must be at least 1, got {num_classes}")
    raise_problems(problems)
    from analysis.models.loading import build_model

    return build_model(model_spec(name), weights, seed, num_classes)


def prepare_images(
    name: str, images: NDArray[np.float32], *, weights: str = "pretrained"
) -> Tensor:
    """Turn images into a network's input, the way it was trained.

    A pocket model takes 28 × 28 pixels (others are resized) padded to 32 × 32; a full-size model
    takes what torchvision's weights ask for. With random weights the input is the same, so that
    the two can be compared.

    Parameters
    ----------
    name : str
        One of `list_models()`.
    images : float32 array of shape (N, C, H, W)
        Values in [0, 1]; C is 1 (grey) or 3. They are not altered.
    weights : {"pretrained", "random"}

    Returns
    -------
    torch.Tensor
        float32 (N, 3, S, S), S the model's `input_side`.

    Raises
    ------
    OptionError
        If a name is unknown or the images have another shape.
    """
    problems = _problems(name, weights)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        problems.append(
            f"`images` must have the shape (N, 1 or 3, height, width), got {images.shape}"
        )
    raise_problems(problems)
    from analysis.models.preparation import pocket_input, torchvision_input

    spec = model_spec(name)
    return pocket_input(images) if spec.source == "pocket" else torchvision_input(spec, images)


def weights_fingerprint(name: str, weights: str, seed: int) -> str:
    """What tells these weights from any other of the same network.

    Returns
    -------
    str
        The SHA-256 of a pocket model's file, torchvision's name and hash of its weights, or
        "random:" and the seed.

    Raises
    ------
    OptionError
        If a name is unknown.
    AssetError
        If the manifest of the assets is missing or damaged.
    """
    raise_problems(_problems(name, weights))
    spec = model_spec(name)
    if weights == "random":
        return f"random:{seed}"
    if spec.source == "pocket":
        return asset_entry(spec.weights_name).sha256
    return f"{spec.weights_name}-{spec.weights_file.rpartition('-')[2].removesuffix('.pth')}"


def _problems(name: str, weights: str) -> list[str]:
    return model_problem(name) or weights_problem(name, weights)
