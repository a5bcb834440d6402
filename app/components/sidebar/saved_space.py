"""What saved analyses take on the disk, and how to change what they may take."""

from __future__ import annotations

import streamlit as st

from analysis.errors import StoreError
from analysis.topology.saved_limit import LIMIT_VARIABLE
from analysis.topology.store import analyses_folder
from app.cache import saved_space
from app.literal import sentence


def render_saved_space() -> None:
    """Draw what saved analyses take and may take."""
    try:
        st.caption(
            saved_space(analyses_folder()),
            help="When they need more, those used longest ago are removed. Runs and uploads stay. "
            f"To allow more, set `{LIMIT_VARIABLE}` to a number of gigabytes before you start "
            "BettiScope.",
        )
    except StoreError as error:
        st.error(sentence(error))
