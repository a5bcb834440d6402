"""One fine-tune by names: from model, data and strategy to metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from analysis.datasets import ImageDataset, dataset_problem, dataset_spec
from analysis.errors import AnalysisError, StoreError, TrainingError, raise_problems
from analysis.instruments.memory_use import MemoryUse
from analysis.models import learn_code, load_model, weights_fingerprint
from analysis.options import RunOptions
from analysis.system.devices import device_of, device_problem, pick_device
from analysis.system.home import replacing
from analysis.system.memory import free_cache
from analysis.topology.inputs import PreparedImages, load_split, prepare_inputs
from analysis.training.choosing import choose, without_gradient
from analysis.training.followed import FollowedTopology
from analysis.training.loop import finetune
from analysis.training.metrics import FrozenPart, GradientGap, LossNote, Metric, Selection
from analysis.training.names import name_problems
from analysis.training.prediction import predict_peak
from analysis.training.splits import TensorImages


class Training:
    """A fine-tune to iterate over once: a Selection first, then the items of `finetune`.

    Another Selection follows that says how often the frozen part runs; if chosen layers turn out
    to get no gradient, one without them; if the loss diverges or stands still, one with a note.
    A followed topology comes with all that was measured so far.

    Parameters
    ----------
    options : RunOptions

    Raises
    ------
    OptionError
        Naming every unknown name, data that cannot be learned from, and too many images.
    """

    def __init__(self, options: RunOptions) -> None:
        problems = name_problems(options) + device_problem(options.analysis.device)
        dataset = options.analysis.dataset
        spec = None if dataset_problem(dataset) else dataset_spec(dataset)
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
        """Of the weights and the data, as "model" and "data". The user's code is run for it."""
        analysis = self.options.analysis
        learn_code(analysis.model, analysis.seed)
        return {
            "model": weights_fingerprint(analysis.model, analysis.weights, analysis.seed),
            "data": dataset_spec(analysis.dataset).fingerprint(),
        }

    def __iter__(self) -> Iterator[Selection | Metric | FollowedTopology]:
        options = self.options
        train = load_split(options.analysis, "train").sample(
            options.train_samples, seed=options.recipe.seed
        )
        model = self._model = load_network(options).to(self.device)
        selection = choose(model, options)
        example = PreparedImages(options.analysis, train.sample(1, seed=0))[:]
        if all(parameter.requires_grad for parameter in model.parameters()):
            # Else it depends on how often the frozen part runs, which comes next.
            selection = replace(selection, predicted=_predict_memory(model, example, options))
        yield selection
        splits = [
            train,
            load_split(options.analysis, "validation"),
            load_split(options.analysis, "test"),
        ]
        try:
            images = (_labelled_images(options, split) for split in splits)
            gap, loss = GradientGap(), LossNote("")
            follow = options.recipe.follow_topology is not False
            for item in finetune(model, *images, recipe=options.recipe, follow=follow):
                match item:
                    case FrozenPart():
                        selection = replace(
                            selection,
                            frozen_part=item,
                            predicted=_predict_memory(
                                model, example, options, splits[1] if item.once else None
                            ),
                        )
                    case GradientGap():
                        gap = item
                    case LossNote():
                        loss = item
                    case FollowedTopology():
                        yield _with_names(item, splits[1].class_names)
                        continue
                    case _:
                        yield item
                        continue
                trained = without_gradient(model, selection, gap)
                yield replace(trained, note=" ".join(filter(None, (trained.note, loss.text))))
        finally:
            free_cache(device_of(model))

    def save_weights(self, path: Path) -> None:
        """Write the current weights as safetensors, all or nothing.

        Raises
        ------
        StoreError
            If the file cannot be written.
        TrainingError
            If there is no model yet.
        """
        if self._model is None:
            raise TrainingError("There are no weights to save before the training has started.")
        analysis = self.options.analysis
        # Copies: a safetensors file takes no shared tensors and no other memory format.
        contiguous = torch.contiguous_format
        state = {
            name: tensor.detach().cpu().clone(memory_format=contiguous)
            for name, tensor in self._model.state_dict().items()
            if isinstance(tensor, torch.Tensor)  # modules may store anything beside them
        }
        metadata = {"model": analysis.model, "dataset": analysis.dataset}
        try:
            with replacing(path) as file:
                file.write(safetensors.torch.save(state, metadata=metadata))
        except OSError as error:
            raise StoreError(
                f"The trained weights could not be saved in {path.parent} ({error.strerror})."
            ) from error


def load_network(options: RunOptions) -> nn.Module:
    """The network of a run with a new head, on the CPU."""
    analysis = options.analysis
    return load_model(
        analysis.model,
        weights=analysis.weights,
        weights_key=analysis.weights_key,
        head=analysis.head,
        # Random weights are the analysed ones; for others the seed decides only the new head.
        seed=analysis.seed if analysis.weights == "random" else options.recipe.seed,
        num_classes=len(dataset_spec(analysis.dataset).class_names),
    )


def _with_names(followed: FollowedTopology, names: Sequence[str]) -> FollowedTopology:
    """With the names of the images' classes, which the training knows by number."""
    return replace(followed, classes=tuple(names[int(number)] for number in followed.classes))


def _labelled_images(options: RunOptions, drawn: ImageDataset) -> TensorImages | PreparedImages:
    images = prepare_inputs(options.analysis, drawn)
    lazy = PreparedImages(options.analysis, drawn)
    return TensorImages(images, lazy.labels) if isinstance(images, Tensor) else lazy


def _predict_memory(
    model: nn.Module,
    example: Tensor,
    options: RunOptions,
    validation: ImageDataset | None = None,  # given, the frozen part runs once
) -> MemoryUse | None:
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    shape = tuple(example.shape[1:])
    try:
        return predict_peak(
            model,
            shape,
            trained=trained,
            recipe=options.largest_step,
            reused=None if validation is None else (options.train_samples, len(validation)),
        )
    except AnalysisError:  # training works without it
        return None
