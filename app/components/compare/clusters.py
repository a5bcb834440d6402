"""Whether b₁ follows DBSCAN's clusters, at every setting, and what DBSCAN finds in one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import AnalysisError
from analysis.results import Float64, LayerTopology
from analysis.selection.cluster_claim import ALPHA
from analysis.text import plural
from analysis.topology.cluster_grid import EPS_QUANTILES, MIN_SAMPLES
from app.cache import drawn_images, layer_clusters
from app.cache.compare import cluster_claim, cluster_purity
from app.charts.heatmap import heat_map_figure
from app.charts.once import drawn_once
from app.components.shared.cluster_curve import render_cluster_curve
from app.literal import literal, sentence
from app.state import Choice, Shown, appearance
from app.theme import PALETTES, chart_config

_RADIUS, _START = "Radius, as a share of a layer's distances", "Images that start a cluster"
_SETTINGS_HELP = (
    "DBSCAN needs two settings: the radius within which images are neighbours, here as a share of "
    "a layer's distances, and how many of them start a cluster. The paper states neither."
)
_ROWS = [str(few) for few in MIN_SAMPLES]
_COLUMNS = [f"{100 * share:.3g} %" for share in EPS_QUANTILES]


@dataclass(frozen=True)
class _Count:
    """What a cell of the layer's table may show."""

    title: str
    help: str
    digits: int
    span: tuple[float, float] | None = (0.0, 1.0)


_COUNTS = {
    "Clusters": _Count("clusters", "Clusters that DBSCAN finds.", 0, None),
    "Noise": _Count("noise", "Share of the images that belong to no cluster.", 2),
    "Purity": _Count(
        "purity",
        "Share of the clustered images that have the most frequent class of their cluster. "
        "Small clusters are pure by chance.",
        2,
    ),
}


def render_clusters(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    with st.spinner("Clustering every layer …"):
        claim = cluster_claim(shown.key, shown.report)
    st.markdown(f"**{claim.sentence}**")
    st.caption(
        "The paper's Figure 3 says that b₁ follows the number of clusters. Each cell is one "
        f"setting of DBSCAN, over {plural(claim.layers, 'layer')}; a dot marks a clear link "
        f"(p at most {ALPHA:g}), which about 5 % of the cells would have by chance. Where a cell "
        "is empty, all layers have as many clusters.",
        help=_SETTINGS_HELP,
    )
    figure = heat_map_figure(
        claim.coefficients,
        rows=_ROWS,
        columns=_COLUMNS,
        titles=(_START, _RADIUS, "Spearman"),
        span=(-1, 1),
        diverging=True,
        marked=claim.p_values <= ALPHA,
        palette=PALETTES[appearance()],
    )
    st.plotly_chart(
        drawn_once(figure),
        key="cluster_claim",
        theme=None,
        config=chart_config("bettiscope-clusters-and-loops"),
        alt="Spearman's correlation of b₁ with the cluster count at every setting of DBSCAN",
    )
    _render_layer(shown, shown.report.layer(layer), choice)


def _render_layer(shown: Shown, layer: LayerTopology, choice: Choice) -> None:
    st.markdown(f"#### {literal(layer.name or '(model)')}")
    if layer.clustering is None:
        st.warning("Some activations of this layer are not finite, so it has no clusters.")
        return
    render_cluster_curve(shown, layer, choice)
    grid, _ = layer_clusters(shown.key, layer.name, choice.clusters.min_samples, shown.report)
    look = PALETTES[appearance()]
    name = st.segmented_control(
        "In each setting",
        list(_COUNTS),
        default="Clusters",
        required=True,
        key="cluster_count",
        bind="query-params",
        help="\n".join(f"- **{name}**: {count.help}" for name, count in _COUNTS.items()),
    )
    values = {"Clusters": grid.counts.astype(float), "Noise": grid.noise_share}.get(str(name))
    if values is None:
        values = _purity(shown, layer, grid.eps)
    if values is None:
        return
    count = _COUNTS[str(name)]
    st.plotly_chart(
        drawn_once(
            heat_map_figure(
                values,
                rows=_ROWS,
                columns=_COLUMNS,
                titles=(_START, _RADIUS, count.title),
                span=count.span,
                digits=count.digits,
                palette=look,
            )
        ),
        key="cluster_grid",
        theme=None,
        config=chart_config(f"bettiscope-cluster-grid-{layer.name}"),
        alt=f"{count.title} in {layer.name} at every setting of DBSCAN",
    )


def _purity(shown: Shown, layer: LayerTopology, eps: Float64) -> Float64 | None:
    """The purity at every setting; None, and a sentence on the page, without labels."""
    try:
        images = drawn_images(shown.options, shown.fingerprint)
    except AnalysisError as error:  # the images behind a saved analysis are gone
        st.warning(sentence(error))
        return None
    if not images.classes:
        st.info("These images have no labels, so clusters cannot be compared with classes.")
        return None
    with st.spinner("Clustering at every setting …"):
        classes = np.unique(images.names, return_inverse=True)[1]
        return cluster_purity(shown.key, layer.name, eps, classes, shown.report)
