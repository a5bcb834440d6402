"""One fine-tune by names: model, data and strategy to metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from analysis.activations import LayerInfo, trace
from analysis.datasets import SHIFTS, ImageDataset, dataset_problem, dataset_spec, load_dataset
from analysis.devices import device_problem, free_cache, full_float32, pick_device
from analysis.errors import AnalysisError, StoreError, TrainingError, choice_problem, raise_problems
from analysis.freezing import freeze, parameters_of, trained_elements, trained_names
from analysis.gradients import gradient_evidence
from analysis.home_folder import replacing
from analysis.memory import Ledger
from analysis.metrics import MemoryUse, Metric, Selection
from analysis.models import (
    load_model,
    model_problem,
    weights_fingerprint,
    weights_problem,
)
from analysis.optimizers import optimizer_name
from analysis.options import PRESETS, RunOptions, Split
from analysis.pipeline import run
from analysis.prediction import predict_peak
from analysis.prepared import PreparedImages, prepared
from analysis.reading import reread
from analysis.results import head_of
from analysis.scores import NORMALIZATIONS
from analysis.selection import layer_count
from analysis.strategies import STRATEGIES, Evidence, chosen_layers
from analysis.summaries import SUMMARIES
from analysis.training_loop import TensorImages, device_of, finetune


class Training:
    """A fine-tune to iterate over once: a Selection first, then what `finetune` yields.

    Parameters
    ----------
    options : RunOptions

    Raises
    ------
    OptionError
        Naming every unknown name, data that nothing can be learned from, and too many images.
    """

    def __init__(self, options: RunOptions) -> None:
        problems = choice_problem("strategy", options.strategy, STRATEGIES)
        problems += choice_problem("normalization", options.normalization, NORMALIZATIONS)
        problems += choice_problem("summary", options.summary, SUMMARIES)
        model, weights = options.analysis.model, options.analysis.weights
        problems += model_problem(model) or weights_problem(model, weights)
        problems += choice_problem("shift", options.analysis.shift, SHIFTS)
        problems += device_problem(options.analysis.device)
        dataset = options.analysis.dataset
        missing = dataset_problem(dataset)
        problems += missing
        spec = None if missing else dataset_spec(dataset)
        if spec is not None and spec.why_untrainable:
            problems.append(f"`dataset`: {spec.why_untrainable}")
        elif spec is not None and options.train_samples > (most := spec.sizes["train"]):
            problems.append(
                f"`train_samples` must be at most {most}, got {options.train_samples}: "
                f"the train split of {dataset} has {most} images"
            )
        raise_problems(problems)
        self.options = options
        self._model: nn.Module | None = None

    @property
    def device(self) -> str:
        """Where it trains: "cpu", "cuda" or "mps"."""
        return pick_device(self.options.analysis.device).type

    @property
    def fingerprints(self) -> dict[str, str]:
        """What tells the weights and the data from any others: "model" and "data"."""
        analysis = self.options.analysis
        return {
            "model": weights_fingerprint(analysis.model, analysis.weights, analysis.seed),
            "data": dataset_spec(analysis.dataset).fingerprint(),
        }

    def __iter__(self) -> Iterator[Selection | Metric]:
        options = self.options
        train = _draw(options, "train").sample(options.train_samples, seed=options.recipe.seed)
        model = self._model = _load(options).to(self.device)
        selection = choose(model, options)
        example = PreparedImages(options.analysis, train.sample(1, seed=0))[:]
        yield replace(selection, predicted=_predicted(model, example, options))
        splits = [train, _draw(options, "validation"), _draw(options, "test")]
        try:
            yield from finetune(
                model, *(_labelled(options, split) for split in splits), recipe=options.recipe
            )
        finally:
            free_cache(device_of(model))

    def save_weights(self, path: Path) -> None:
        """Write the weights as they are now, as safetensors, whole or not at all.

        Raises
        ------
        StoreError
            If the file cannot be written.
        TrainingError
            If there is no model yet.
        """
        if self._model is None:
            raise TrainingError("There are no weights before the training has begun.")
        analysis = self.options.analysis
        # Copies: a safetensors file takes no two names of one tensor, and no other order in memory.
        whole = torch.contiguous_format
        state = {
            name: held.detach().cpu().clone(memory_format=whole)
            for name, held in self._model.state_dict().items()
        }
        about = {"model": analysis.model, "dataset": analysis.dataset}
        try:
            with replacing(path) as file:
                file.write(safetensors.torch.save(state, metadata=about))
        except OSError as error:
            raise StoreError(
                f"The trained weights could not be saved in {path.parent} ({error.strerror})."
            ) from error


def choose(model: nn.Module, options: RunOptions) -> Selection:
    """Choose what trains, and freeze the rest.

    Parameters
    ----------
    model : nn.Module
        With its new head.
    options : RunOptions

    Returns
    -------
    Selection
        `predicted` is left out.

    Raises
    ------
    TrainingError
        If nothing would train.
    """
    started = time.perf_counter()
    drawn = _draw(options, "train").sample(options.analysis.samples, seed=options.analysis.seed)
    images = PreparedImages(options.analysis, drawn)
    traced = trace(model, images[:2]).layers
    names = [layer.name for layer in traced]
    preset, strategy = PRESETS[options.preset], STRATEGIES[options.strategy]
    gathered = _gather(model, options, traced, images)
    seconds = time.perf_counter() - started + gathered.seconds
    chosen = chosen_layers(
        options.strategy, gathered.evidence, rho=options.rho, preset=options.preset
    )
    trained = trained_names(model, strategy.scope, chosen, known=names)
    if strategy.scope == "norms-and-biases":
        chosen = [n for n in names if trained & set(parameters_of(model, [n], known=names))]
    if not trained:
        layers = len(names) - bool(head_of(traced) and not preset.ranks_head)
        raise TrainingError(
            f"Nothing would train: ρ = {options.rho:g} of {layers} layers rounds down to "
            f"{layer_count(layers, rho=options.rho, rounding=preset.rounding)} under the preset "
            f"“{options.preset}”. Raise ρ, or take the preset “recommended”."
        )
    freeze(model, trained)
    trainable, total = trained_elements(model)
    return Selection(
        layers=tuple(chosen),
        trainable_parameters=trainable,
        total_parameters=total,
        seconds=seconds,
        peak_bytes=gathered.peak_bytes,
        used_labels=strategy.needs == "gradients",
        used_gradients=strategy.needs == "gradients",
        optimizer=optimizer_name(model, options.recipe),
    )


@dataclass(frozen=True)
class _Gathered:
    evidence: Evidence
    seconds: float  # of what was made at another time
    peak_bytes: int


def _gather(
    model: nn.Module,
    options: RunOptions,
    layers: tuple[LayerInfo, ...],
    images: PreparedImages,
) -> _Gathered:
    names = [layer.name for layer in layers]
    evidence = Evidence(
        layers=layers,
        sizes=[torch.Size(layer.shape).numel() for layer in layers],
        normalization=options.normalization,
        seed=options.recipe.seed,
        summary=options.summary,
    )
    needs = STRATEGIES[options.strategy].needs
    if needs == "topology":
        begun = time.perf_counter()
        report = run(options.analysis)
        # An analysis that was saved took its time when it was made.
        made = report.seconds - (time.perf_counter() - begun)
        read = reread(report, min_persistence=options.min_persistence)
        return _Gathered(replace(evidence, report=read), max(0.0, made), report.peak_bytes)
    # All images at once only where they are needed: no memory was planned for them.
    batch = images[: len(images) if needs == "gradients" else 2].to(device_of(model))
    ledger = Ledger(model, batch=(batch,))
    if needs == "gradients":
        with full_float32(), ledger:
            found = gradient_evidence(
                model, batch, images.labels, names, batch_size=options.analysis.batch_size
            )
        evidence = replace(evidence, gradients=found)
    return _Gathered(evidence, 0.0, ledger.peak.total)


def _draw(options: RunOptions, split: Split) -> ImageDataset:
    analysis = options.analysis
    return load_dataset(
        analysis.dataset, split=split, shift=analysis.shift, severity=analysis.severity
    )


def _load(options: RunOptions) -> nn.Module:
    analysis = options.analysis
    return load_model(
        analysis.model,
        weights=analysis.weights,
        # Random weights are those that were analysed; of others the seed decides the new head.
        seed=analysis.seed if analysis.weights == "random" else options.recipe.seed,
        num_classes=len(dataset_spec(analysis.dataset).class_names),
    )


def _labelled(options: RunOptions, drawn: ImageDataset) -> TensorImages | PreparedImages:
    images = prepared(options.analysis, drawn)
    lazy = PreparedImages(options.analysis, drawn)
    return TensorImages(images, lazy.labels) if isinstance(images, Tensor) else lazy


def _predicted(model: nn.Module, example: Tensor, options: RunOptions) -> MemoryUse | None:
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    shape = tuple(example.shape[1:])
    try:
        return predict_peak(model, shape, trained=trained, recipe=options.largest_step)
    except AnalysisError:  # training does not depend on it
        return None
