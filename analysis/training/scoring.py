"""The score of every layer by every criterion, to hold against what the layers are worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.errors import TrainingError
from analysis.instruments.activations import LayerInfo
from analysis.options import RunOptions
from analysis.selection.strategies import STRATEGIES
from analysis.system.devices import pick_device
from analysis.training.choosing import gather_evidence, trace_images
from analysis.training.fine_tune import load_network


@dataclass(frozen=True)
class RankedLayers:
    """The layers of a network that a strategy may choose."""

    layers: tuple[LayerInfo, ...]  # in execution order, without the head
    head: str

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]


def ranked_layers(options: RunOptions) -> RankedLayers:
    """The layers of a run's network, apart from its head, that have parameters.

    Raises
    ------
    TrainingError
        If the network has no head, or no other layer.
    """
    model = load_network(options).to(pick_device(options.analysis.device))
    _, traced = trace_images(model, options)
    if traced.head.name is None:
        raise TrainingError(traced.head.reason)
    layers = tuple(layer for layer in traced.layers if layer.name != traced.head.name)
    if not layers:
        raise TrainingError("The network has no layer apart from its classifier.")
    return RankedLayers(layers, traced.head.name)


def criterion_scores(
    options: RunOptions, criteria: Iterable[str], layers: Sequence[str]
) -> pd.DataFrame:
    """What each criterion gives each layer for the images that a run would choose by.

    Parameters
    ----------
    options : RunOptions
        Its strategy does not matter.
    criteria : iterable of str
        Names of `STRATEGIES` that score layers.
    layers : sequence of str
        The rows.

    Returns
    -------
    DataFrame of float
        A column for each criterion; NaN where a layer cannot be scored, so that it is never
        chosen.
    """
    columns = {}
    for name in criteria:
        scores = STRATEGIES[name].scores
        assert scores is not None, "only strategies that score layers are criteria"
        asked = replace(options, strategy=name)
        # Anew each time: gathering gradients changes what requires them.
        model = load_network(asked).to(pick_device(asked.analysis.device))
        images, traced = trace_images(model, asked)
        evidence = gather_evidence(model, asked, traced, images).evidence
        columns[name] = scores(evidence).reindex(list(layers)).to_numpy(dtype=float)
    return pd.DataFrame(columns, index=pd.Index(layers, name="layer"))
