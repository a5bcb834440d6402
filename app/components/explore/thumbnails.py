"""The images of an analysis, group by group."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.text import plural
from app.pictures import Picture, mosaic

MOST = 200  # images per group; more would slow the page


def render_thumbnails(pictures: Sequence[Picture], groups: Sequence[str]) -> None:
    """Draw the images by group, the largest group first and noise last."""
    for group in sorted(set(groups), key=lambda g: (g == "noise", -groups.count(g), g)):
        members = [i for i, other in enumerate(groups) if other == group]
        rest = f", the first {MOST} shown" if len(members) > MOST else ""
        st.caption(f"{group}: {plural(len(members), 'image')}{rest}")
        st.image(mosaic([pictures[i] for i in members[:MOST]]), width="content")
