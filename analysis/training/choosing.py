"""Choose the layers that train, and freeze the rest."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import nn

from analysis.errors import TrainingError
from analysis.instruments.activations import Trace, trace
from analysis.instruments.ledger import Ledger
from analysis.models.names import ADDED_HEAD
from analysis.options import PRESETS, RunOptions
from analysis.selection.ranking import layer_count, unranked_head
from analysis.selection.strategies import ALL_STRATEGIES, Evidence, chosen_layers, order_share
from analysis.system.devices import device_of, full_float32
from analysis.text import first_of
from analysis.topology.inputs import PreparedImages, load_split
from analysis.topology.pipeline import analyze_named
from analysis.training.freezing import (
    freeze,
    owner_of,
    parameters_of,
    trained_elements,
    trained_names,
)
from analysis.training.gradients import gradient_evidence
from analysis.training.metrics import GradientGap, Selection
from analysis.training.norms import norm_evidence
from analysis.training.optimizers import optimizer_name
from analysis.training.weights import weight_evidence

_ADDED = (
    f"This network has no classifier, so a new linear one, {ADDED_HEAD}, was put behind its output."
)
_RANDOM = (
    "This network is random even in evaluation mode: its accuracies hold only for the numbers "
    "that were drawn."
)


def choose(model: nn.Module, options: RunOptions) -> Selection:
    """Choose the layers that train, and freeze the rest.

    Parameters
    ----------
    model : nn.Module
        With its new head.
    options : RunOptions

    Returns
    -------
    Selection
        Without `predicted`.

    Raises
    ------
    TrainingError
        If nothing would train, or only the execution order would choose the layers.
    """
    started = time.perf_counter()
    images, traced = trace_images(model, options)
    chance = _RANDOM if traced.draws else ""
    added = ADDED_HEAD in dict(model.named_children())
    names = traced.names
    preset, strategy = PRESETS[options.preset], ALL_STRATEGIES[options.strategy]
    ranks_all = preset.ranks_head and strategy.scope == "layers"
    if traced.head.name is None and not ranks_all and strategy.scope != "everything":
        raise TrainingError(traced.head.reason)
    costed = gather_evidence(model, options, traced, images)
    seconds = time.perf_counter() - started + costed.seconds
    asked = options.strategy, costed.evidence
    chosen = chosen_layers(*asked, rho=options.rho, preset=options.preset)
    order = order_share(*asked, rho=options.rho, preset=options.preset)
    if order.alone:
        raise TrainingError(order.sentence)
    if (head := traced.head.name) and head not in names:
        names = [*names, head]  # its `forward` is called directly, so that no hook sees it run
    if unknown := set(options.also_train).difference(names):
        raise TrainingError(
            "`also_train` must name layers of the network; it has none called "
            f"{first_of(sorted(unknown))}."
        )
    chosen = list(dict.fromkeys([*options.also_train, *chosen]))
    trained = trained_names(model, strategy.scope, chosen, known=names)
    if strategy.scope == "norms-and-biases":
        chosen = [n for n in names if trained & set(parameters_of(model, [n], known=names))]
    if not trained:
        layers = len(names) - len(unranked_head(head, options.preset))
        raise TrainingError(
            f"Nothing would train: ρ = {options.rho:g} of {layers} layers rounds down to "
            f"{layer_count(layers, rho=options.rho, rounding=preset.rounding)} under the preset "
            f"“{options.preset}”. Raise ρ, or choose the preset “recommended”."
        )
    unranked = _unranked(costed.evidence) if strategy.needs == "gradients" else ""
    freeze(model, trained)
    trainable, total = trained_elements(model)
    return Selection(
        layers=tuple(chosen),
        trainable_parameters=trainable,
        total_parameters=total,
        seconds=seconds,
        peak_bytes=costed.peak_bytes,
        used_labels=strategy.uses_labels,
        used_gradients=strategy.needs == "gradients",
        optimizer=optimizer_name(model, options.recipe),
        note=" ".join(filter(None, (_ADDED if added else "", chance, unranked, order.sentence))),
        head=traced.head.name or "",
        inner=_inner_modules(trained, chosen) if strategy.scope in ("layers", "head") else (),
    )


def _unranked(evidence: Evidence) -> str:
    """Which layers cannot be ranked, as no gradient was seen there."""
    measured = evidence.measured
    assert measured is not None, "the strategy measures gradients"
    names = [str(name) for name in measured.index[measured.isna().all(axis=1)]]
    if not names:
        return ""
    return (
        f"No gradient reaches {first_of(names)}, so this strategy cannot choose "
        f"{'it' if len(names) == 1 else 'them'}."
    )


def trace_images(model: nn.Module, options: RunOptions) -> tuple[PreparedImages, Trace]:
    """The images by which layers are chosen, and what a pass of two of them shows."""
    drawn = load_split(options.analysis, "train").sample(
        options.analysis.samples, seed=options.analysis.seed
    )
    images = PreparedImages(options.analysis, drawn)
    added = ADDED_HEAD in dict(model.named_children())
    return images, trace(model, images[:2], head=ADDED_HEAD if added else options.analysis.head)


def _inner_modules(trained: set[str], layers: Collection[str]) -> tuple[str, ...]:
    """The modules that own trained parameters and are no layers themselves."""
    return tuple(sorted({owner_of(name) for name in trained}.difference(layers)))


def without_gradient(model: nn.Module, selection: Selection, gap: GradientGap) -> Selection:
    """The selection without the layers that get no gradient and so do not train."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    gone = {parameters[name] for name in gap.parameters}
    trains = {name for name, p in parameters.items() if p.requires_grad and p not in gone}
    kept: list[str] = []
    lost: list[str] = []
    for layer in selection.layers:
        own = parameters_of(model, [layer], known=selection.layers)
        (kept if trains.intersection(own) else lost).append(layer)
    others = (owner_of(name) or name for name in gap.parameters)
    owners = [o for o in dict.fromkeys(others) if not any(n.startswith(f"{o}.") for n in trains)]
    return replace(
        selection,
        layers=tuple(kept),
        trainable_parameters=selection.trainable_parameters - sum(p.numel() for p in gone),
        without_gradient=tuple(dict.fromkeys((*lost, *owners))),
        note=" ".join(filter(None, (selection.note, gap.why))),
    )


