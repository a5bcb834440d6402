"""What Explore saves: each figure and table with its settings, and everything in one archive."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
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
from analysis.topology.summaries import betti_curve, long_intervals
from app.cache import embedding, profile
from app.charts.diagram import barcode_figure, betti_curve_figure, diagram_figure
from app.charts.embedding import embedding_figure
from app.charts.profile import COLUMNS
from app.charts.saving import captioned, figures_page
from app.components.explore.groups import groups
from app.state import Choice, Shown, appearance, session
from app.theme import PALETTES, chart_config

FORMATS = ("SVG", "PNG")


def settings_of(shown: Shown, choice: Choice) -> dict[str, Any]:
    """What decides the numbers on the page."""
    return settings(shown.options, asdict(choice))


def to_save(
    figure: go.Figure, what: str, shown: Shown, choice: Choice, layer: str | None = None
) -> tuple[go.Figure, dict[str, Any]]:
    """The figure and its settings for Plotly, so that it is saved as chosen under Export.

    The browser builds a figure anew when its name changes: one of a layer does not name ρ.
    """
    known = settings_of(shown, choice)
    if layer is not None:
        what, known = f"{what}-{layer}", of_a_layer(known)
    if st.session_state.get("captions"):
        figure = captioned(figure, caption(known), PALETTES[appearance()])
    kind = str(st.session_state.get("figure_format") or FORMATS[0]).lower()
    return figure, chart_config(file_stem(what, known), kind)


def render_csv_button(
    table: pd.DataFrame, what: str, shown: Shown, choice: Choice, **button: Any
) -> None:
    """Draw a button that saves a table with a column for each setting."""
    known = settings_of(shown, choice)
    st.download_button(
        "CSV",
        data=lambda: with_settings(table, known).to_csv(index=False),
        file_name=f"{file_stem(what, known)}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        **button,
    )


def render_export(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the choices of how to save, and the button that saves everything."""
    known = settings_of(shown, choice)
    link = f"{st.context.url or ''}?{urlencode(st.query_params.to_dict(), doseq=True)}"
    chosen = tuple(dict.fromkeys([layer, *session().profile.pinned_layers]))
    look = appearance()  # not known when the button is pressed
    with st.popover("Export", icon=":material/download:"):
        st.segmented_control(
            "Format of figures",
            FORMATS,
            default=FORMATS[0],
            required=True,
            key="figure_format",
            help="For the camera button above each figure. SVG stays sharp at any size.",
        )
        st.toggle(
            "Caption with the settings",
            key="captions",
            help="Write the settings below each figure, also when it is saved.",
        )
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
    tables = {"layers": rows, "diagrams": _diagrams(report), "clusters": _clusters(report)}
    figures = {
        file_stem(what, known): figure
        for what, figure in _figures(shown, rows, choice, layers, look).items()
    }
    files = {
        f"{file_stem('analysis', known)}.json": json.dumps(
            document(report, rows, known, diagrams=True), indent=1, allow_nan=False
        ),
        **{
            f"{file_stem(what, known)}.csv": with_settings(table, known).to_csv(index=False)
            for what, table in tables.items()
        },
        f"{file_stem('figures', known)}.html": figures_page(figures, caption(known)),
        "link.txt": link + "\n",
        "command.txt": command_line(shown.options, asdict(choice)) + "\n",
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
    figures = {"profile": profile(shown.key, choice, COLUMNS, look, None, rows)}
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
