"""What the pages compute, and the only `st.cache_*` decorators.

Components and views compute no topology, scores or choice of layers, and train nothing: they ask
here, or put a question to the server's workers. What they may do themselves is arithmetic on
finished results, such as a mean over seeds. Keys are fingerprints; results are never altered.

What is shared between sessions is frozen or read only, so `cache_resource` spares the copies
that `cache_data` would make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from analysis.datasets import is_fetched, load_dataset
from analysis.errors import AssetError
from analysis.jobs.estimates import Estimates
from analysis.jobs.jobs import Jobs
from analysis.options import AnalysisOptions, LoopUnit
from analysis.results import Float64, Integers, TopologyReport
from analysis.runs.differences import Differences, differences
from analysis.runs.queue import RunQueue
from analysis.runs.standings import Standing
from analysis.runs.store import RunMetrics
from analysis.selection.decision import Decision
from analysis.selection.ranking import ranking
from analysis.selection.strategies import (
    STRATEGIES,
    Evidence,
    OrderShare,
    chosen_layers,
    order_share,
)
from analysis.system.processes import WorkerPool
from analysis.topology.embedding import embed
from analysis.topology.resummarize import resummarize
from analysis.topology.saved_limit import saved_text
from analysis.topology.store import fingerprint
from app.charts.diagram import diagram_figure
from app.charts.embedding import embedding_figure
from app.charts.profile import (
    Column,
    profile_figure,
    profile_titles_figure,
    profile_with_selection,
)
from app.pictures import Picture, picture
from app.state import Choice
from app.theme import PALETTES, DrawnFigure

TALL = 46  # layers; a profile with more is drawn denser
ROW, DENSE_ROW = 16, 15  # pixels


@st.cache_resource(show_spinner=False)
def _pool() -> WorkerPool:
    return WorkerPool()


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """The server's analyses."""
    return Jobs(_pool())


@st.cache_resource(show_spinner=False)
def run_queue() -> RunQueue:
    """The server's fine-tunes, and the store of all runs."""
    return RunQueue(pool=_pool())


@st.cache_resource(show_spinner=False)
def estimates() -> Estimates:
    """The server's predictions of time and memory."""
    return Estimates(jobs())


@st.cache_resource(max_entries=4096, show_spinner=False)
def ended_metrics(run_id: str, revision: int) -> RunMetrics:
    """The metrics of a run that has ended, at its `revision`."""
    return run_queue().store.metrics(run_id)


@st.cache_data(ttl=10, show_spinner=False)
def saved_space(folder: Path) -> str:
    """What the saved analyses in a folder take, and may take.

    Raises
    ------
    StoreError
        If the limit is none.
    """
    return saved_text(folder)


def run_differences(table: Sequence[Standing]) -> Differences | None:
    """The standings held against each other, image by image; see `differences`."""
    key = tuple(tuple((run.id, run.revision) for run in standing.runs) for standing in table)
    return _run_differences(key, table)


@st.cache_resource(max_entries=64, show_spinner=False)
def _run_differences(
    key: tuple[tuple[tuple[str, int], ...], ...], _table: Sequence[Standing]
) -> Differences | None:
    return differences(_table, lambda run: run_queue().store.predictions(run.id))


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """The images of an analysis, as a page shows them."""

    indices: Integers  # positions in the whole dataset
    names: tuple[str, ...]  # the class of each image
    classes: tuple[str, ...]  # of the dataset; empty without labels
    pictures: tuple[Picture, ...]


