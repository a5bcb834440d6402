"""The frame of the page Learn: one step at a time, and one question before each reveal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.shared.glossary import glossary_list
from app.state import is_large

_KEYS = Path(__file__).resolve().parents[3] / "assets" / "learn_keys.js"
_listen = st.components.v2.component("learn_keys", js=_KEYS.read_text("utf-8"))
_STYLE = """<style>
/* The steps have controls of their own; the sidebar would take a quarter of the screen. */
@media (min-width: 769px) { /* below, it holds the navigation */
  [data-testid=stSidebar], [data-testid=stExpandSidebarButton] { display: none; }
}
h1 { padding: 0; font-size: 1.5rem; }
.st-key-clock { color: gray; }
.st-key-steps .st-key-back { margin-left: auto; }
/* In large type a row of answers may be wider than its column. */
[class*=st-key-guess_] [role=radiogroup] { flex-wrap: wrap; }
.st-key-answer [data-testid=stMetricValue] { font-size: 3rem; line-height: 1.1; }
@media (min-width: 641px) {
  [data-testid=stMainBlockContainer] { padding: 3.9rem 2rem 1rem; }
}
</style>"""
# A screen of 720 pixels must hold a step in large type too, so what is between the lines is less.
_LARGE_STYLE = """<style>
@media (min-width: 641px) {
  [data-testid=stMainBlockContainer] { padding-bottom: 0.4rem; }
  [data-testid=stMainBlockContainer] [data-testid=stVerticalBlock] { gap: 0.35rem; }
  [data-testid=stMainBlockContainer] [data-testid=stMarkdown] :is(p, li) { line-height: 1.35; }
  .st-key-answer [data-testid=stMetricValue] { padding: 0; font-size: 2rem; line-height: 1.15; }
  :is(.st-key-steps, .st-key-answer, .st-key-bet_train) [data-testid=stButton] button {
    min-height: 2rem;
  }
  [data-testid=stMain] [role=tabpanel] { padding-top: 0.35rem; }
  .st-key-guess_bet [role=radiogroup] button { padding: 0 0.4rem; }
}
</style>"""


@dataclass(frozen=True)
class Step:
    title: str  # one idea, as a sentence
    text: str  # at most two sentences, below the title
    render: Callable[[], None]


def render_frame(steps: Sequence[Step]) -> None:
    """Draw the step that the link or the buttons choose, with the way to the others."""
    st.html(_STYLE)
    if is_large():
        st.html(_LARGE_STYLE)
    names = [str(place) for place in range(1, len(steps) + 1)]
    with st.container(horizontal=True, vertical_alignment="center", key="steps", gap="small"):
        chosen = st.segmented_control(
            "Step",
            names,
            default=names[0],
            required=True,
            key="step",
            bind="query-params",
            label_visibility="collapsed",
        )
        place = names.index(chosen or names[0])
        step = steps[place]
        st.title(step.title, anchor=False, width="content")
        _render_way("Back", place - 1, names, "Page Up")
        _render_way("Next", place + 1, names, "Page Down")
        with st.popover("Glossary", type="tertiary"):
            st.markdown(glossary_list())
        st.button(
            "Aa",
            key="type",
            on_click=_toggle_type,
            type="tertiary",
            help="Larger text on pages and in figures, for a projector, and a clock.",
        )
        with st.container(key="clock", width="content"):
            _listen(key="learn_keys", data={"clock": is_large()})
    st.markdown(step.text)
    step.render()


def step_columns() -> tuple[DeltaGenerator, DeltaGenerator]:
    """The column of the question and its answer, and that of what one looks at."""
    left, right = st.columns([1, 2], gap="small")
    return left, right


def ask(
    name: str,
    question: str,
    answers: Sequence[str],
    on_change: Callable[[], None] | None = None,
) -> str | None:
    """Draw a question; None until it is answered. The name tells it from all others."""
    st.markdown(f"**{question}**")
    answer = st.segmented_control(
        question,
        answers,
        key=f"guess_{name}",
        on_change=on_change,
        label_visibility="collapsed",
        persist_state="session",
    )
    if answer is None:
        st.caption("Guess, and the answer appears.")
    return answer


def _render_way(label: str, place: int, names: Sequence[str], key: str) -> None:
    there = 0 <= place < len(names)
    st.button(
        label,
        key=label.lower(),  # as assets/learn_keys.js knows them
        type="primary" if label == "Next" else "secondary",
        disabled=not there,
        on_click=_go,
        args=(names[place] if there else "",),
        help=f"Or press {key}.",
    )


def _go(name: str) -> None:
    st.session_state["step"] = name


def _toggle_type() -> None:
    st.session_state["large"] = not is_large()
