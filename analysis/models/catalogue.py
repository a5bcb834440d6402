"""The networks to choose from, and their weights. Listing them imports no torch.

torchvision's classifiers are listed in torchvision_models.json, which
`python -m assets.make_catalogue` writes from the installed torchvision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["pocket", "torchvision", "timm", "code"]

TABLE = Path(__file__).with_name("torchvision_models.json")
WEIGHTS_ADDRESS = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class WeightSet:
    """Pre-trained weights that torchvision offers for one network."""

    name: str  # torchvision's
    title: str
    file: str  # its name at `WEIGHTS_ADDRESS` and in torch hub's cache
    sha256: str  # the beginning of the file's digest
    megabytes: float  # 10⁶ bytes, to download
    input_side: int  # pixels
    accuracy: float | None  # top-1 share on ImageNet-1k; None: the classifier's weights are missing

    @property
    def url(self) -> str:
        return WEIGHTS_ADDRESS + self.file


@dataclass(frozen=True)
class ModelSpec:
    """One network.

    For a network from timm or from the user's code, `input_side`, `classes` and `head` are known
    only once it is built: here they are 0 and "", see `analysis.models.loading`.
    """

    name: str
    title: str
    family: str
    description: str  # one line
    source: Source
    input_side: int = 0  # pixels
    classes: int = 0
    head: str = ""  # the classifier's qualified module name
    trained_on: str = ""
    parameters: int = 0  # elements
    fixed_side: bool = False  # it accepts only images of its own input side
    smallest_side: int = 1  # pixels
    weight_sets: tuple[WeightSet, ...] = ()  # to download; the first is the default
    signature: str = ""  # of the parameters' names and shapes, see `loading.signature`

    def weight_set(self, weights: str) -> WeightSet | None:
        """The set that `weights` names; None for random weights and checkpoints."""
        if weights == "pretrained":
            return self.weight_sets[0] if self.weight_sets else None
        return next((known for known in self.weight_sets if known.name == weights), None)


_POCKET = tuple(
    ModelSpec(
        name, title, family, description, "pocket", 32, 10, head, "Fashion-MNIST", parameters,
        fixed_side=family in ("VGG", "ViT"), smallest_side=8,
    )
    for name, title, family, head, parameters, description in (
        ("pocket-resnet20", "Pocket ResNet-20", "ResNet", "fc", 272_474,
         "Nine residual blocks in three stages, 0.3 million parameters."),
        ("pocket-vgg", "Pocket VGG", "VGG", "classifier.3", 396_610,
         "Eight narrow convolutions without batch norm, two linear layers."),
        ("pocket-mobilenetv2", "Pocket MobileNetV2", "MobileNetV2", "classifier.1", 330_650,
         "torchvision's inverted residuals, narrow and eleven blocks deep."),
        ("pocket-vit", "Pocket ViT", "ViT", "heads.head", 258_506,
         "torchvision's vision transformer: six blocks of width 64, patches of 4 × 4."),
    )
)  # fmt: skip

# The paper's four, first among the full-size networks.
_DESCRIPTIONS = {
    "resnet50": "Sixteen bottleneck blocks",
    "vgg16": "Thirteen convolutions and three linear layers",
    "mobilenet_v2": "Seventeen inverted residual blocks",
    "vit_b_16": "Twelve transformer blocks of width 768",
}


def _full_size(entry: dict[str, Any]) -> ModelSpec:
    sets = tuple(WeightSet(**fields) for fields in entry.pop("weight_sets"))
    millions = f"{entry['parameters'] / 1e6:.1f} million parameters"
    if entry["name"] in _DESCRIPTIONS:
        description = f"{_DESCRIPTIONS[entry['name']]}, {millions}."
    else:
        description = f"{millions}, {100 * (sets[0].accuracy or 0):.1f} % top-1 on ImageNet-1k."
    return ModelSpec(
        **entry,
        description=description,
        source="torchvision",
        trained_on="ImageNet-1k",
        weight_sets=sets,
    )


def _read() -> dict[str, ModelSpec]:
    table = {entry["name"]: _full_size(entry) for entry in json.loads(TABLE.read_bytes())}
    papers = [table.pop(name) for name in _DESCRIPTIONS if name in table]
    return {spec.name: spec for spec in (*_POCKET, *papers, *table.values())}


MODELS: dict[str, ModelSpec] = _read()
