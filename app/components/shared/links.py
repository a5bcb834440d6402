"""What a link may say of the controls, beyond what Streamlit itself checks."""

from __future__ import annotations

import math

import streamlit as st

from app.literal import code

# The controls that take numbers. Streamlit ends a page at one that is not finite.
NUMBERS = (
    "samples", "seed", "rho", "severity", "input_side", "memory", "min_persistence", "eps_quantile",
    "epochs", "seeds", "train_samples", "train_batch", "learning_rate", "momentum", "weight_decay",
    "grid_seeds", "grid_epochs", "grid_images", "grid_severity",
)  # fmt: skip


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


def _is_infinite(text: str) -> bool:
    try:
        return not math.isfinite(float(text))
    except ValueError:  # Streamlit drops it
        return False
