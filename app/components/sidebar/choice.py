"""The controls of what is read off an analysis: ρ, the normalisation, the preset."""

from __future__ import annotations

import streamlit as st

from analysis.options import LOOP_UNITS, PRESETS, ClusterOptions, LoopUnit, RunOptions
from analysis.selection.scores import NORMALIZATIONS
from analysis.topology.summaries import SUMMARIES
from app.components.shared.help_texts import bullet_list
from app.components.shared.option_inputs import help_of, number_settings
from app.state import Choice

_MOST_SHARE = 0.99  # of the diameter; no loop lives as long as that
_KNEE, _QUANTILE = "knee", "quantile"


def render_choice() -> Choice:
    """Draw the controls. Moving any of them computes no topology."""
    rho = st.slider(
        "ρ · share of layers to train",
        value=RunOptions.rho,
        key="rho",
        bind="query-params",
        **number_settings(RunOptions, "rho"),
    )
    normalization = st.selectbox(
        "Normalisation",
        list(NORMALIZATIONS),
        key="normalization",
        bind="query-params",
        help=help_of(RunOptions, "normalization")
        + bullet_list({n: f"{e.title}. {e.help}" for n, e in NORMALIZATIONS.items()}),
    )
    st.caption(NORMALIZATIONS[normalization].help)
    preset = st.selectbox(
        "Preset",
        list(PRESETS),
        key="preset",
        bind="query-params",
        on_change=_apply_preset,
        help=help_of(RunOptions, "preset") + bullet_list({n: p.help for n, p in PRESETS.items()}),
    )
    with st.expander("More"):
        return _render_more(rho, normalization, preset)


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
    rule = st.segmented_control(
        "DBSCAN radius",
        [_KNEE, _QUANTILE],
        default=_KNEE,
        required=True,
        key="eps",
        bind="query-params",
        help="Images nearer than this radius (eps) are neighbours. “knee”: where each layer's "
        "sorted k-distance curve bends most (the rule of Kneedle, 2011). “quantile”: a share of "
        "each layer's distances.",
    )
    quantile = None
    if rule == _QUANTILE:
        quantile = st.slider(
            "Quantile of the distances",
            value=0.1,
            key="eps_quantile",
            bind="query-params",
            **number_settings(ClusterOptions, "eps_quantile"),
        )
    return Choice(rho, normalization, preset, summary, min_persistence, quantile, unit)


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
