"""The same distances and diagrams, summarised with other settings. No model is run."""

from __future__ import annotations

from dataclasses import replace

from analysis.options import ClusterOptions, LoopUnit
from analysis.results import LayerTopology, TopologyReport
from analysis.topology.summaries import average


def resummarize(
    report: TopologyReport,
    *,
    min_persistence: float = 0.0,
    persistence_unit: LoopUnit = "distance",
    eps_quantile: float | None = None,
    min_samples: int = ClusterOptions.min_samples,
) -> TopologyReport:
    """A copy of a report with b₁ and the clusters computed again from diagrams and distances.

    Parameters
    ----------
    report : TopologyReport
    min_persistence : float
        As for `pipeline.analyze`.
    persistence_unit : {"distance", "diameter"}
        Whether `min_persistence` is a distance, or a share of each layer's largest distance.
    eps_quantile, min_samples
        As for `clustering.dbscan`; with the defaults the clusters stay as they are.
    """

    settings = replace(report, min_persistence=min_persistence, persistence_unit=persistence_unit)

    def resummarize_layer(layer: LayerTopology) -> LayerTopology:
        if not layer.finite:
            return layer
        clusters = layer.clustering
        if (eps_quantile, min_samples) != (None, ClusterOptions.min_samples):
            from analysis.topology.clustering import dbscan

            clusters = dbscan(layer.distances, eps_quantile=eps_quantile, min_samples=min_samples)
        loops = average(layer.diagrams, "b1", settings.shortest_loop(layer))
        return replace(layer, b1=loops, clustering=clusters)

    return replace(settings, layers=tuple(map(resummarize_layer, report.layers)))
