"""The parts of a page that a moved ρ draws again, and nothing else.

They are fragments, and the slider is one too: it waits for a page that is still being drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec

import pandas as pd
import streamlit as st

from app.cache import layer_rows
from app.components.shared.polling import draws_parts
from app.state import Choice, Shown, session

SLIDER = "rho"
P = ParamSpec("P")


def start_rho_parts(draw_slider: Callable[[], float]) -> float:
    """Draw the slider of ρ, before any part of the page; see `redraw_rho_parts`."""
    session().rho_parts = [SLIDER]
    with st.container():  # for the reason given in `poll_until`
        return st.fragment(draw_slider, key=SLIDER)()


def render_rho_part(
    name: str,
    draw: Callable[Concatenate[Shown, pd.DataFrame, Choice, P], None],
    shown: Shown,
    choice: Choice,
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
    """Draw a part of the page that depends on ρ.

    Parameters
    ----------
    name : str
        Different from that of each other part.
    draw : callable
        Draws the part, from the analysis and its rows under a choice. If one of its widgets
        changes what is elsewhere, its callback must end in `polling.redraw_page`.
    shown, choice
        Of the whole page. The part is drawn with them and the ρ of the slider.
    args, kwargs
        What else `draw` takes.
    """

    @wraps(draw)
    def draw_now() -> None:
        now = replace(choice, rho=st.session_state[SLIDER])
        draw(shown, layer_rows(shown.key, now, shown.report), now, *args, **kwargs)

    with st.container():  # for the reason given in `poll_until`
        st.fragment(draw_now, key=name)()
    if name not in session().rho_parts:
        session().rho_parts.append(name)


def redraw_rho_parts() -> None:
    """Draw the parts that depend on ρ, all in one run; to be called when the slider moved."""
    if not draws_parts():
        return  # something else has changed too, and the whole page is drawn
    parts = session().rho_parts
    st.rerun(parts if len(parts) > 1 else "app")
