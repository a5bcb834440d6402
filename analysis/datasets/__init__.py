"""Labelled images: the bundled sets, their splits and their shifted versions. Needs no torch."""

from analysis.datasets.loading import ImageDataset, list_datasets, load_dataset
from analysis.datasets.registry import DATASETS, DatasetSpec, dataset_problem, dataset_spec
from analysis.datasets.shifts import SHIFTS, Shift

__all__ = [
    "DATASETS",
    "SHIFTS",
    "DatasetSpec",
    "ImageDataset",
    "Shift",
    "dataset_problem",
    "dataset_spec",
    "list_datasets",
    "load_dataset",
]
