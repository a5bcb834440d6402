"""The pocket zoo: four small members of the paper's four families, for 3 × 32 × 32 images.

Each is built from torchvision's own blocks, so that it has the layer names and kinds of the
full-size network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from analysis.system.torchvision_guard import torchvision  # noqa: F401  (must precede torchvision.models)
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers
from torchvision.models.vision_transformer import VisionTransformer

INPUT_SIDE = 32
CLASSES = 10


class PocketResNet(nn.Module):
    """ResNet-20 for 32 × 32 images (He et al. 2016, §4.2) with projection shortcuts."""

    def __init__(self, num_classes: int = CLASSES, blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(width_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        shortcut = None
        if stride != 1:
            shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        first = BasicBlock(width_in, width, stride, shortcut)
        return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class PocketVGG(nn.Module):
    """A VGG of eight narrow convolutions and two linear layers, without batch norm like VGG16."""

    _CONFIGURATION: tuple[str | int, ...] = (24, 24, "M", 48, 48, "M", 80, 80, "M", 112, 112, "M")

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.features = make_layers(list(self._CONFIGURATION), batch_norm=False)
        self.classifier = nn.Sequential(
            nn.Linear(112 * 2 * 2, 160),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(160, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


def pocket_mobilenetv2(num_classes: int = CLASSES) -> nn.Module:
    """torchvision's MobileNetV2, three eighths as wide and eleven blocks deep."""
    # expansion, width, blocks, stride: the strides suit a 16 x 16 map after the stem.
    setting = [[1, 32, 1, 1], [6, 48, 2, 1], [6, 64, 3, 2], [6, 128, 3, 2], [6, 192, 2, 1]]
    model: nn.Module = MobileNetV2(
        num_classes=num_classes, width_mult=0.375, inverted_residual_setting=setting, dropout=0.1
    )
    return model


def pocket_vit(num_classes: int = CLASSES) -> nn.Module:
    """torchvision's VisionTransformer: patch 4, six blocks of width 64 with four heads."""
    model: nn.Module = VisionTransformer(
        image_size=INPUT_SIDE,
        patch_size=4,
        num_layers=6,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=192,
        num_classes=num_classes,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    return model


POCKET_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "pocket-resnet20": PocketResNet,
    "pocket-vgg": PocketVGG,
    "pocket-mobilenetv2": pocket_mobilenetv2,
    "pocket-vit": pocket_vit,
}
