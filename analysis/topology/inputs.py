"""Drawn images in a model's input format: all at once, or block by block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.datasets import ImageDataset, load_dataset
from analysis.models import input_format, prepare_images
from analysis.options import AnalysisOptions, Split
from analysis.progress import ProgressCallback
from analysis.results import InputFormat
from analysis.topology.passes import HELD_BYTES


def load_split(
    options: AnalysisOptions, split: Split, progress: ProgressCallback | None = None
) -> ImageDataset:
    """Load one split of the dataset that an analysis names, with its shift."""
    return load_dataset(
        options.dataset,
        split=split,
        shift=options.shift,
        severity=options.severity,
        progress=progress,
    )


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """Images that are prepared for the model only when they are read."""

    options: AnalysisOptions
    drawn: ImageDataset

    def __len__(self) -> int:
        return len(self.drawn)

    def __getitem__(self, rows: slice) -> Tensor:
        return self.images(torch.arange(len(self))[rows])

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(self.drawn.labels)

    def images(self, indices: Tensor) -> Tensor:
        """The images at some positions."""
        return prepare_images(
            self.options.model,
            self.drawn.images[indices.numpy()],
            weights=self.options.weights,
            input_side=self.options.input_side,
            input_mean=self.options.input_mean,
            input_std=self.options.input_std,
        )


def format_of(options: AnalysisOptions) -> InputFormat:
    """What is done to the images of an analysis."""
    return input_format(
        options.model,
        weights=options.weights,
        input_side=options.input_side,
        input_mean=options.input_mean,
        input_std=options.input_std,
    )


def prepare_inputs(options: AnalysisOptions, drawn: ImageDataset) -> Tensor | PreparedImages:
    """The images in the model's input format: one tensor, or blocks if it would be large."""
    lazy = PreparedImages(options, drawn)
    one = lazy[:1]
    small = one.numel() * one.element_size() * len(lazy) <= HELD_BYTES
    return lazy[:] if small else lazy
