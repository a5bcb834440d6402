"""Write analysis/models/torchvision_models.json from the installed torchvision.

Run from the repository root after changing torchvision's version: `python -m
assets.make_catalogue`. Nothing is downloaded: torchvision itself describes its weights.
"""

from __future__ import annotations

import json
import re
from typing import Any

from torch import nn

from analysis.models.catalogue import TABLE, WEIGHTS_ADDRESS
from analysis.models.checkpoints import signature
from analysis.models.loading import Bare, torchvision_network
from analysis.system.torchvision_guard import torchvision

# A pattern of torchvision's names, the family, and the title.
_TITLES = [
    (r"alexnet", "AlexNet", "AlexNet"),
    (r"convnext_(\w+)", "ConvNeXt", r"ConvNeXt \1"),
    (r"densenet(\d+)", "DenseNet", r"DenseNet-\1"),
    (r"efficientnet_(b\d)", "EfficientNet", r"EfficientNet-\1"),
    (r"efficientnet_v2_(\w)", "EfficientNetV2", r"EfficientNetV2-\1"),
    (r"googlenet", "GoogLeNet", "GoogLeNet"),
    (r"inception_v3", "Inception", "Inception v3"),
    (r"maxvit_(t)", "MaxViT", r"MaxViT-\1"),
    (r"mnasnet(\d)_(\d+)", "MNASNet", r"MNASNet \1.\2"),
    (r"mobilenet_v2", "MobileNetV2", "MobileNetV2"),
    (r"mobilenet_v3_(\w+)", "MobileNetV3", r"MobileNetV3 \1"),
    (r"regnet_([xy])_(\d)_(\d)gf", "RegNet", r"RegNet\1-\2.\3GF"),
    (r"regnet_([xy])_(\d+)(gf|mf)", "RegNet", r"RegNet\1-\2\3"),
    (r"resnet(\d+)", "ResNet", r"ResNet-\1"),
    (r"resnext(\d+)_(\d+)x(\d+)d", "ResNeXt", r"ResNeXt-\1 \2 × \3d"),
    (r"wide_resnet(\d+)_2", "Wide ResNet", r"Wide ResNet-\1-2"),
    (r"shufflenet_v2_x(\d)_(\d)", "ShuffleNetV2", r"ShuffleNetV2 × \1.\2"),
    (r"squeezenet(\d)_(\d)", "SqueezeNet", r"SqueezeNet \1.\2"),
    (r"swin_v2_(\w)", "Swin V2", r"Swin V2-\1"),
    (r"swin_(\w)", "Swin", r"Swin-\1"),
    (r"vgg(\d+)_bn", "VGG", r"VGG-\1 BN"),
    (r"vgg(\d+)", "VGG", r"VGG-\1"),
    (r"vit_(\w)_(\d+)", "ViT", r"ViT-\1/\2"),
]  # fmt: skip
_SETS = {
    "IMAGENET1K_V1": "ImageNet-1k",
    "IMAGENET1K_V2": "ImageNet-1k, a newer recipe",
    "IMAGENET1K_FEATURES": "ImageNet-1k, the convolutions alone",
    "IMAGENET1K_SWAG_E2E_V1": "SWAG, fine-tuned on ImageNet-1k",
    "IMAGENET1K_SWAG_LINEAR_V1": "SWAG, with a linear classifier of ImageNet-1k",
}
_FIXED = {"ViT", "MaxViT"}
# Pixels, where torchvision only gives the training size: a Swin pads smaller images.
_SMALLEST = {"Swin": 32, "Swin V2": 32, "ViT": 1, "MaxViT": 1}
CLASSES = 1000


def _title(name: str) -> tuple[str, str]:
    for pattern, family, title in _TITLES:
        match = re.fullmatch(pattern, name)
        if match:
            for number, part in enumerate(match.groups(), 1):
                cased = part.upper() if len(part) <= 2 else part.capitalize()
                title = title.replace(f"\\{number}", cased)
            return family, title
    raise SystemExit(f"{name} needs a line in _TITLES")


def _weight_set(weights: Any) -> dict[str, Any]:
    address, _, file = weights.url.rpartition("/")
    if address + "/" != WEIGHTS_ADDRESS:
        raise SystemExit(f"{weights} has an unexpected address: {weights.url}")
    accuracy = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return {
        "name": weights.name,
        "title": _SETS[weights.name],
        "file": file,
        "sha256": re.search(r"-([0-9a-f]{8,})\.pth$", file)[1],  # type: ignore[index]
        "megabytes": round(weights.meta["_file_size"] * 2**20 / 1e6, 1),
        "input_side": weights.transforms().crop_size[0],
        "accuracy": round(accuracy / 100, 5) if accuracy == accuracy else None,
    }


def _head(network: nn.Module) -> str:
    """The last module with one output per class."""
    sizes = {
        name: module.weight.shape[0]
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    return [name for name, size in sizes.items() if size == CLASSES][-1]


def _model(name: str) -> dict[str, Any]:
    family, title = _title(name)
    known = torchvision.models.get_model_weights(name)
    default = known.DEFAULT
    sets = [
        _weight_set(default),
        *(_weight_set(weights) for weights in known if weights is not default),
    ]
    side = sets[0]["input_side"]
    with Bare():
        network = torchvision_network(name, CLASSES, side, initialize=False)
    return {
        "name": name,
        "title": title,
        "family": family,
        "input_side": side,
        "classes": CLASSES,
        "head": _head(network),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "fixed_side": family in _FIXED,
        "smallest_side": _SMALLEST.get(family, max(default.meta["min_size"])),
        "signature": signature(network.state_dict(), _head(network)),
        "weight_sets": sets,
    }


def catalogue() -> list[dict[str, Any]]:
    """Every classifier of torchvision, by family and size."""
    names = torchvision.models.list_models(module=torchvision.models)
    return sorted(
        map(_model, names), key=lambda model: (model["family"].lower(), model["parameters"])
    )


if __name__ == "__main__":
    models = catalogue()
    TABLE.write_text(json.dumps(models, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(models)} models in {TABLE.name}")
