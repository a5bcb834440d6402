"""Reports, clouds and training data with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from analysis.results import Float32, LayerTopology, TopologyReport, head_of
from analysis.selection.ranking import ranking
from analysis.topology.clustering import dbscan
from analysis.topology.persistence import persistence
from analysis.topology.resummarize import resummarize

POCKET = ["pocket-resnet20", "pocket-vgg", "pocket-mobilenetv2", "pocket-vit"]


def distances_of(points: np.ndarray) -> Float32:
    return squareform(pdist(np.asarray(points, dtype=np.float64))).astype(np.float32)


def circle(count: int, *, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + noise * np.random.default_rng(seed).normal(size=points.shape)


def blobs(count: int, groups: int = 2, *, dimensions: int = 10, seed: int = 0) -> np.ndarray:
    """`count` points around each of `groups` centres that lie far apart."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(count, dimensions)) + 30 * g for g in range(groups)])


def layer(
    name: str,
    points: np.ndarray | None = None,
    *,
    kind: str = "Conv2d",
    width: int = 10,
    parameters: int = 100,
    flops: int = 1000,
) -> LayerTopology:
    """A layer whose cloud is `points`; without points it is not finite."""
    samples = 20 if points is None else len(points)
    if points is None:
        missing = np.full((samples, samples), np.nan, np.float32)
        return LayerTopology(
            name, kind, (width,), samples * width, parameters, flops, missing, (), (),
            float("nan"), None, finite=False,
        )  # fmt: skip
    distances = distances_of(points)
    components, loops = persistence(distances)
    return LayerTopology(
        name, kind, (width,), samples * width, parameters, flops, distances, (loops,),
        (components,), float(len(loops)), dbscan(distances),
    )  # fmt: skip


def report(*layers: LayerTopology) -> TopologyReport:
    return TopologyReport(
        layers=layers,
        samples=len(layers[0].distances),
        batch_size=8,
        pooling="pooled",
        min_persistence=0.0,
        seed=0,
        seconds=0.1,
        head=head_of(layers),
    )


class Drawn:
    """Labelled images that record which of them each batch held."""

    def __init__(self, tensor: Tensor, labels: Tensor) -> None:
        self.tensor, self.labels = tensor, labels
        self.batches: list[Tensor] = []

    def images(self, indices: Tensor) -> Tensor:
        self.batches.append(indices.clone())
        return self.tensor[indices]


def two_classes(count: int, *, shape: tuple[int, ...] = (6,), seed: int = 0) -> Drawn:
    """Gaussian images of two classes; the class shifts every pixel."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    tensor = torch.randn(count, *shape, generator=generator)
    return Drawn(tensor + labels.view(-1, *[1] * len(shape)) - 0.5, labels)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same bytes: NaN equals NaN, and 0 differs from -0."""
    return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


def hooks_left(model: nn.Module) -> list[str]:
    """The hooks and modes that a tracker failed to remove."""
    left = [name for name, p in model.named_parameters() if p._post_accumulate_grad_hooks]
    left += [name for name, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    if _get_current_dispatch_mode() is not None:
        left.append("a dispatch mode")
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
        left.append("hooks of saved tensors")
    return left


def deep_report(layers: int = 107, *, samples: int = 40, seed: int = 0) -> TopologyReport:
    """As many layers as ResNet50 has, as wide and with as many parameters, on random clouds."""
    rng = np.random.default_rng(seed)
    made = []
    for place in range(layers - 1):
        stage = 4 * place // layers
        norm = place % 2 == 1
        channels = (64, 128, 256, 512)[stage] * (1 if place % 6 < 4 else 4)
        made.append(
            layer(
                f"layer{stage + 1}.{place // 6}.{'bn' if norm else 'conv'}{place % 6 // 2 + 1}",
                rng.normal(size=(samples, 3 + place % 11)),
                kind="BatchNorm2d" if norm else "Conv2d",
                width=channels * (56 >> stage) ** 2,
                parameters=2 * channels if norm else channels * (64 << stage),
                flops=channels * (56 >> stage) ** 2 * (2 if norm else 64 << stage),
            )
        )
    head = layer("fc", rng.normal(size=(samples, 10)), kind="Linear", width=10, parameters=20490)
    return report(*made, head)


def choices_by_draw(report: TopologyReport, **how: str | float) -> list[set[str]]:
    """What each draw of images chooses by its own loops alone."""
    chosen = []
    for number in range(len(report.clouds)):
        layers = tuple(replace(each, diagrams=(each.diagrams[number],)) for each in report.layers)
        own = resummarize(replace(report, layers=layers, clouds=report.clouds[[number]]))
        rows = ranking(own, **how)  # type: ignore[arg-type]
        chosen.append(set(rows.loc[rows["selected"], "layer"]))
    return chosen