@dataclass(frozen=True)
class CostedEvidence:
    """What a strategy may use, and what it cost to obtain."""

    evidence: Evidence
    seconds: float  # spent earlier, on a saved analysis
    peak_bytes: int


def gather_evidence(
    model: nn.Module,
    options: RunOptions,
    traced: Trace,
    images: PreparedImages,
) -> CostedEvidence:
    """Obtain what the run's strategy needs; `traced` and `images` are of `trace_images`."""
    layers, names = traced.layers, traced.names
    strategy = ALL_STRATEGIES[options.strategy]
    needs, analysis = strategy.needs, options.analysis
    if strategy.uses_analysis:
        if strategy.before_shift:
            analysis = replace(analysis, shift="none")
        started = time.perf_counter()
        report = replace(analyze_named(analysis), head=traced.head.name)
        # A saved analysis took its time earlier.
        earlier = report.seconds - (time.perf_counter() - started)
        evidence = Evidence.of_report(
            report,
            normalization=options.normalization,
            seed=options.recipe.seed,
            summary=options.summary,
            min_persistence=options.min_persistence,
            persistence_unit=options.persistence_unit,
        )
        if strategy.uses_labels:
            drawn = load_split(analysis, analysis.split).sample(
                analysis.samples, seed=analysis.seed
            )
            evidence = replace(evidence, labels=drawn.labels)
        return CostedEvidence(evidence, max(0.0, earlier), report.peak_bytes)
    evidence = Evidence(
        layers=layers,
        sizes=[torch.Size(layer.shape).numel() for layer in layers],
        normalization=options.normalization,
        seed=options.recipe.seed,
        head=traced.head.name,
        summary=options.summary,
    )
    # All images at once only where they are needed: no memory was planned for them.
    batch = images[: len(images) if needs == "gradients" else 2].to(device_of(model))
    ledger, size = Ledger(model, batch=(batch,)), options.analysis.gradient_batch
    measured = None
    with full_float32(), ledger:
        if needs == "gradients":
            recipe = options.recipe if strategy.measure == "step" else None
            measured = gradient_evidence(
                model, batch, images.labels, names, batch_size=size, recipe=recipe
            )
        elif strategy.measure == "norms":
            measured = norm_evidence(model, images, names, batch_size=size)
        elif strategy.measure == "weights":
            measured = weight_evidence(model, names)
    evidence = replace(evidence, measured=measured)
    return CostedEvidence(evidence, 0.0, ledger.peak.total)
