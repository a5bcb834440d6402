"""What an analysis returns. Everything the pages show is computed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.options import LoopUnit, Pooling
from analysis.text import first_of, plural

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class InputFormat:
    """What is done to the images before a network gets them."""

    channels: int
    height: int  # pixels, as `width`
    width: int
    resize: tuple[int, int]  # what the image covers before its centre is cropped, (height, width)
    mean: tuple[float, ...]  # of each channel or of all, subtracted from values in [0, 1]
    std: tuple[float, ...]  # by which the difference is divided
    interpolation: str = "bilinear"
    padding: int = 0  # black pixels around the image, part of the size
    stretched: bool = False  # resized to exactly `resize`, whatever the shape of the image
    bordered: bool = False  # resized to fit into `resize`, with a border of the mean colour
    clipped: bool = False  # values beyond black and white are cut off, as bicubic makes them
    remark: str = ""  # a sentence or two for the user

    @property
    def brief(self) -> str:
        """The size and the colours."""
        colours = {1: "grey", 3: "RGB"}.get(self.channels, f"{self.channels} channels")
        return f"{self.width} × {self.height} pixels, {colours}"

    @property
    def text(self) -> str:
        """In words."""
        how = "stretched" if self.stretched else "fitted in" if self.bordered else "resized"
        covered = " × ".join(map(str, (self.resize[1], self.resize[0])))
        inner = self.height - 2 * self.padding, self.width - 2 * self.padding
        crop = "" if self.resize == inner else ", then the centre is cropped"
        frame = f", with {self.padding} black pixels around it" if self.padding else ""
        frame += ", with a border of the mean colour" if self.bordered else ""
        mean, std = (", ".join(f"{v:g}" for v in values) for values in (self.mean, self.std))
        return (
            f"{self.brief}: {how} to {covered} "
            f"({self.interpolation}){crop}{frame}; mean {mean}, std {std}."
        )


@dataclass(frozen=True, eq=False)
class Clustering:
    """DBSCAN of one layer's cloud."""

    labels: Integers  # (N,), -1 is noise
    eps: float  # in the units of the activations

    @property
    def count(self) -> int:
        return int(self.labels.max(initial=-1)) + 1

    @property
    def noise_share(self) -> float:
        return float((self.labels < 0).mean())


@dataclass(frozen=True, eq=False)
class LayerTopology:
    """One layer: what it is, and the shape of its activations.

    A layer whose activations hold NaN or infinite numbers has `finite` False, `b1` NaN, an
    empty diagram and no clustering.
    """

    name: str  # qualified, as in `model.named_modules()`
    kind: str  # the module's class name
    activation_shape: tuple[int, ...]  # of one image
    activation_size: int  # elements of the whole cloud, N · d
    parameters: int  # elements of its own tensors
    flops: int  # floating-point operations for one image, a multiply-add counted as two
    distances: Float32  # (N, N), Euclidean
    diagrams: tuple[Float32, ...]  # H₁: for each cloud, a (k, 2) array of births and deaths
    components: tuple[Float32, ...]  # H₀, in the same form; each last death is infinite
    b1: float  # H₁ intervals longer than the report's `min_persistence`, mean over clouds
    clustering: Clustering | None
    finite: bool = True
    # By which a distance may be wrong because activations are rounded; 0: too little to matter, or
    # unknown, as in older files. In float32, loops shorter than twice this are left out.
    rounding: float = 0.0
    b1_se: float = float("nan")  # standard error of `b1`; NaN: one cloud does not show it

    @property
    def within_rounding(self) -> bool:
        """Whether all points are one, but for the rounding."""
        return self.diameter <= 2 * self.rounding

    @property
    def diameter(self) -> float:
        """The largest distance; NaN if the layer is not finite."""
        return float(self.distances.max(initial=0))

    @property
    def diagram(self) -> Float32:
        """H₁ births and deaths, (k, 2), of all clouds together."""
        return np.concatenate([np.zeros((0, 2), np.float32), *self.diagrams])


def all_one_point(layers: Sequence[LayerTopology]) -> bool:
    """Whether no layer tells any two images apart.

    Where all points of one layer are the same, what others show within their rounding is no
    difference: a processor may add in another order for each image.
    """
    finite = [layer for layer in layers if layer.finite]
    within = all(layer.within_rounding for layer in finite)
    return within and any(layer.diameter == 0 for layer in finite)