@st.cache_resource(max_entries=16, show_spinner=False)
def drawn_images(options: AnalysisOptions, key: str) -> DrawnImages:
    """The images that an analysis used; `key` is its fingerprint.

    Raises
    ------
    AnalysisError
        If the images no longer exist or have changed.
    """
    if not is_fetched(options.dataset):  # a page downloads nothing unasked
        raise AssetError(f"The images of {options.dataset} are no longer on this computer.")
    if fingerprint(options) != key:
        raise AssetError(
            "The images or weights have changed since this analysis. Press Analyse to repeat it."
        )
    data = load_dataset(
        options.dataset, split=options.split, shift=options.shift, severity=options.severity
    )
    drawn = data.sample(options.samples, seed=options.seed)
    classes = drawn.class_names
    return DrawnImages(
        indices=drawn.indices,
        names=tuple(classes[label] if classes else "no label" for label in drawn.labels),
        classes=classes,
        pictures=tuple(picture(image) for image in drawn.images),
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def report_for_choice(
    key: str,
    min_persistence: float,
    persistence_unit: LoopUnit,
    eps_quantile: float | None,
    _report: TopologyReport,
) -> TopologyReport:
    """A report summarised with the sidebar's settings; `key` is its fingerprint."""
    return resummarize(
        _report,
        min_persistence=min_persistence,
        persistence_unit=persistence_unit,
        eps_quantile=eps_quantile,
    )


@st.cache_resource(max_entries=128, show_spinner=False)
def layer_rows(key: str, choice: Choice, _report: TopologyReport) -> pd.DataFrame:
    """One row per layer with its score, rank and selection, for charts and table."""
    rows = ranking(
        _report,
        rho=choice.rho,
        normalization=choice.normalization,
        preset=choice.preset,
        summary=choice.summary,
    )
    return rows.assign(activation_bytes=rows["activation_size"] // _report.samples * 4)


@st.cache_resource(max_entries=128, show_spinner=False)
def decision(key: str, choice: Choice, _rows: pd.DataFrame, _head: str | None) -> Decision:
    """What decided the selection in `layer_rows`; `key` is the report's fingerprint."""
    return Decision.of(_rows, _head)


@st.cache_resource(max_entries=64, show_spinner=False)
def strategy_layers(
    key: str, choice: Choice, seed: int, strategies: tuple[str, ...], _report: TopologyReport
) -> dict[str, tuple[str, ...]]:
    """The layers that each strategy trains, best first, unless it needs gradients to choose them.

    `key` is the report's fingerprint.
    """
    evidence = _evidence(choice, seed, _report)
    return {
        name: tuple(chosen_layers(name, evidence, rho=choice.rho, preset=choice.preset))
        for name in strategies
        if STRATEGIES[name].needs != "gradients"
    }


@st.cache_resource(max_entries=64, show_spinner=False)
def order_shares(
    key: str, choice: Choice, seed: int, strategies: tuple[str, ...], _report: TopologyReport
) -> dict[str, OrderShare]:
    """How far the execution order decides in `strategy_layers`, where it does."""
    evidence = _evidence(choice, seed, _report)
    shares = {
        name: order_share(name, evidence, rho=choice.rho, preset=choice.preset)
        for name in strategies
        if STRATEGIES[name].needs != "gradients"
    }
    return {name: share for name, share in shares.items() if share.sentence}


def _evidence(choice: Choice, seed: int, report: TopologyReport) -> Evidence:
    return Evidence.of_report(
        report,
        normalization=choice.normalization,
        seed=seed,
        summary=choice.summary,
        min_persistence=choice.min_persistence,
        persistence_unit=choice.persistence_unit,
    )


@st.cache_resource(max_entries=256, show_spinner=False)
def profile(
    key: str,
    choice: Choice,
    columns: tuple[Column, ...],
    appearance: str,
    opened: str | None,
    _rows: pd.DataFrame,
) -> DrawnFigure:
    """The layer profile. Streamlit drops a chart's selection when its figure changes."""
    chosen = _rows.loc[_rows["selected"], "score"]
    plain = profile_with_selection(
        _profile_parts(key, replace(choice, rho=1.0), columns, appearance, _rows)[0],
        _rows,
        threshold=None if chosen.empty else float(chosen.min()),
        palette=PALETTES[appearance],
        opened=opened,
    )
    return DrawnFigure(plain)


def profile_titles(
    key: str, choice: Choice, columns: tuple[Column, ...], appearance: str, rows: pd.DataFrame
) -> DrawnFigure:
    """The titles of the layer profile, which stay in sight while it scrolls."""
    return _profile_parts(key, replace(choice, rho=1.0), columns, appearance, rows)[1]


@st.cache_resource(max_entries=64, show_spinner=False)
def _profile_parts(
    key: str,
    choice: Choice,
    columns: tuple[Column, ...],
    appearance: str,
    _rows: pd.DataFrame,
) -> tuple[dict[str, Any], DrawnFigure]:
    """What does not depend on ρ, which `choice` leaves out: the profile and its titles."""
    height = ROW if len(_rows) <= TALL else DENSE_ROW
    palette = PALETTES[appearance]
    figure = profile_figure(
        _rows, threshold=None, columns=columns, palette=palette, row_height=height
    )
    return figure.to_dict(), DrawnFigure(profile_titles_figure(figure, palette).to_dict())


@st.cache_resource(max_entries=256, show_spinner=False)
def diagram(
    key: str,
    layer: str,
    min_persistence: float,
    span: tuple[float, float] | None,
    appearance: str,
    height: int,
    _report: TopologyReport,
) -> DrawnFigure:
    """The persistence diagram of a layer."""
    figure = diagram_figure(
        _report.layer(layer).diagram,
        min_persistence=min_persistence,
        span=span,
        palette=PALETTES[appearance],
        height=height,
    )
    return DrawnFigure(figure.to_dict())


@st.cache_resource(max_entries=256, show_spinner=False)
def image_map(
    key: str,
    layer: str,
    by: str,
    appearance: str,
    height: int,
    _images: DrawnImages,
    _groups: Sequence[str],
    _report: TopologyReport,
) -> DrawnFigure:
    """The map of a layer's images, coloured `by` cluster or class: their `groups`."""
    # Longer names appear only on hover.
    short = _images.classes and max(map(len, _images.classes)) <= 2
    figure = embedding_figure(
        embedding(key, layer, _report),
        groups=_groups,
        texts=[
            f"image {i}: {name}" for i, name in zip(_images.indices, _images.names, strict=True)
        ],
        labels=list(_images.names) if short else None,
        palette=PALETTES[appearance],
        height=height,
    )
    return DrawnFigure(figure.to_dict())


@st.cache_resource(max_entries=128, show_spinner=False)
def embedding(key: str, layer: str, _report: TopologyReport) -> Float64:
    """A layer's images in the plane, (N, 2)."""
    return embed(_report.layer(layer).distances)
