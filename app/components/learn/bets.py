"""The class's bets by name: who bet on which choice of layers, and what it reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import streamlit as st

from analysis.errors import AnalysisError
from analysis.runs.standings import standings
from analysis.runs.store import Bet, Run
from analysis.selection.strategies import STRATEGIES
from analysis.text import share_text
from app.cache import run_queue
from app.components.shared.run_actions import attempt
from app.literal import literal, sentence, visible

_NAME, _NOTE, _SEEN = "bet_name", "bet_note", "bets_seen"
_GUESS = "guess_bet"
_LONGEST = 40  # characters of a name
_ROWS = 7  # of a table, before it scrolls: more would not fit a screen of 720 pixels


def render_name() -> None:
    """Draw the field for a name; with a name, `enter_bet` keeps the bet."""
    st.text_input(
        "Your name, for the table",
        key=_NAME,
        max_chars=_LONGEST,
        placeholder="optional",
        on_change=_ask_again,
        help="Type it before you bet. A table shows every name with its bet, on this computer "
        "only.",
    )


def _ask_again() -> None:
    """Let a new name choose: the choice on the page may be that of the name before."""
    if str(st.session_state[_NAME] or "").strip():
        st.session_state[_GUESS] = None


def enter_bet(rho: float) -> None:
    """Keep the answer under the name that was typed, if there are both."""
    who = " ".join(str(st.session_state.get(_NAME) or "").split())
    title = st.session_state.get(_GUESS)
    if not who or title is None:
        return
    st.session_state[_NAME] = ""  # for the next one
    if rho in st.session_state.get(_SEEN, ()):
        st.session_state[_NOTE] = (
            f"The results for ρ = {rho:.2f} are known here, so the bet of {literal(who)} was not "
            "entered. Move ρ to bet again."
        )
        return
    strategy = next(name for name, each in STRATEGIES.items() if each.title == title)
    try:
        entered = run_queue().store.add_bet(Bet(who, strategy, rho))
    except AnalysisError as error:
        st.session_state[_NOTE] = sentence(error)
        return
    st.session_state[_NOTE] = (
        f"{literal(who)} bets on {title}."
        if entered
        else f"{literal(who)} has bet for ρ = {rho:.2f} before, and the first bet counts."
    )


def render_note(rho: float, *, revealed: bool) -> None:
    """Say what became of the last bet, and remember whether the page shows its result."""
    if note := st.session_state.pop(_NOTE, ""):
        st.caption(note)
    if revealed:
        st.session_state.setdefault(_SEEN, set()).add(rho)


def bets_table(bets: Sequence[Bet], tried: Mapping[float, Sequence[Run]]) -> pd.DataFrame:
    """Each bet with what it reached, and which choice of layers was best for that ρ."""
    tables = {rho: standings(runs)[0] for rho, runs in tried.items()}
    lines = []
    for bet in bets:
        if bet.strategy not in STRATEGIES:  # of another version
            continue
        rows = tables.get(bet.rho, [])
        own = [row.mean for row in rows if row.strategy == bet.strategy]
        best = max((row.mean for row in rows), default=None)
        winners = [STRATEGIES[row.strategy].title for row in rows if row.mean == best]
        lines.append(
            {
                "Name": visible(bet.who),
                "Bet": STRATEGIES[bet.strategy].title,
                "Won": "" if not own else "yes" if own[0] == best else "no",
                "ρ": bet.rho,
                "Right": share_text(own[0]) if own else "not trained",
                "Best": " and ".join(winners),
            }
        )
    return pd.DataFrame(lines)


def render_bets(bets: Sequence[Bet], tried: Mapping[float, Sequence[Run]]) -> None:
    """Draw the bets of all names."""
    st.dataframe(
        bets_table(bets, tried),
        hide_index=True,
        height=table_height(len(bets)),
        column_config={"ρ": st.column_config.NumberColumn(format="%.2f")},
        alt="Who bet on which choice of layers, and what it reached",
    )
    st.button(
        "Forget all bets",
        type="tertiary",
        on_click=attempt,
        args=(run_queue().store.forget_bets,),
        help="Remove every name and bet from this computer. The runs stay.",
    )


def table_height(rows: int) -> int | Literal["content"]:
    """The pixels of a table on this step, or as high as its rows."""
    return "content" if rows <= _ROWS else 38 + 35 * _ROWS