class NamedLayer(Protocol):
    """What is known of a layer before its topology is computed."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def parameters(self) -> int: ...


def head_of(layers: Sequence[NamedLayer]) -> str | None:
    """The last layer to run, if it is linear or a convolution: the head in older files."""
    last = layers[-1] if layers else None
    return last.name if last and last.kind in {"Linear", "Conv2d"} else None


@dataclass(frozen=True)
class SavedAnalysis:
    """An analysis that the store has."""

    key: str  # its fingerprint
    notes: tuple[str, ...] = ()  # sentences for the user
    stored: bool = False  # whether it was there before it was asked for


@dataclass(frozen=True, eq=False)
class TopologyReport:
    """The layers of one model on one set of images, in execution order."""

    layers: tuple[LayerTopology, ...]
    samples: int  # images
    batch_size: int  # images
    pooling: Pooling
    min_persistence: float  # in `persistence_unit`
    seed: int
    seconds: float  # wall time of the analysis
    peak_bytes: int = 0  # live tensors at the peak of the forward pass, parameters included
    never_run: tuple[str, ...] = ()  # modules with parameters that the forward pass skipped
    outside: tuple[str, ...] = ()  # modules that ran, but whose output is not one point per image
    head: str | None = None  # the classifier: the layer whose output is what the network gives
    remarks: tuple[str, ...] = ()  # sentences for the user about the network, saved with the rest
    # (clouds, images of each), positions among the images; without rows in reports made by hand
    clouds: Integers = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    input_format: InputFormat | None = None  # None: unknown, as for images that were given ready
    notes: tuple[str, ...] = field(default=())  # sentences for the user, such as of a failed save
    stored: bool = False  # whether it was read from a file
    made: datetime | None = None  # when; older files do not say
    # "distance": the units of the activations; "diameter": share of each layer's largest distance
    persistence_unit: LoopUnit = "distance"

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    @property
    def not_finite(self) -> list[str]:
        return [layer.name for layer in self.layers if not layer.finite]

    def warnings(self) -> list[str]:
        """Sentences for the user about images that are alike, and layers without numbers."""
        sentences = [*self.remarks, *self._alike()]
        if self.input_format and self.input_format.remark:
            sentences.append(self.input_format.remark)
        if self.not_finite:
            layers = f"{len(self.not_finite)} of {plural(len(self.layers), 'layer')}"
            sentences.append(
                f"The activations of {layers} are not finite, so these have no topology: "
                f"{first_of(self.not_finite)}."
            )
        if self.never_run:
            sentences.append(
                f"Not analysed because the model did not run them: {first_of(self.never_run)}."
            )
        if self.outside:
            names = first_of(name or "(model)" for name in self.outside)
            sentences.append(
                f"Not analysed because their output is not one point per image: {names}."
            )
        return sentences

    def _alike(self) -> list[str]:
        """Say which images, and in which layers all of them, have the distance 0."""
        clouds = {layer.name: layer.distances == 0 for layer in self.layers if layer.finite}
        if not clouds:
            return []
        same = np.logical_and.reduce(list(clouds.values()))
        if all_one_point(self.layers):
            return [
                f"All {self.samples} images are the same to this network, so no layer has a loop. "
                "Choose images that differ."
            ]
        sentences = []
        if repeats := int(np.tril(same, -1).any(axis=1).sum()):
            sentences.append(
                f"{repeats} of the {self.samples} images {'is' if repeats == 1 else 'are'} the "
                "same as another one to this network, and so no further point."
            )
        if flat := [name for name, zero in clouds.items() if zero.all()]:
            sentences.append(
                f"All images are one point in {len(flat)} of {plural(len(self.layers), 'layer')}: "
                f"{first_of(flat)}."
            )
        return sentences

    @property
    def stored_text(self) -> str:
        """That it is a stored analysis, and from when; empty if it was just computed."""
        if not self.stored:
            return ""
        made = f"on {self.made:%Y-%m-%d at %H:%M}" if self.made else "by an older version"
        return f"Stored analysis, made {made}."

    def shortest_loop(self, layer: LayerTopology) -> float:
        """`min_persistence` in the distances of a layer: longer loops count."""
        share = self.persistence_unit == "diameter"
        return self.min_persistence * (layer.diameter if share else 1)

    def layer(self, name: str) -> LayerTopology:
        return next(layer for layer in self.layers if layer.name == name)

    def to_frame(self) -> pd.DataFrame:
        """One row per layer, in execution order.

        Returns
        -------
        DataFrame
            layer, kind, b1, b1_se (its standard error), clusters, noise_share, activation_size
            (elements, N · d), parameters (elements), flops (one image), activation_shape, finite.
            Where a layer is not finite, b1, clusters and noise_share are missing. With one cloud,
            b1_se is.
        """
        import pandas as pd

        clusterings = [layer.clustering for layer in self.layers]
        counts = [c.count if c else None for c in clusterings]
        return pd.DataFrame(
            {
                "layer": self.names,
                "kind": [layer.kind for layer in self.layers],
                "b1": [layer.b1 for layer in self.layers],
                "b1_se": [layer.b1_se for layer in self.layers],
                "clusters": pd.array(counts, dtype="Int64"),
                "noise_share": [c.noise_share if c else float("nan") for c in clusterings],
                "activation_size": [layer.activation_size for layer in self.layers],
                "parameters": [layer.parameters for layer in self.layers],
                "flops": [layer.flops for layer in self.layers],
                "activation_shape": [layer.activation_shape for layer in self.layers],
                "finite": [layer.finite for layer in self.layers],
            }
        )
