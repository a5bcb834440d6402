"""The networks that the benchmarks train, and the images they train on."""

from __future__ import annotations

import torch
from torch import nn

from analysis.datasets import DATASETS, load_dataset
from analysis.models import MODELS, load_model, prepare_images
from analysis.options import AnalysisOptions, Recipe, RunOptions, Split
from analysis.training.choosing import choose
from analysis.training.splits import TensorImages

DATASET = "digits"
FULL_SIZE_BATCH = 8  # images; the paper's


def weights_of(model: str) -> str:
    """The weights that need no download."""
    return "pretrained" if MODELS[model].source == "pocket" else "random"


def batch_of(model: str) -> int:
    """Images per step: as many as the dashboard trains on, but fewer at full size."""
    return Recipe().batch_size if MODELS[model].source == "pocket" else FULL_SIZE_BATCH


def frozen_model(model: str, strategy: str) -> nn.Module:
    """A network with a new head; only the layers of a strategy are trainable.

    If the strategy needs an analysis, it is saved in the folder that `BETTISCOPE_HOME` names.
    """
    weights = weights_of(model)
    network = load_model(model, weights=weights, num_classes=len(DATASETS[DATASET].class_names))
    options = AnalysisOptions(model=model, dataset=DATASET, weights=weights)
    choose(network, RunOptions(options, strategy=strategy))
    return network


def images_for(model: str, split: Split, count: int | None = None) -> TensorImages:
    """`count` images of a split, or all of them, prepared for the network."""
    drawn = load_dataset(DATASET, split=split)
    if count is not None:
        drawn = drawn.sample(count, seed=0)
    prepared = prepare_images(model, drawn.images, weights=weights_of(model))
    return TensorImages(prepared, torch.from_numpy(drawn.labels))
