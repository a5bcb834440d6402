"""Images of which a growing share is shifted, from one pass over both versions of each image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.errors import OptionError, StoreError
from analysis.models import learn_code
from analysis.options import AnalysisOptions
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float32, Integers, LayerTopology, SavedAnalysis, TopologyReport
from analysis.topology.persistence import persistences
from analysis.topology.rounding import without_rounding
from analysis.topology.store import fingerprint, is_saved, load_analysis, save_analysis
from analysis.topology.subsets import images_of_clouds
from analysis.topology.summaries import average

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.topology.footprints import ImageBlocks

STEPS = 11  # from 0 to 100 % of the images
_VERSION = 1  # raise it whenever the same options would give other numbers


@dataclass(frozen=True)
class MixtureRequest:
    """Mix the images of an analysis with their shifted versions, or find the mixtures.

    Raises
    ------
    OptionError
        If the options have no shift.
    """

    options: AnalysisOptions  # with the shift

    def __post_init__(self) -> None:
        if self.options.shift == "none":
            raise OptionError("`shift` must be a shift, got 'none': choose one of the others")

    @property
    def clean(self) -> AnalysisOptions:
        """The analysis of the images without the shift."""
        return replace(self.options, shift="none", severity=AnalysisOptions.severity)


def mixture_key(shifted: str) -> str:
    """The store's key of the mixtures; `shifted` is the fingerprint of the shifted analysis."""
    facts = f"mixtures {_VERSION} {STEPS} {shifted}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def mixed_images(samples: int, seed: int) -> Integers:
    """The images of each mixture, (STEPS, samples): positions among the clean and shifted ones.

    Image i is i if it is clean, and `samples` + i if it is shifted. One that is shifted is so in
    all later mixtures.
    """
    order = np.random.default_rng(seed).permutation(samples)
    images = np.tile(np.arange(samples, dtype=np.int64), (STEPS, 1))
    for step, row in enumerate(images):
        row[order[: round(step * samples / (STEPS - 1))]] += samples
    return images


def save_mixtures(
    request: MixtureRequest, *, progress: ProgressCallback | None = None
) -> SavedAnalysis:
    """Mix the images at every share, and save what comes out; nothing if it is saved.

    One forward pass takes the images and their shifted versions. Each mixture's distances are part
    of those, and its clouds are those of the analysis with the images replaced.

    Parameters
    ----------
    request : MixtureRequest
    progress : callable (Progress), optional
        As for `pipeline.analyze`.

    Raises
    ------
    OptionError, AssetError, ModelError
        As `pipeline.analyze_named` does.
    StoreError
        If it cannot be saved.
    """
    learn_code(request.options.model, request.options.seed)
    key = mixture_key(fingerprint(request.options))
    if is_saved(key):
        return SavedAnalysis(key, stored=True)
    both = _analyze_both(request, progress)
    clouds = _clouds(request.options)
    layers = []
    for number, layer in enumerate(both.layers):
        if progress is not None:
            progress(Progress("Mixing", layer.name, number, len(both.layers)))
        layers.append(_with_clouds(layer, clouds, exact=request.options.precision == "float32"))
    if mixture_key(fingerprint(request.options)) != key:
        raise StoreError("The images, the weights or the code changed meanwhile. Mix them again.")
    save_analysis(key, replace(both, layers=tuple(layers), clouds=clouds, pooling="subsets"))
    return SavedAnalysis(key)


def load_mixtures(request: MixtureRequest, key: str) -> tuple[TopologyReport, ...] | None:
    """A report for each share of shifted images; None if they were never made.

    Parameters
    ----------
    request : MixtureRequest
    key : str
        Its `mixture_key`.

    Raises
    ------
    StoreError
        If the file is damaged or cannot be read.
    """
    both = load_analysis(key)
    if both is None:
        return None
    options = request.options
    count = len(both.clouds) // STEPS
    own = _own_clouds(options)
    images = mixed_images(options.samples, options.seed)

    def layer_of(layer: LayerTopology, step: int) -> LayerTopology:
        chosen = images[step]
        diagrams = layer.diagrams[step * count : (step + 1) * count] if layer.finite else ()
        return replace(
            layer,
            activation_size=layer.activation_size // 2,
            distances=layer.distances[np.ix_(chosen, chosen)],
            diagrams=diagrams,
            components=(),
            b1=average(diagrams, "b1") if layer.finite else float("nan"),
            b1_se=float("nan"),
        )

    return tuple(
        replace(
            both,
            samples=options.samples,
            batch_size=options.batch_size,
            pooling=options.pooling,
            clouds=own,
            layers=tuple(layer_of(layer, step) for layer in both.layers),
        )
        for step in range(STEPS)
    )


class _Both:
    """The clean images, then the shifted ones, prepared block by block."""

    def __init__(self, parts: Sequence[Tensor | ImageBlocks]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __getitem__(self, rows: slice, /) -> Tensor:
        import torch

        size = len(self._parts[0])
        start, stop, _ = rows.indices(len(self))
        blocks = [self._parts[0][start:stop]] if start < size else []
        if stop > size:
            blocks.append(self._parts[1][max(0, start - size) : stop - size])
        return torch.cat(blocks)


def _analyze_both(request: MixtureRequest, progress: ProgressCallback | None) -> TopologyReport:
    """The analysis of the images and their shifted versions, with a single small cloud."""
    # torch is slow to import
    from analysis.system.devices import full_float32, pick_device
    from analysis.system.memory import free_cache
    from analysis.topology.inputs import load_split, prepare_inputs
    from analysis.topology.pipeline import analyze, load_network, memory_left

    options, device = request.options, pick_device(request.options.device)
    try:
        parts = [
            prepare_inputs(
                options,
                load_split(each, each.split, progress).sample(each.samples, seed=each.seed),
            )
            for each in (request.clean, options)
        ]
        model = load_network(options, device, progress)
        with full_float32():
            return analyze(
                model,
                _Both(parts),
                batch_size=options.cloud_images,
                pooling="subsets",
                subsets=1,
                seed=options.seed,
                memory=memory_left(options.memory, device),
                precision=options.precision,
                head=options.head,
                progress=progress,
            )
    finally:
        free_cache(device)


def _own_clouds(options: AnalysisOptions) -> Integers:
    return images_of_clouds(
        options.samples,
        pooling=options.pooling,
        batch_size=options.batch_size,
        subsets=options.subsets,
        seed=options.seed,
    )


def _clouds(options: AnalysisOptions) -> Integers:
    """The clouds of all mixtures, one after the other, as positions among clean and shifted."""
    own = _own_clouds(options)
    images = mixed_images(options.samples, options.seed)
    return np.sort(np.concatenate([mixture[own] for mixture in images]), axis=1)


def _with_clouds(layer: LayerTopology, clouds: Integers, *, exact: bool) -> LayerTopology:
    """The layer with the loops of these clouds, counted as those of an analysis are."""
    if not layer.finite:
        return layer
    parts = (_part(layer.distances, cloud) for cloud in clouds)
    made = persistences(parts, count=len(clouds), points=clouds.shape[1])
    error = layer.rounding if exact else 0.0
    loops = tuple(without_rounding(loops, error) for _, loops in made)
    return replace(layer, diagrams=loops, components=(), b1=average(loops, "b1"))


def _part(distances: Float32, images: Integers) -> Float32:
    part: Float32 = distances[np.ix_(images, images)]
    return part
