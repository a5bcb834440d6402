"""Drawn images in a model's input format: all at once, or block by block."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    plain: set[int] = field(default_factory=set)  # images of a single colour, as they are read

    def __len__(self) -> int:
        return len(self.drawn)

    def __getitem__(self, rows: slice) -> Tensor:
        return self.images(torch.arange(len(self))[rows])

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(self.drawn.labels)

    def images(self, indices: Tensor) -> Tensor:
        """The images at some positions."""
        images = self.drawn.images[indices.numpy()]
        self.plain.update(
            index
            for index, image in zip(indices.tolist(), images, strict=True)
            if image[0].size > 1 and (image == image[:, :1, :1]).all()
        )
        return prepare_images(
            self.options.model,
            images,
            weights=self.options.weights,
            input_side=self.options.input_side,
            input_resize=self.options.input_resize,
            input_mean=self.options.input_mean,
            input_std=self.options.input_std,
        )


def format_of(options: AnalysisOptions) -> InputFormat:
    """What is done to the images of an analysis."""
    return input_format(
        options.model,
        weights=options.weights,
        input_side=options.input_side,
        input_resize=options.input_resize,
        input_mean=options.input_mean,
        input_std=options.input_std,
    )


def prepare_inputs(
    options: AnalysisOptions, drawn: ImageDataset, plain: set[int] | None = None
) -> Tensor | PreparedImages:
    """The images in the model's input format: one tensor, or blocks if it would be large.

    The positions of images of a single colour are added to `plain`, as the images are read.
    """
    lazy = PreparedImages(options, drawn, set() if plain is None else plain)
    one = lazy[:1]
    small = one.numel() * one.element_size() * len(lazy) <= HELD_BYTES
    return lazy[:] if small else lazy


def plain_sentence(plain: int, samples: int) -> str:
    """Say how many images are of one colour; empty if none is."""
    if not plain:
        return ""
    number = f"All {plain}" if plain == samples else f"{plain} of the {samples}"
    verb = "is" if plain == 1 else "are"
    return f"{number} images {verb} of a single colour, such as black: check their files."
