"""From a model and images to activations, distances, topology and clusters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from analysis.errors import (
    AnalysisError,
    OptionError,
    StoreError,
    choice_problem,
    raise_problems,
)
from analysis.instruments.activations import LayerInfo
from analysis.instruments.behaviour import fill_lazy_layers, seeded
from analysis.instruments.wrappers import check_network, unwrapped
from analysis.models import learn_code, load_model
from analysis.models.names import TIMM
from analysis.options import (
    MIN_SAMPLES,
    POOLINGS,
    PRECISIONS,
    AnalysisOptions,
    Pooling,
    Precision,
    option_problems,
)
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float32, Integers, LayerTopology, TopologyReport
from analysis.system.devices import device_of, full_float32, pick_device
from analysis.system.memory import free_cache
from analysis.text import gigabytes
from analysis.topology.clustering import dbscan
from analysis.topology.footprints import ImageBlocks, held_bytes
from analysis.topology.inputs import format_of, load_split, plain_sentence, prepare_inputs
from analysis.topology.observed_passes import PassOptions, observe_and_measure
from analysis.topology.persistence import persistences
from analysis.topology.rounding import without_rounding
from analysis.topology.rounding_error import coarse_format, layer_errors, rounding_sentences
from analysis.topology.store import fingerprint, load_analysis, save_analysis
from analysis.topology.subsets import images_of_clouds, with_errors
from analysis.topology.summaries import average


@dataclass(frozen=True)
class _CloudOptions:
    samples: int
    clouds: Integers
    min_persistence: float
    errors: dict[str, float]  # of the distances in each layer, because activations are rounded
    coarse: str  # the 16-bit format of the activations; or ""


def analyze(
    model: nn.Module,
    images: Tensor | ImageBlocks,
    *,
    batch_size: int = 8,
    pooling: Pooling = "pooled",
    subsets: int = AnalysisOptions.subsets,
    min_persistence: float = 0.0,
    seed: int = 0,
    memory: int = 0,
    precision: Precision = "float32",
    head: str = "",
    progress: ProgressCallback | None = None,
) -> TopologyReport:
    """Compute the topology of every layer's activations (AdaBet §4.2).

    All images go through the model in one pass or, if that would need too much memory, in one
    pass per pair of blocks of them. The distances are the same.

    Parameters
    ----------
    model : nn.Module
        On any device; left as it was, but lazy layers get their parameters. A wrapper such as
        `torch.compile` is looked through: layers have their names inside it.
    images : Tensor (N, C, H, W), floating, or ImageBlocks
        Already preprocessed for the model; N >= 4. Other shapes that the model accepts are fine.
        Only the images of one pass at a time are moved to the model's device.
    batch_size : int
        Images per batch or subset. It sets the clouds of "per-batch" and "subsets"; the numbers of
        "pooled" do not depend on it.
    pooling : {"pooled", "per-batch", "subsets"}
        One cloud of all N images, or one per full batch, or one per random subset, with b₁
        averaged over them.
    subsets : int
        How many random subsets there are, if `pooling` asks for them.
    min_persistence : float
        Shorter loops are not counted in b₁; in the units of the activations.
    seed : int
        The seed with which the images were drawn, for the report; it also decides the subsets.
    memory : int
        Bytes that the analysis may take on the model's device beyond those held now; 0: most of
        the free ones.
    precision : {"float32", "bfloat16", "float16"}
        Of the activations; torch's autocast gives the two half precisions. Their distances are
        computed in float32 and float64 nevertheless.
    head : str
        The layer that gives the classes, or "none"; "" finds it by what the model gives.
    progress : callable (Progress), optional
        Called when a forward pass reaches a layer, and when its topology is computed. An error
        that it raises ends the analysis and is passed on.

    Returns
    -------
    TopologyReport

    Raises
    ------
    OptionError
        Naming every parameter that is out of range.
    ModelError
        If the model cannot run on the images, has no layer, or needs too much memory.
    """
    _check(images, batch_size, pooling, subsets, min_persistence, memory, precision)
    images_of = images_of_clouds(
        len(images), pooling=pooling, batch_size=batch_size, subsets=subsets, seed=seed
    )
    started = time.perf_counter()
    model = unwrapped(model)
    check_network(model)
    device = device_of(model)
    with seeded(seed, device):
        fill_lazy_layers(model, images[:2])
    passes = PassOptions(
        seed, precision, head, memory, images_of.shape[1], partial(_reporter, progress)
    )
    with full_float32():
        behaviour, traced, plan, clouds = observe_and_measure(model, images, passes)
        with seeded(seed, device):
            errors = layer_errors(
                model, images, clouds, plan, precision=precision, behaviour=behaviour
            )
    infos = {layer.name: layer for layer in traced.layers}
    report_step = _reporter(progress, len(infos), plan.passes)
    coarse = coarse_format(model, precision)
    options = _CloudOptions(len(images), images_of, min_persistence, errors, coarse)
    measured = [info for info in traced.layers if info.name in clouds.distances]
    layers: list[LayerTopology] = []
    left_out: set[str] = set()
    for layer in _topologies(measured, clouds.distances, options, left_out):
        report_step("Topology", plan.passes * len(infos) + len(layers), layer.name)
        layers.append(layer)
    ran = (*clouds.distances, *clouds.outside)
    report = TopologyReport(
        layers=tuple(layers),
        samples=len(images),
        batch_size=batch_size,
        pooling=pooling,
        clouds=images_of,
        min_persistence=min_persistence,
        seed=seed,
        seconds=time.perf_counter() - started,
        peak_bytes=clouds.peak_bytes,
        never_run=(*traced.never_run, *(n for n in infos if n not in ran)),
        outside=(*traced.outside, *clouds.outside),
        head=traced.head.name,
        remarks=tuple(
            filter(
                None,
                (
                    *behaviour.sentences(),
                    *rounding_sentences(layers, coarse, left_out),
                    traced.head.reason,
                ),
            )
        ),
    )
    return with_errors(report)


def analyze_named(
    options: AnalysisOptions, *, key: str = "", progress: ProgressCallback | None = None
) -> TopologyReport:
    """Analyse a model and dataset by name: load the analysis, or compute and save it.

    Parameters
    ----------
    options : AnalysisOptions
        Its `memory` is a budget for the whole process, or for all that is on the GPU.
    key : str
        The options' `fingerprint`, from a caller that has it; by default it is computed.
    progress : callable (Progress), optional
        As for `analyze`, and while data or weights are downloaded; not called when the store has
        the analysis.

    Returns
    -------
    TopologyReport
        Its `notes` say whether a saved file was damaged or this one could not be saved.

    Raises
    ------
    OptionError, AssetError, ModelError
        With a sentence for the user.
    """
    notes = []
    if not key:
        learn_code(options.model, options.seed)
        key = fingerprint(options)
    try:
        saved = load_analysis(key)
        if saved is not None and _is_prepared_as_now(saved, options):
            return _with_input_format(saved, options)
    except StoreError as error:
        notes.append(str(error))
    device = pick_device(options.device)
    try:
        report = _compute(options, device, progress)
    finally:
        free_cache(device)
    report = replace(report, made=datetime.now().astimezone())
    notes += _save(options, key, report)
    return replace(report, notes=tuple(notes))


run = analyze_named  # the older name, for scripts; everywhere else a Run is a fine-tune


def _compute(
    options: AnalysisOptions, device: torch.device, progress: ProgressCallback | None
) -> TopologyReport:
    data = load_split(options, options.split, progress)
    drawn = data.sample(options.samples, seed=options.seed)
    model = load_network(options, device, progress)
    plain: set[int] = set()
    images = prepare_inputs(options, drawn, plain)
    report = analyze(
        model,
        images,
        batch_size=options.batch_size,
        pooling=options.pooling,
        subsets=options.subsets,
        seed=options.seed,
        memory=memory_left(options.memory, device),
        precision=options.precision,
        head=options.head,
        progress=progress,
    )
    remarks = tuple(filter(None, (*report.remarks, plain_sentence(len(plain), len(drawn)))))
    return replace(report, input_format=format_of(options), remarks=remarks)


def load_network(
    options: AnalysisOptions, device: torch.device, progress: ProgressCallback | None = None
) -> nn.Module:
    """The network of an analysis, on a device."""
    return load_model(
        options.model,
        weights=options.weights,
        weights_key=options.weights_key,
        head=options.head,
        seed=options.seed,
        progress=progress,
    ).to(device)


def _is_prepared_as_now(saved: TopologyReport, options: AnalysisOptions) -> bool:
    """Whether an analysis had its images prepared as they would be now.

    Files without an input format are of versions that cropped the images of timm's networks for
    which it says "squash".
    """
    if not options.model.startswith(TIMM):
        return True
    try:
        now = format_of(options)
    except AnalysisError:  # of another version of timm, say: then nothing is known
        return True
    before = saved.input_format
    if before is None:
        return not (now.stretched or now.bordered or now.clipped)
    return replace(before, remark=now.remark) == now


def _with_input_format(saved: TopologyReport, options: AnalysisOptions) -> TopologyReport:
    """Older files do not say what was done to the images, which the key makes sure of."""
    with suppress(AnalysisError):
        return replace(saved, input_format=saved.input_format or format_of(options))
    return saved


def _save(options: AnalysisOptions, key: str, report: TopologyReport) -> list[str]:
    """Save the report unless its files have changed; return why it was not saved, if so."""
    try:
        if fingerprint(options) == key:
            save_analysis(key, report)
            return []
    except StoreError as error:
        return [str(error)]
    except AnalysisError:  # such as a folder that no longer exists
        pass
    return [
        "The images, the weights or the code changed during the analysis, so it was not saved: "
        "analyse again."
    ]


def memory_left(memory: int, device: torch.device) -> int:
    """The bytes of a budget for the whole process that are left to the analysis."""
    if not memory:
        return 0
    held = held_bytes(device)
    if memory <= held:
        raise OptionError(
            f"`memory` must be more than the {gigabytes(held)} that the program, the weights and "
            f"the images take before the analysis starts, got {gigabytes(memory)}"
        )
    return memory - held


def _check(
    images: Tensor | ImageBlocks,
    batch_size: int,
    pooling: str,
    subsets: int,
    min_persistence: float,
    memory: int,
    precision: str,
) -> None:
    few = images[:2] if hasattr(images, "__getitem__") else images
    if not isinstance(few, Tensor) or not few.is_floating_point() or few.dim() < 2:
        value = type(images).__name__
        if isinstance(images, Tensor):
            value = f"{images.dtype} {tuple(images.shape)}"
        raise OptionError(f"`images` must be a floating tensor (N, C, H, W), got {value}")
    problems = choice_problem("pooling", pooling, POOLINGS)
    problems += choice_problem("precision", precision, PRECISIONS)
    if memory < 0:
        problems.append(f"`memory` must be at least 0, got {memory}")
    if len(images) < MIN_SAMPLES:
        problems.append(f"`images` must hold at least {MIN_SAMPLES} images, got {len(images)}")
    if batch_size < 1:
        problems.append(f"`batch_size` must be at least 1, got {batch_size}")
    elif pooling == "per-batch" and not MIN_SAMPLES <= batch_size <= len(images):
        problems.append(
            f"`batch_size` must be from {MIN_SAMPLES} to the number of images ({len(images)}) "
            f"when `pooling` is 'per-batch', got {batch_size}"
        )
    elif pooling == "subsets" and batch_size < MIN_SAMPLES:
        problems.append(
            f"`batch_size` must be at least {MIN_SAMPLES} when `pooling` is 'subsets', got "
            f"{batch_size}"
        )
    problems += option_problems(AnalysisOptions, {"subsets": subsets})
    if not min_persistence >= 0:
        problems.append(f"`min_persistence` must be at least 0, got {min_persistence:g}")
    raise_problems(problems)


def _reporter(
    progress: ProgressCallback | None, layers: int, passes: int
) -> Callable[[str, int, str], None]:
    def report_step(stage: str, done: int, layer: str) -> None:
        if progress is not None:
            progress(Progress(stage, layer, done, total=(passes + 1) * layers, layers=layers))

    return report_step


def _topologies(
    infos: list[LayerInfo],
    distances: dict[str, Float32 | None],
    options: _CloudOptions,
    left_out: set[str],
) -> Iterator[LayerTopology]:
    """The layers; the names of those with loops no longer than rounding go to `left_out`."""
    finite = [matrix for info in infos if (matrix := distances[info.name]) is not None]
    count, points = options.clouds.shape
    within = (matrix[np.ix_(rows, rows)] for matrix in finite for rows in options.clouds)
    results = persistences(within, count=count * len(finite), points=points)
    for info in infos:
        matrix = distances[info.name]
        pairs = list(islice(results, 0 if matrix is None else count))
        error = options.errors.get(info.name, 0.0)
        certain = 0.0 if options.coarse else error
        loops = tuple(without_rounding(loops, certain) for _, loops in pairs)
        if sum(map(len, loops)) < sum(len(every) for _, every in pairs):
            left_out.add(info.name)
        yield LayerTopology(
            name=info.name,
            kind=info.kind,
            activation_shape=info.shape,
            activation_size=options.samples * math.prod(info.shape),
            parameters=info.parameters,
            flops=info.flops,
            distances=_no_distances(options.samples) if matrix is None else matrix,
            diagrams=loops,
            components=tuple(components for components, _ in pairs),
            b1=average(loops, "b1", options.min_persistence) if loops else math.nan,
            clustering=None if matrix is None else dbscan(matrix),
            finite=matrix is not None,
            rounding=error,
        )


def _no_distances(samples: int) -> Float32:
    return np.full((samples, samples), np.nan, np.float32)
