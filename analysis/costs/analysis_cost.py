"""The time and memory of an analysis on this machine, predicted in advance without torch.

A worker probes a model once (`analysis.costs.probing`). It returns a few numbers, from which the
cost of any number of images follows at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from analysis.datasets import dataset_spec, is_fetched
from analysis.errors import ModelError
from analysis.jobs.estimates import Question
from analysis.models import megabytes_to_fetch as weights_to_fetch
from analysis.models import model_spec
from analysis.options import AnalysisOptions
from analysis.text import gigabytes
from analysis.topology.passes import HELD_BYTES, PARALLEL_FROM, Budget, Footprint, Plan, plan_passes

# A pocket model's analysis takes seconds with up to so many images in all and in each cloud, and
# clouds. Ripser's time grows with the cloud.
QUICK, QUICK_CLOUD, QUICK_CLOUDS = 400, 200, 200
_CALL = 2e-4  # seconds of a call of Ripser, whatever its number of points
_START_RIPSER = 2.0  # seconds to start its processes, if there are several
# Large activations are in fresh memory and in no cache, unlike those of a probe's few images:
# ResNet50 and MobileNetV2 with 40 images took 1.35 to 1.5 times what their probes predicted.
_UNSEEN = 1.35
_RIPSER_GROWTH = 2.5  # exponent of the images, measured from 100 to 1,000 points of noise


@dataclass(frozen=True)
class Probe:
    """The measurements of a model on this machine from which its costs follow."""

    footprint: Footprint
    input_bytes: int  # of one image in the model's input format
    held_bytes: int  # without images: of the process, including the weights, or on the GPU
    free: Budget  # most of the memory that was free then
    trace_seconds: float  # once per analysis
    image_seconds: float  # forward, per image of each pass
    # Distances, per image of a pass and per pair of them.
    distance_seconds: float
    pair_seconds: float
    layer_seconds: float  # distances of a small layer, Ripser and DBSCAN on few points
    ripser_points: int
    ripser_seconds: float  # Ripser on so many points, besides `layer_seconds`


@dataclass(frozen=True)
class CostRequest(Question[Probe]):
    """Asks a worker to probe a model; the number of images does not matter."""

    kept_for: ClassVar[float] = 300.0  # seconds: free memory changes

    options: AnalysisOptions

    def __post_init__(self) -> None:
        # Without the fields that play no part, so that one model is not probed twice.
        options = self.options
        rest = AnalysisOptions(
            model=options.model,
            # Random weights take the images as the pre-trained ones do.
            weights="pretrained" if options.weights == "random" else options.weights,
            input_side=options.input_side,
            precision=options.precision,
            device=options.device,
        )
        object.__setattr__(self, "options", rest)


@dataclass(frozen=True)
class AnalysisCost:
    """The cost of an analysis that starts now."""

    # From the first layer to the last diagram, as in a report: without loading and downloading
    # data and weights.
    seconds: float
    peak_bytes: int  # of the process, including its libraries; on a GPU, of the GPU's memory
    passes: int
    fits: bool
    suggestion: str  # for the user; may be empty


def megabytes_to_fetch(options: AnalysisOptions) -> float:
    """The size of the weights and images that an analysis must download first.

    Raises
    ------
    OptionError
        If the model or the dataset is unknown.
    """
    images = 0 if is_fetched(options.dataset) else dataset_spec(options.dataset).megabytes
    return images + weights_to_fetch(options.model, options.weights)


def is_quick(options: AnalysisOptions) -> bool:
    """Whether an analysis takes seconds and downloads nothing, so that it needs no question."""
    return (
        model_spec(options.model).source == "pocket"
        and options.samples <= QUICK
        and options.cloud_images <= QUICK_CLOUD
        and options.clouds <= QUICK_CLOUDS
        and not options.input_side
        and not options.memory
        and not megabytes_to_fetch(options)
    )


def analysis_cost(probe: Probe, options: AnalysisOptions) -> AnalysisCost:
    """The cost of an analysis, from the probe of its model.

    Parameters
    ----------
    probe : Probe
        Of a `CostRequest` with these options.
    options : AnalysisOptions

    Returns
    -------
    AnalysisCost
        If it does not fit, with the time of a single pass and the least memory that would do.
    """
    samples, footprint = options.samples, replace(probe.footprint, cloud=options.cloud_images)
    whole, budget = _budget(probe, options, samples)
    try:
        if options.memory and budget.device <= 0:
            raise ModelError(
                f"The memory limit is {gigabytes(whole)}, but the program, the weights and the "
                f"images alone take {gigabytes(whole - budget.device)}: raise the limit."
            )
        plan = plan_passes(samples, footprint, budget)
        fits, suggestion = True, _faster_advice(plan, footprint.most_at_once(budget))
        taken = footprint.peak(samples, plan.largest, budget)
    except ModelError as error:
        plan, fits, suggestion = Plan(samples), False, str(error)
        taken = footprint.peak(samples, 2, budget)
    return AnalysisCost(
        seconds=_seconds(probe, plan, options),
        peak_bytes=whole - budget.device + taken,
        passes=plan.passes,
        fits=fits,
        suggestion=suggestion,
    )


def _budget(probe: Probe, options: AnalysisOptions, samples: int) -> tuple[int, Budget]:
    """Bytes that the process or the GPU may hold in all, and those left to the analysis."""
    held = probe.held_bytes
    whole = options.memory or held + probe.free.device
    if probe.free.host is None:
        images = samples * probe.input_bytes
        held += images if images <= HELD_BYTES else 0
    return whole, Budget(whole - held, probe.free.host)


def _seconds(probe: Probe, plan: Plan, options: AnalysisOptions) -> float:
    layers = probe.footprint.layers
    forward = plan.images * (probe.image_seconds + probe.distance_seconds)
    distances = plan.pairs * probe.pair_seconds
    growth = math.pow(options.cloud_images / probe.ripser_points, _RIPSER_GROWTH)
    clouds = options.clouds * probe.ripser_seconds * growth + (options.clouds - 1) * _CALL
    topology = layers * (probe.layer_seconds + clouds)
    if options.cloud_images >= PARALLEL_FROM and probe.footprint.processes > 1:
        topology = _START_RIPSER + topology / probe.footprint.processes
    return probe.trace_seconds + _UNSEEN * (forward + distances) + topology


def _faster_advice(plan: Plan, at_once: int) -> str:
    if plan.passes == 1:
        return ""
    return (
        f"The {plan.samples} images need {plan.passes} passes, {plan.blocks - 1} times the work of "
        f"one. At most {at_once} fit into one pass: fewer samples or a smaller input side would "
        "be faster."
    )
