"""What Explore saves: each figure and table with its settings, and everything in one archive."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.results import LayerTopology, TopologyReport
from analysis.selection.export import (
    caption,
    command_line,
    document,
    file_stem,
    of_a_layer,
    settings,
    with_settings,
)
from analysis.selection.ranking import best_layer
from analysis.topology.summaries import betti_curve, long_intervals
from app.cache import embedding, profile, selection_certainty
from app.charts.diagram import barcode_figure, betti_curve_figure, diagram_figure
from app.charts.embedding import embedding_figure
from app.charts.profile import COLUMNS
from app.charts.saving import figures_page
from app.components.explore.groups import groups
from app.components.explore.layer_parts import EXPORT
from app.components.shared.rho_parts import render_rho_part
from app.components.shared.saving import figure_to_save, render_figure_choices
from app.state import Choice, Shown, appearance, chosen_or, session
from app.theme import PALETTES


def settings_of(shown: Shown, choice: Choice) -> dict[str, Any]:
    """What decides the numbers on the page."""
    return settings(shown.options, choice.settings())


def to_save(
    figure: go.Figure, what: str, shown: Shown, choice: Choice, layer: str | None = None
) -> tuple[go.Figure, dict[str, Any]]:
    """The figure and its settings for Plotly, so that it is saved as chosen under Export.

    The browser builds a figure anew when its name changes: one of a layer does not name ρ.
    """
    what, known = _named(what, shown, choice, layer)
    return figure_to_save(figure, what, known)


def _named(
    what: str, shown: Shown, choice: Choice, layer: str | None
) -> tuple[str, dict[str, Any]]:
    known = settings_of(shown, choice)
    return (what, known) if layer is None else (f"{what}-{layer}", of_a_layer(known))


def render_csv_button(
    table: pd.DataFrame,
    what: str,
    shown: Shown,
    choice: Choice,
    layer: str | None = None,
    **button: Any,
) -> None:
    """Draw a button that saves a table, of one layer or of all, with a column for each setting."""
    what, known = _named(what, shown, choice, layer)
    st.download_button(
        "CSV",
        data=lambda: with_settings(table, known).to_csv(index=False),
        file_name=f"{file_stem(what, known)}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        **button,
    )


def render_export(shown: Shown, choice: Choice) -> None:
    """Draw the choices of how to save, and the button that saves everything."""
    with st.popover("Export", icon=":material/download:"):
        render_figure_choices()
        render_rho_part(EXPORT, _render_export_all, shown, choice)


def _render_export_all(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    known = settings_of(shown, choice)
    link = f"{st.context.url or ''}?{urlencode(st.query_params.to_dict(), doseq=True)}"
    # Not by the control, which a poll may have set back: see `layer_control`.
    layer = chosen_or(best_layer(rows))
    chosen = tuple(dict.fromkeys([layer, *session().profile.pinned_layers]))
    look = appearance()  # not known when the button is pressed
    st.download_button(
        "Export all",
        data=lambda: archive(shown, rows, choice, chosen, link, look),
        file_name=f"{file_stem('all', known)}.zip",
        mime="application/zip",
        icon=":material/archive:",
        key="export_all",
        on_click="ignore",
        help="One zip with every number on this page as JSON and CSV, the figures of the open "
        "and the pinned layers, the link, and the command line.",
    )


def archive(
    shown: Shown,
    rows: pd.DataFrame,
    choice: Choice,
    layers: tuple[str, ...],
    link: str,
    look: str,
) -> bytes:
    """Everything on the page as a zip; `layers` are those whose figures it has."""
    known, report = settings_of(shown, choice), shown.report
    certainty = selection_certainty(shown.key, choice, rows, report)
    tables = {"layers": rows, "diagrams": _diagrams(report), "clusters": _clusters(report)}
    figures = {
        file_stem(what, known): figure
        for what, figure in _figures(shown, rows, choice, layers, look).items()
    }
    files = {
        f"{file_stem('analysis', known)}.json": json.dumps(
            document(report, rows, known, certainty=certainty, diagrams=True),
            indent=1,
            allow_nan=False,
        ),
        **{
            f"{file_stem(what, known)}.csv": with_settings(table, known).to_csv(index=False)
            for what, table in tables.items()
        },
        f"{file_stem('figures', known)}.html": figures_page(figures, caption(known)),
        "link.txt": link + "\n",
        "command.txt": command_line(shown.options, choice.settings()) + "\n",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            file.writestr(name, text)
    return packed.getvalue()


def _diagrams(report: TopologyReport) -> pd.DataFrame:
    parts = [
        pd.DataFrame(diagram, columns=["birth", "death"]).assign(layer=layer.name, cloud=number)
        for layer in report.layers
        for number, diagram in enumerate(layer.diagrams)
    ]
    return pd.concat(parts)[["layer", "cloud", "birth", "death"]]


def _clusters(report: TopologyReport) -> pd.DataFrame:
    rows = [
        # An image's number among those drawn, which is not its place in the dataset.
        (layer.name, number, cluster)
        for layer in report.layers
        if layer.clustering is not None
        for number, cluster in enumerate(groups(layer))
    ]
    return pd.DataFrame(rows, columns=["layer", "drawn_image", "cluster"])


def _figures(
    shown: Shown, rows: pd.DataFrame, choice: Choice, layers: tuple[str, ...], look: str
) -> dict[str, go.Figure]:
    figures = {"profile": profile(shown.key, choice, COLUMNS, look, 0, rows, shown.report)}
    for layer in map(shown.report.layer, layers):
        if layer.clustering is not None:
            figures |= _figures_of(shown, choice, layer, look)
    return figures


def _figures_of(
    shown: Shown, choice: Choice, layer: LayerTopology, look: str
) -> dict[str, go.Figure]:
    palette, least = PALETTES[look], shown.report.shortest_loop(layer)
    scales, counts = betti_curve(long_intervals(layer.diagram, least))
    labels = groups(layer)
    return {
        f"diagram-{layer.name}": diagram_figure(
            layer.diagram, min_persistence=least, palette=palette
        ),
        f"barcode-{layer.name}": barcode_figure(
            layer.diagram, min_persistence=least, palette=palette
        ),
        f"betti-curve-{layer.name}": betti_curve_figure(
            scales, counts / len(layer.diagrams), palette=palette
        ),
        f"map-{layer.name}": embedding_figure(
            embedding(shown.key, layer.name, shown.report),
            groups=labels,
            texts=[f"image {i}" for i in range(len(labels))],
            palette=palette,
        ),
    }
