"""The choice of strategies in a form: the usual ones, and more criteria by what they need."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.options import RunOptions
from analysis.selection.strategies import NEEDS, STRATEGIES, Needs, reversed_name
from app.components.shared.help_texts import bullet_list
from app.components.shared.option_inputs import help_of
from app.state import session

USUAL = tuple(STRATEGIES)[:5]
REVERSE_HELP = (
    "Train the layers that each strategy would choose last, as a control. Head only, Full, and "
    "norms and biases rank no layers, so they stay as they are."
)


def render_strategies(key: str, default: Sequence[str], more: str) -> list[str]:
    """Draw the choice; the names chosen, the usual ones first.

    Parameters
    ----------
    key : str
        Of the usual strategies, and in the link; the others add what they need.
    default : sequence of str
        Usual ones.
    more : str
        Ends the help.
    """
    groups = {f"{key}_{needs}": (needs, names) for needs, names in _further().items()}
    _sort_link(key, groups)
    chosen: list[str] = st.pills(
        "Strategies", USUAL, selection_mode="multi", default=default, key=key, bind="query-params",
        help=help_of(RunOptions, "strategy", more) + _described(USUAL),
    )  # fmt: skip
    reverse, opened = f"{key}_reversed", f"{key}_opened"
    # Once open, it does not fold when its last choice is taken back.
    st.session_state[opened] = any(map(_is_set, (*groups, reverse, opened)))
    with st.expander("More criteria", expanded=st.session_state[opened], key=f"{key}_more"):
        for group, (needs, names) in groups.items():
            chosen = chosen + st.pills(
                NEEDS[needs].removesuffix("."), names, selection_mode="multi", key=group,
                bind="query-params", help=f"{NEEDS[needs]}{_described(names)}",
            )  # fmt: skip
        other_way = st.toggle(
            "Rank the other way", key=reverse, bind="query-params", help=REVERSE_HELP
        )
    return [reversed_name(name) for name in chosen] if other_way else chosen


def _further() -> dict[Needs, list[str]]:
    """The strategies that are not usual, by what they need; least first."""
    return {
        needs: [n for n, its in STRATEGIES.items() if its.needs == needs and n not in USUAL]
        for needs in NEEDS
    }


def _described(names: Sequence[str]) -> str:
    return bullet_list({name: STRATEGIES[name].description for name in names})


def _is_set(name: str) -> bool:
    return bool(st.session_state.get(name, st.query_params.get(name)))


def _sort_link(key: str, groups: dict[str, tuple[Needs, list[str]]]) -> None:
    """Move what a link has under the usual strategies, as older links do, to where it belongs."""
    named = st.query_params.get_all(key)
    moved = {group: [n for n in named if n in names] for group, (_, names) in groups.items()}
    if key in st.session_state or not any(moved.values()):
        return
    link = {group: names for group, names in moved.items() if names}
    link[key] = [name for name in named if not any(name in names for names in moved.values())]
    for name, values in link.items():
        known = st.query_params.get_all(name) if name != key else []
        st.query_params[name] = [*known, *values] or [""]
        session().link[name] = values
    st.rerun()
