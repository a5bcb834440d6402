"""The DBSCAN clusters of one layer in words."""

from __future__ import annotations

from analysis.results import LayerTopology

NOISE = "noise"


def groups(layer: LayerTopology) -> list[str]:
    """The DBSCAN cluster of each image, in words."""
    assert layer.clustering is not None
    return [f"cluster {n + 1}" if n >= 0 else NOISE for n in layer.clustering.labels]
