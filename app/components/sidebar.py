"""The sidebar that all pages share: what to analyse, and what to read off it."""

from __future__ import annotations

import streamlit as st

from analysis.datasets import DATASETS, SHIFTS, dataset_spec
from analysis.errors import OptionError
from analysis.models import MODELS
from analysis.options import (
    MAX_SEVERITY,
    MIN_SAMPLES,
    PRESETS,
    WEIGHTS,
    AnalysisOptions,
    Preset,
)
from analysis.scores import NORMALIZATIONS
from analysis.summaries import SUMMARIES
from app.state import Choice, session

_DEFAULT = AnalysisOptions()
_KNEE, _QUANTILE = "knee", "quantile"


def render_sidebar() -> tuple[AnalysisOptions | None, Choice]:
    """Draw the controls.

    Returns
    -------
    options : AnalysisOptions or None
        What the controls ask for; None, with a message on the page, if that cannot be.
    choice : Choice
    """
    with st.sidebar:
        st.markdown("## BettiScope")
        above, below = st.container(), st.container()
        with below:
            st.divider()
            choice = _render_choice()  # first, since the preset bounds the number of images
        with above:
            options = _render_options(PRESETS[choice.preset])
            asked = st.button(
                "Analyse",
                type="primary",
                width="stretch",
                disabled=options is None,
                help="Run the images through the model once and measure every layer. "
                "An analysis that was made before comes back at once.",
            )
        if options is not None and (asked or session().wanted is None):
            session().request(options)
        return options, choice


def _render_options(preset: Preset) -> AnalysisOptions | None:
    model = st.selectbox(
        "Model",
        list(MODELS),
        key="model",
        bind="query-params",
        help="The network whose layers are compared. Pocket models come with BettiScope and need "
        "no network connection. " + _listed({n: s.description for n, s in MODELS.items()}),
    )
    weights = st.selectbox(
        "Weights",
        WEIGHTS,
        key="weights",
        bind="query-params",
        help=f"pretrained: as learned on {MODELS[model].trained_on}. random: a network that has "
        "learned nothing, to compare with. The pre-trained weights of full-size models are "
        "fetched over the network once.",
    )
    dataset = st.selectbox(
        "Dataset",
        list(DATASETS),
        key="dataset",
        bind="query-params",
        help="The images that go through the model. No labels are used. "
        + _listed({n: s.description for n, s in DATASETS.items()}),
    )
    shift = st.selectbox(
        "Shift",
        list(SHIFTS),
        key="shift",
        bind="query-params",
        help="Alter the images, to see how far the layers' shapes depend on them. "
        + _listed({n: s.help for n, s in SHIFTS.items()}),
    )
    severity = _DEFAULT.severity
    if shift != "none":
        severity = st.slider(
            "Severity",
            1,
            MAX_SEVERITY,
            _DEFAULT.severity,
            key="severity",
            bind="query-params",
            help="How strong the shift is, from 1 (slight) to 5.",
        )
    most = dataset_spec(dataset).sizes["train"]
    least = preset.batch_size if preset.pooling == "per-batch" else MIN_SAMPLES
    held = st.session_state.get("samples")
    if held is not None and not least <= held <= most:
        st.session_state["samples"] = min(max(held, least), most)
    left, right = st.columns(2)
    samples = left.number_input(
        "Images",
        least,
        most,
        _DEFAULT.samples,
        preset.batch_size,
        key="samples",
        bind="query-params",
        help=f"How many images, each one point of every layer's cloud. This preset takes "
        f"{preset.batches} batches of {preset.batch_size}; {dataset} has {most:,} to draw from.",
    )
    seed = right.number_input(
        "Seed",
        0,
        9999,
        _DEFAULT.seed,
        key="seed",
        bind="query-params",
        help="Which images are drawn, and which random weights. The same seed repeats a result.",
    )
    try:
        return AnalysisOptions(
            model=model,
            dataset=dataset,
            weights=weights,
            shift=shift,
            severity=severity,
            samples=int(samples),
            batch_size=preset.batch_size,
            seed=int(seed),
            pooling=preset.pooling,
        )
    except OptionError as error:
        st.error(str(error))
        return None


def _render_choice() -> Choice:
    rho = st.slider(
        "ρ · share of layers to train",
        0.01,
        1.0,
        0.1,
        0.01,
        key="rho",
        bind="query-params",
        help="ρ (rho): the best-scoring layers up to this share are trained, the rest is frozen.",
    )
    normalization = st.selectbox(
        "Normalisation",
        list(NORMALIZATIONS),
        key="normalization",
        bind="query-params",
        help="What the number of loops is divided by to give the score. "
        + _listed({n: f"{e.title}. {e.help}" for n, e in NORMALIZATIONS.items()}),
    )
    st.caption(NORMALIZATIONS[normalization].help)
    preset = st.selectbox(
        "Preset",
        list(PRESETS),
        key="preset",
        bind="query-params",
        on_change=_apply_preset,
        help="Three readings of the method. " + _listed({n: p.help for n, p in PRESETS.items()}),
    )
    with st.expander("More"):
        return _render_more(rho, normalization, preset)


def _render_more(rho: float, normalization: str, preset: str) -> Choice:
    summary = st.selectbox(
        "Score from",
        list(SUMMARIES),
        key="summary",
        bind="query-params",
        help="The number that summarises a layer's loops. "
        + _listed({n: s.help for n, s in SUMMARIES.items()}),
    )
    min_persistence = st.number_input(
        "Shortest loop that counts",
        0.0,
        value=0.0,
        step=0.1,
        key="min_persistence",
        bind="query-params",
        help="Minimum persistence: loops that live shorter (death − birth) are left out. In the "
        "layers' own distance units, which differ from layer to layer.",
    )
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
            0.01,
            0.5,
            0.1,
            0.01,
            key="eps_quantile",
            bind="query-params",
            help="This share of all pairs of images are neighbours.",
        )
    return Choice(rho, normalization, preset, summary, float(min_persistence), quantile)


def _apply_preset() -> None:
    preset = PRESETS[st.session_state["preset"]]
    st.session_state["samples"] = preset.samples
    st.session_state["normalization"] = preset.normalization


def _listed(entries: dict[str, str]) -> str:
    return "\n".join(["", *(f"- **{name}**: {text}" for name, text in entries.items())])
