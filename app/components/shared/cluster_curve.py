"""How many clusters DBSCAN finds in a layer at every radius."""

from __future__ import annotations

import streamlit as st

from analysis.results import LayerTopology
from analysis.text import plural
from app.cache import layer_clusters
from app.charts.clusters import cluster_curve_figure
from app.charts.once import drawn_once
from app.state import Choice, Shown, appearance
from app.theme import PALETTES, chart_config

_HELP = (
    "What the Betti curve is to loops, this curve is to clusters. The dotted line is the radius in "
    "use, which the sidebar sets under More."
)


def render_cluster_curve(shown: Shown, layer: LayerTopology, choice: Choice) -> None:
    """Draw the curve of a finite layer, with the radius in use."""
    used = layer.clustering
    assert used is not None
    _, curve = layer_clusters(shown.key, layer.name, choice.clusters.min_samples, shown.report)
    st.caption(
        f"Clusters at each radius: {plural(used.count, 'cluster')} at the radius in use, "
        f"{used.eps:.4g}",
        help=_HELP,
    )
    st.plotly_chart(
        drawn_once(
            cluster_curve_figure(
                curve.eps, curve.counts, chosen=used.eps, palette=PALETTES[appearance()]
            )
        ),
        key="cluster_curve",
        theme=None,
        config=chart_config(f"bettiscope-cluster-curve-{layer.name}"),
        alt=f"Clusters in {layer.name} at every radius",
    )
