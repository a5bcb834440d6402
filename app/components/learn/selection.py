"""The fourth step: from the loops of each layer to a choice of layers, and how far to trust it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from analysis.options import RunOptions
from analysis.results import Float64, TopologyReport
from analysis.selection.scores import NORMALIZATIONS
from app.cache import layer_rows, selection_certainty
from app.cache.learn import cloud_choices
from app.charts.layer_bars import layer_bars_figure
from app.charts.once import drawn_once
from app.components.learn.frame import ask, step_columns
from app.components.learn.lesson import obtain_lesson
from app.components.shared.glossary import linked
from app.components.shared.help_texts import bullet_list
from app.literal import code
from app.state import Choice, Shown, appearance, is_large
from app.theme import PALETTES, chart_config

TITLE = "From counts to a choice"
TEXT = (
    f"AdaBet trains the layers with the most {linked('loop', 'loops')} for their "
    f"{linked('normalisation', 'size')}. Move the controls, then {linked('draw')} other images."
)
_ANSWERS = ["all", "most", "few", "none"]


def render_selection() -> None:
    """Draw the step."""
    shown = obtain_lesson()
    if shown is not None:
        st.fragment(_render, key="learn_selection_step")(shown)


def _render(shown: Shown) -> None:
    report = shown.report
    left, right = step_columns()
    with right:
        choice, draw = _choose(report)
    rows = layer_rows(shown.key, choice, report)
    scores, chosen, shared = cloud_choices(shown.key, choice, rows, report)
    if draw:
        values, marked = scores[draw - 1], chosen[draw - 1]
    else:
        values = rows["score"].where(rows["rank"].notna()).to_numpy(float)
        marked = rows["selected"].to_numpy(bool)
    with left:
        question = "Draw other images: how many of the chosen layers are chosen again?"
        guess = ask("selection", question, _ANSWERS)
        if guess is not None:
            _render_answer(guess, shown, choice, rows, shared)
    with right:
        _render_choice(rows["layer"].tolist(), values, marked, draw, choice.normalization)


def _choose(report: TopologyReport) -> tuple[Choice, int]:
    """Draw the controls: how layers are scored, and by which images; 0 is all of them."""
    how, share, images = st.columns([2, 2, 3])
    normalization = how.selectbox(
        "Count loops",
        list(NORMALIZATIONS),
        format_func=lambda name: NORMALIZATIONS[name].title,
        key="learn_normalization",
        bind="query-params",
        help="What one layer has more of than another."
        + bullet_list({entry.title: entry.help for entry in NORMALIZATIONS.values()}),
    )
    rho = share.slider(
        "ρ · share to train", 0.02, 0.5, RunOptions.rho, 0.02, key="learn_rho", bind="query-params"
    )
    draws, size = report.clouds.shape
    draw = images.slider(
        f"Draw of {size} images (0: all {draws})",
        0,
        draws,
        0,
        key="learn_draw",
        bind="query-params",
    )
    return Choice(rho, normalization, RunOptions.preset), draw


def _render_choice(
    names: list[str], scores: Float64, marked: NDArray[np.bool_], draw: int, normalization: str
) -> None:
    best = np.nanmax(scores, initial=0.0) or 1.0
    chosen = [code(name or "(model)") for name, one in zip(names, marked, strict=True) if one]
    by = f"Draw {draw} chooses" if draw else "The mean over all draws chooses"
    st.markdown(f"**{by}** {', '.join(chosen)}.")
    figure = layer_bars_figure(
        names,
        scores / best,
        marked,
        title="score, the best is 1",
        palette=PALETTES[appearance()],
        height=225 if is_large() else 340,
    )
    st.plotly_chart(
        drawn_once(figure),
        key="learn_scores",
        theme=None,
        config=chart_config("bettiscope-scores"),
        alt="The score of each layer, from the first to the last; chosen layers stand out",
    )
    if normalization != "none":
        plain = NORMALIZATIONS["none"].title
        st.caption(f"This favours small layers. Count loops “{plain}” to see b₁ itself.")


def _render_answer(
    guess: str, shown: Shown, choice: Choice, rows: pd.DataFrame, shared: float
) -> None:
    draws, size = shown.report.clouds.shape
    count = int(rows["selected"].sum())
    with st.container(key="answer", gap="small"):
        st.metric(f"Layers that two draws share (you said {guess})", f"{shared:.1f} of {count}")
        st.markdown(
            f"That is the mean over all pairs of the {draws} draws, each {size} of the same "
            f"{shown.report.samples} images."
        )
        known = selection_certainty(shown.key, choice, rows, shown.report)
        if known is not None:
            st.markdown(
                f"The mean over all draws would keep **{known.now.kept:.1f} of {count}** with "
                f"{shown.report.samples} new images (predicted)."
            )
        trust = ask("trust", "What would you trust?", ["one draw", "the mean", "neither yet"])
        if trust is not None:
            st.markdown(
                "A choice that luck changes is no reason to train a layer, and one that it keeps "
                "may train badly. The next step puts it to the test."
            )
