"""Which cloud of an analysis is drawn: a random subset, a batch, or all images."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app.cache.live import MOST_IMAGES
from app.components.shared.polling import redraw_page
from app.state import Shown, choose_batch, chosen_batch, session


def chosen_cloud(shown: Shown) -> int | None:
    """The cloud that live views show, counted from 0; None: all images."""
    number = chosen_subset(shown)
    if number is None:
        number = chosen_batch(_batches(shown)) if _batches(shown) else 1
    return number - 1 if number else None


def cloud_name(what: str, shown: Shown) -> str:
    """The name of a file, with the number of the cloud where there are several."""
    cloud = chosen_cloud(shown)
    several = len(shown.report.clouds) > 1
    return f"{what}-{0 if cloud is None else cloud + 1}" if several else what


def chosen_subset(shown: Shown) -> int | None:
    """The subset whose loops are drawn, counted from 1, or 0 for all images as one cloud.

    None without subsets: the loops of all clouds are drawn.
    """
    report = shown.report
    if report.pooling != "subsets" or len(report.clouds) < 2:
        return None
    number = int(st.session_state.get("subset", 1))
    return number if _least(shown) <= number <= len(report.clouds) else 1


def render_subset(shown: Shown) -> None:
    """Draw the choice of the subset whose loops are drawn, if there are any."""
    if chosen_subset(shown) is None:
        return
    subsets, least = len(shown.report.clouds), _least(shown)
    st.number_input(
        f"Subset, of {subsets}" + ("" if least else "; 0: all images"),
        least,
        subsets,
        1,
        key="subset",
        bind="query-params",
        on_change=_redraw_pinned,
        help="b₁ is the mean over all subsets; the figures show the loops of one. Step through "
        "them to see how far they differ"
        + ("." if least else ", or choose 0 for one cloud of all."),
        width=220,
    )


def render_batch(shown: Shown, place: str) -> None:
    """Draw the choice of the batch that live views show, if there are several.

    It may be drawn at several places of a page: all show the same one.
    """
    batches = _batches(shown)
    if not batches:
        return
    key = f"batch_{place}"
    st.session_state[key] = chosen_batch(batches)
    st.number_input(
        f"Batch, of {batches}",
        1,
        batches,
        key=key,
        on_change=partial(_choose_batch, key),
        help="b₁ is the mean over all batches; a live view shows one. All live views show the "
        "same one.",
        width=150,
    )


def _choose_batch(widget: str) -> None:
    choose_batch(widget)
    _redraw_pinned()


def _redraw_pinned() -> None:
    """Draw the page where pinned layers show the same cloud as the part with the choice of it."""
    if session().profile.pinned_layers:
        redraw_page()


def _batches(shown: Shown) -> int:
    """How many there are to choose from."""
    report = shown.report
    several = report.pooling == "per-batch" and len(report.clouds) > 1
    return len(report.clouds) if several else 0


def _least(shown: Shown) -> int:
    """0 if all images may be drawn as one cloud, which takes too long with very many; else 1."""
    return int(shown.report.samples > MOST_IMAGES)
