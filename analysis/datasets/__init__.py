"""Labelled images: the bundled sets, their splits and their shifted versions. Needs no torch."""

from analysis.datasets.loading import ImageDataset, list_datasets, load_dataset, split_sizes
from analysis.datasets.registry import DATASETS, DatasetSpec
from analysis.datasets.shifts import SHIFTS, Shift

__all__ = [
    "DATASETS",
    "SHIFTS",
    "DatasetSpec",
    "ImageDataset",
    "Shift",
    "list_datasets",
    "load_dataset",
    "split_sizes",
]
