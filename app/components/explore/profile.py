"""The layer profile on the page: all columns where there is room for them, else two."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.cache import best_layer_tests, profile, profile_titles, with_null
from app.charts.once import drawn_once
from app.charts.profile import COLUMNS, Column
from app.components.explore.layer_parts import redraw_layer_parts
from app.components.explore.layout import set_layers
from app.components.explore.saving import to_save
from app.components.shared.rho_parts import render_rho_part
from app.state import Choice, Shown, appearance, choose_clicked, session

KINDS: dict[str, tuple[Column, ...]] = {"wide": COLUMNS, "narrow": ("b1", "score")}


def render_profile(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Draw one row per layer; a click on a row opens it under the microscope."""
    set_layers(len(rows))
    key, rows = _with_null(shown, rows, choice)
    for kind, columns in KINDS.items():
        titles = profile_titles(key, choice, columns, appearance(), rows)
        with st.container(key=f"rows_and_titles_{kind}", gap=None):
            # A copy of the profile's own titles, which lies over them until the page scrolls.
            with st.container(key=f"titles_{kind}"):
                st.plotly_chart(
                    drawn_once(titles),
                    key=f"titles_{kind}_chart",
                    theme=None,
                    config={"staticPlot": True},
                )
            with st.container(key=f"profile_{kind}", border=False):
                render_rho_part(f"profile_{kind}", _render_rows, shown, choice, kind)


def _render_rows(shown: Shown, rows: pd.DataFrame, choice: Choice, kind: str) -> None:
    key, rows = _with_null(shown, rows, choice)
    chart, revision = f"rows_{kind}", session().profile.revision
    figure = profile(key, choice, KINDS[kind], appearance(), revision, rows, shown.report)
    figure, config = to_save(figure, "profile", shown, choice)
    st.plotly_chart(
        figure,
        key=chart,
        on_select=lambda: _open(chart),
        selection_mode="points",
        theme=None,
        config=config,
        alt="Layer profile: one row per layer with its loops, score, clusters and cost",
    )


def _with_null(shown: Shown, rows: pd.DataFrame, choice: Choice) -> tuple[str, pd.DataFrame]:
    """The rows with what rotated clouds give, if that was tested, and a key of what they hold."""
    made = best_layer_tests(shown.fingerprint)
    if made is None or choice.min_persistence:  # all loops were counted in the test
        return shown.key, rows
    request, tests = made
    return f"{shown.key} {request.draws} {request.seed}", with_null(rows, request, tests)


def forget_clicks() -> list[str]:
    """Make the browser forget the row that was clicked last; return the parts to draw for it.

    A click on that row would else take the click back, and not open the row.
    """
    charts = {kind: st.session_state.get(f"rows_{kind}") for kind in KINDS}
    clicked = [kind for kind, chart in charts.items() if chart and chart.selection.points]
    session().profile.revision += bool(clicked)
    return [f"profile_{kind}" for kind in clicked]


def _open(key: str) -> None:
    choose_clicked(key)
    redraw_layer_parts()
