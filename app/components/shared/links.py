"""What a link may say of the controls, beyond what Streamlit itself checks."""

from __future__ import annotations

import math
from typing import NoReturn

import streamlit as st

from app.literal import code
from app.state import session

# The controls that take numbers. Streamlit ends a page at one that is not finite.
NUMBERS = (
    "samples", "subsets", "batch_size", "seed", "rho", "severity", "input_side", "input_resize",
    "memory", "min_persistence", "eps_quantile", "eps_distance", "min_samples", "subset", "batch",
    "epochs", "seeds", "train_samples", "train_batch",
    "learning_rate", "momentum", "weight_decay",
    "grid_seeds", "grid_epochs", "grid_images", "grid_severity", "proof_seeds", "mixture_share",
    "points", "scale", "pins_scale", "noise", "dimension", "followed",
    "learn_rho", "learn_draw", "bet_rho",
)  # fmt: skip

_HAVE_NOTES = ("dataset", "layer", "pin")  # of their own


def drop_infinite_numbers() -> None:
    """Take numbers that are not finite out of the link, draw the page again, and say so."""
    link = {name: st.query_params.get_all(name) for name in NUMBERS}
    infinite = {name: values for name, values in link.items() if any(map(_is_infinite, values))}
    if infinite:
        for name in infinite:
            del st.query_params[name]
        st.session_state["infinite_numbers"] = infinite
        st.rerun()
    for name, values in st.session_state.pop("infinite_numbers", {}).items():
        st.toast(
            f"The link has {name} = {code(', '.join(values)[:80])}, which is not a finite number. "
            "The usual value is used.",
            duration="infinite",
        )


def drop_from_link(name: str) -> NoReturn:
    """Take a value out of the link and draw the page again; `report_replaced` then names it."""
    session()  # remembers the link as it was
    del st.query_params[name]
    st.rerun()


def report_replaced() -> None:
    """Name the values of the link that the controls drawn so far do not take.

    Streamlit itself replaces them and takes them out of the link, but without a word.
    """
    link = session().link
    for name in [name for name in link if name in st.session_state]:
        texts, value = link.pop(name), st.session_state[name]
        if name in _HAVE_NOTES or (name == "samples" and session().uploads.reduced_images >= 0):
            continue
        values = value if isinstance(value, list) else [value]
        kept = st.query_params.get_all(name)
        gone = [t for t in texts if t not in kept and not any(_is_same(t, v) for v in values)]
        if gone:
            used = ", ".join(map(str, values)) if values != [None] else ""
            st.toast(
                f"The link has {name} = {code(', '.join(gone)[:80])}, which is not possible here. "
                + (f"{code(used[:80])} is used instead." if used else "The usual value is used."),
                duration="infinite",
            )


def _is_same(text: str, value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text.lower() == str(value).lower()


def _is_infinite(text: str) -> bool:
    try:
        return not math.isfinite(float(text))
    except ValueError:  # Streamlit drops it
        return False
