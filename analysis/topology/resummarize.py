"""The same distances and diagrams, summarised with other settings. No model is run."""

from __future__ import annotations

from dataclasses import asdict, replace

from analysis.options import ClusterOptions, LoopUnit
from analysis.results import Clustering, LayerTopology, TopologyReport
from analysis.topology.subsets import with_errors
from analysis.topology.summaries import cloud_values


def resummarize(
    report: TopologyReport,
    *,
    min_persistence: float = 0.0,
    persistence_unit: LoopUnit = "distance",
    clusters: ClusterOptions | None = None,
) -> TopologyReport:
    """A copy of a report with b₁ and the clusters computed again from diagrams and distances.

    Parameters
    ----------
    report : TopologyReport
    min_persistence : float
        As for `pipeline.analyze`.
    persistence_unit : {"distance", "diameter"}
        Whether `min_persistence` is a distance, or a share of each layer's largest distance.
    clusters : ClusterOptions, optional
        With the default the clusters stay as they are.
    """

    settings = replace(report, min_persistence=min_persistence, persistence_unit=persistence_unit)

    def resummarize_layer(layer: LayerTopology) -> LayerTopology:
        if not layer.finite:
            return layer
        loops = float(cloud_values(layer, "b1", settings.shortest_loop(layer)).mean())
        return replace(layer, b1=loops, clustering=_clustering(layer, clusters))

    return with_errors(replace(settings, layers=tuple(map(resummarize_layer, report.layers))))


def _clustering(layer: LayerTopology, options: ClusterOptions | None) -> Clustering | None:
    if options in (None, ClusterOptions()):
        return layer.clustering
    from analysis.topology.clustering import dbscan

    return dbscan(layer.distances, **asdict(options))
