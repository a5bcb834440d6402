"""The controls of what is read off an analysis: ρ, the normalisation, the preset."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.options import EPS_RULES, LOOP_UNITS, PRESETS, ClusterOptions, LoopUnit, RunOptions
from analysis.selection.scores import (
    NORMALIZATIONS,
    normalization_of,
    normalization_problem,
    plain_normalization,
)
from analysis.topology.summaries import SUMMARIES
from app.components.shared.help_texts import bullet_list
from app.components.shared.option_inputs import help_of, number_settings
from app.components.shared.polling import draws_parts
from app.components.shared.power_parts import start_power_parts, take_moved_power
from app.components.shared.rho_parts import SLIDER, redraw_rho_parts, start_rho_parts
from app.state import Choice

_MOST_SHARE = 0.99  # of the diameter; no loop lives as long as that
_QUANTILE, _DISTANCE = "quantile", "distance"


def render_choice() -> Choice:
    """Draw the controls. Moving any of them computes no topology."""
    rho = start_rho_parts(_render_rho)
    normalization = start_power_parts(_render_normalization)
    preset = st.selectbox(
        "Preset",
        list(PRESETS),
        key="preset",
        bind="query-params",
        on_change=_apply_preset,
        help=help_of(RunOptions, "preset") + bullet_list({n: p.help for n, p in PRESETS.items()}),
    )
    with st.expander("More"):
        return _render_more(rho, plain_normalization(normalization), preset)


def _render_normalization() -> str:
    if draws_parts() and not take_moved_power():
        st.rerun()  # another one was chosen here, and the whole page depends on it
    normalization = st.selectbox(
        "Normalisation",
        _normalizations(),
        key="normalization",
        bind="query-params",
        help=help_of(RunOptions, "normalization")
        + bullet_list({n: f"{e.title}. {e.help}" for n, e in NORMALIZATIONS.items()}),
    )
    st.caption(normalization_of(normalization).help)
    return normalization


def _normalizations() -> list[str]:
    """Those with a name, and the powers that the page Compare or a link has set."""
    names = list(NORMALIZATIONS)
    text = st.session_state.get("normalization") or st.query_params.get("normalization", "")
    own = text not in names and not normalization_problem(text)
    return [*names, text] if own else names


def _render_rho() -> float:
    rho: float = st.slider(
        "ρ · share of layers to train",
        value=RunOptions.rho,
        key=SLIDER,
        bind="query-params",
        on_change=redraw_rho_parts,
        **number_settings(RunOptions, "rho"),
    )
    return rho


def _render_more(rho: float, normalization: str, preset: str) -> Choice:
    summary = st.selectbox(
        "Score from",
        list(SUMMARIES),
        key="summary",
        bind="query-params",
        help=help_of(RunOptions, "summary")
        + bullet_list({n: s.help for n, s in SUMMARIES.items()}),
    )
    min_persistence, unit = _render_shortest_loop()
    return Choice(rho, normalization, preset, summary, min_persistence, unit, _render_clusters())


def _render_clusters() -> ClusterOptions:
    rule = st.selectbox(
        "DBSCAN radius",
        [*EPS_RULES, _QUANTILE, _DISTANCE],
        key="eps",
        bind="query-params",
        help="Images nearer than this radius (eps) are neighbours. "
        + help_of(ClusterOptions, "eps_rule")
        + " quantile: a share of each layer's distances; distance: the same in every layer.",
    )
    values: dict[str, Any] = {}
    if rule == _QUANTILE:
        values["eps_quantile"] = st.slider(
            "Quantile of the distances",
            value=0.1,
            key="eps_quantile",
            bind="query-params",
            **number_settings(ClusterOptions, "eps_quantile"),
        )
    elif rule == _DISTANCE:
        values["eps"] = st.number_input(
            "Radius",
            value=1.0,
            key="eps_distance",
            bind="query-params",
            **number_settings(ClusterOptions, "eps"),
        )
    else:
        values["eps_rule"] = rule
    few = st.slider(
        "Images that start a cluster",
        value=ClusterOptions.min_samples,
        key="min_samples",
        bind="query-params",
        **number_settings(ClusterOptions, "min_samples"),
    )
    return ClusterOptions(**values, min_samples=few)


def _render_shortest_loop() -> tuple[float, LoopUnit]:
    unit: LoopUnit | None = st.segmented_control(
        "Loops measured by",
        LOOP_UNITS,
        default=RunOptions.persistence_unit,
        required=True,
        key="persistence_unit",
        bind="query-params",
        help=help_of(RunOptions, "persistence_unit"),
    )
    settings = number_settings(RunOptions, "min_persistence")
    if unit == "diameter":
        settings |= {"max_value": _MOST_SHARE, "step": 0.01}
        if st.session_state.get("min_persistence", 0) > _MOST_SHARE:  # it was a distance
            st.session_state["min_persistence"] = RunOptions.min_persistence
    shortest = st.number_input(
        "Shortest loop that counts",
        value=RunOptions.min_persistence,
        key="min_persistence",
        bind="query-params",
        **settings,
    )
    return float(shortest), unit or RunOptions.persistence_unit


def _apply_preset() -> None:
    preset = PRESETS[st.session_state["preset"]]
    st.session_state["samples"] = preset.samples
    st.session_state["normalization"] = preset.normalization
