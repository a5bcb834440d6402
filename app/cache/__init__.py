"""What the pages compute, and the only `st.cache_*` decorators.

Components and views compute no topology, scores or choice of layers, and train nothing: they ask
here, or put a question to the server's workers. What they may do themselves is arithmetic on
finished results, such as a mean over seeds. Keys are fingerprints; results are never altered.

What is shared between sessions is frozen or read only, so `cache_resource` spares the copies
that `cache_data` would make.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from analysis.datasets import dataset_spec, is_fetched, load_dataset
from analysis.errors import AnalysisError, AssetError, StoreError
from analysis.jobs.estimates import Estimates
from analysis.jobs.jobs import Jobs
from analysis.options import AnalysisOptions, ClusterOptions, LoopUnit
from analysis.results import Float32, Float64, Integers, TopologyReport
from analysis.runs.differences import Differences, differences
from analysis.runs.queue import RunQueue
from analysis.runs.standings import Standing
from analysis.runs.store import RunMetrics
from analysis.selection.certainty import Certainty, certainty, with_probability
from analysis.selection.decision import Decision
from analysis.selection.ranking import equal_rho, ranking
from analysis.selection.strategies import (
    ALL_STRATEGIES,
    Evidence,
    OrderShare,
    chosen_layers,
    order_share,
)
from analysis.selection.totals import Totals
from analysis.system.processes import WorkerPool
from analysis.topology.cluster_curve import ClusterCurve, cluster_curve
from analysis.topology.cluster_grid import ClusterGrid, cluster_grid
from analysis.topology.embedding import embed
from analysis.topology.layer_test_store import RotationRequest, load_tests, made_at, made_tests
from analysis.topology.layer_tests import LayerTests
from analysis.topology.persistence import persistence
from analysis.topology.resummarize import resummarize
from analysis.topology.rotation import DRAWS, LEVEL, Truths, rotation_test
from analysis.topology.saved_limit import saved_text
from analysis.topology.store import fingerprint
from analysis.training.followed import FollowedTopology, load_followed
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

# Streamlit takes twice as long to hash a dataclass as all the rest of a cached answer takes.
_cached = partial(st.cache_resource, show_spinner=False, hash_funcs={Choice: repr})

TALL = 46  # layers; a profile with more is drawn denser
ROW, DENSE_ROW = 16, 15  # pixels
WARM_AFTER = 5.0  # seconds without a new page; a browser draws the first one for as long


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


@st.cache_resource(max_entries=256, show_spinner=False)
def followed_topology(run_id: str, revision: int) -> FollowedTopology | str:
    """The loops of a run's layers by epoch, at its `revision`; a sentence if there are none."""
    try:
        return load_followed(run_queue().store.topology_path(run_id))
    except StoreError as error:
        return str(error)


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
    clusters: ClusterOptions,
    _report: TopologyReport,
) -> TopologyReport:
    """A report summarised with the sidebar's settings; `key` is its fingerprint."""
    return resummarize(
        _report,
        min_persistence=min_persistence,
        persistence_unit=persistence_unit,
        clusters=clusters,
    )


def layer_rows(key: str, choice: Choice, report: TopologyReport) -> pd.DataFrame:
    """One row per layer with its score, rank and selection, for charts and table."""
    rows: pd.DataFrame = _layer_rows(key, _equal(choice, report), report)
    return rows


def _equal(choice: Choice, report: TopologyReport) -> Choice:
    """The same choice for every ρ that chooses as many layers."""
    return replace(choice, rho=equal_rho(report, rho=choice.rho, preset=choice.preset))


@_cached(max_entries=128)
def _layer_rows(key: str, choice: Choice, _report: TopologyReport) -> pd.DataFrame:
    rows = ranked_rows(_report, choice)
    return with_probability(rows, _certainty(choice, rows, _report))


def _certainty(choice: Choice, rows: pd.DataFrame, report: TopologyReport) -> Certainty | None:
    how = {"normalization": choice.normalization, "summary": choice.summary}
    return certainty(report, rows, **how)


def selection_certainty(
    key: str, choice: Choice, rows: pd.DataFrame, report: TopologyReport
) -> Certainty | None:
    """How sure the selection in `layer_rows` is; None if that is not known."""
    known: Certainty | None = _selection_certainty(key, _equal(choice, report), rows, report)
    return known


@_cached(max_entries=128)
def _selection_certainty(
    key: str, choice: Choice, _rows: pd.DataFrame, _report: TopologyReport
) -> Certainty | None:
    return _certainty(choice, _rows, _report)


def certainty_sentence(
    key: str, choice: Choice, rows: pd.DataFrame, report: TopologyReport, dataset: str
) -> str:
    """How sure the selection in `layer_rows` is, in words; empty if that is not known."""
    text: str = _certainty_sentence(key, _equal(choice, report), rows, report, dataset)
    return text


@_cached(max_entries=128)
def _certainty_sentence(
    key: str, choice: Choice, _rows: pd.DataFrame, _report: TopologyReport, dataset: str
) -> str:
    known = _certainty(choice, _rows, _report)
    most = None
    with suppress(AnalysisError):  # a dataset of the user's that is gone
        most = dataset_spec(dataset).sizes["train"]
    return known.sentence(most) if known else ""


def ranked_rows(
    report: TopologyReport, choice: Choice, tests: LayerTests | None = None
) -> pd.DataFrame:
    rows = ranking(
        report,
        rho=choice.rho,
        normalization=choice.normalization,
        preset=choice.preset,
        summary=choice.summary,
        tests=tests,
    )
    return rows.assign(activation_bytes=rows["activation_size"] // report.samples * 4)


def selection(
    key: str, choice: Choice, rows: pd.DataFrame, report: TopologyReport
) -> tuple[Decision, Totals]:
    """What decided the selection in `layer_rows`, and what it comes to."""
    both: tuple[Decision, Totals] = _selection(key, _equal(choice, report), rows, report)
    return both


@_cached(max_entries=128)
def _selection(
    key: str, choice: Choice, _rows: pd.DataFrame, _report: TopologyReport
) -> tuple[Decision, Totals]:
    return Decision.of(_rows, _report.head), Totals.of(_rows)


@_cached(max_entries=128)
def _layer_table(key: str, choice: Choice, _rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(_rows.assign(noise_share=100 * _rows["noise_share"]))


def layer_table(key: str, choice: Choice, rows: pd.DataFrame, report: TopologyReport) -> pa.Table:
    """The rows for the browser, in the form that Streamlit sends; noise in per cent."""
    return _layer_table(key, _equal(choice, report), rows)


@_cached(max_entries=64)
def strategy_layers(
    key: str, choice: Choice, seed: int, strategies: tuple[str, ...], _report: TopologyReport
) -> dict[str, tuple[str, ...]]:
    """The layers that each strategy trains, best first, unless the report does not show them.

    `key` is the report's fingerprint.
    """
    evidence = _evidence(choice, seed, _report)
    return {
        name: tuple(chosen_layers(name, evidence, rho=choice.rho, preset=choice.preset))
        for name in strategies
        if ALL_STRATEGIES[name].chooses_at_once
    }


@_cached(max_entries=64)
def order_shares(
    key: str, choice: Choice, seed: int, strategies: tuple[str, ...], _report: TopologyReport
) -> dict[str, OrderShare]:
    """How far the execution order decides in `strategy_layers`, where it does."""
    evidence = _evidence(choice, seed, _report)
    shares = {
        name: order_share(name, evidence, rho=choice.rho, preset=choice.preset)
        for name in strategies
        if ALL_STRATEGIES[name].chooses_at_once
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


def profile(
    key: str,
    choice: Choice,
    columns: tuple[Column, ...],
    appearance: str,
    revision: int,
    rows: pd.DataFrame,
    report: TopologyReport,
) -> DrawnFigure:
    """The layer profile. With another `revision` the browser forgets which mark was clicked."""
    drawn: DrawnFigure = _profile(key, _equal(choice, report), columns, appearance, revision, rows)
    return drawn


@_cached(max_entries=256)
def _profile(
    key: str,
    choice: Choice,
    columns: tuple[Column, ...],
    appearance: str,
    revision: int,
    _rows: pd.DataFrame,
) -> DrawnFigure:
    chosen = _rows.loc[_rows["selected"], "score"]
    plain = profile_with_selection(
        _profile_parts(key, replace(choice, rho=1.0), columns, appearance, _rows)[0],
        _rows,
        threshold=None if chosen.empty else float(chosen.min()),
        palette=PALETTES[appearance],
    )
    return DrawnFigure({**plain, "layout": {**plain["layout"], "selectionrevision": revision}})


def profile_titles(
    key: str, choice: Choice, columns: tuple[Column, ...], appearance: str, rows: pd.DataFrame
) -> DrawnFigure:
    """The titles of the layer profile, which stay in sight while it scrolls."""
    drawn: DrawnFigure = _profile_parts(key, replace(choice, rho=1.0), columns, appearance, rows)[1]
    return drawn


@_cached(max_entries=64)
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
    subset: int | None,
    min_persistence: float,
    span: tuple[float, float] | None,
    appearance: str,
    height: int,
    tested: RotationRequest | None,
    _passes: Truths | None,
    _report: TopologyReport,
) -> DrawnFigure:
    """The diagram of a layer's `drawn_loops`; `tested` is the test that says which pass."""
    figure = diagram_figure(
        drawn_loops(key, layer, subset, _report),
        min_persistence=min_persistence,
        passes=_passes,
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


@st.cache_resource(max_entries=64, show_spinner=False)
def layer_clusters(
    key: str, layer: str, min_samples: int, _report: TopologyReport
) -> tuple[ClusterGrid, ClusterCurve]:
    """DBSCAN's clusters in a layer at many settings, and at every radius for `min_samples`."""
    distances = _report.layer(layer).distances
    return cluster_grid(distances), cluster_curve(distances, min_samples=min_samples)


def layer_tests(request: RotationRequest) -> LayerTests | None:
    """The tests of a saved analysis; None if they were never made."""
    saved = made_at(request)
    return None if saved is None else _layer_tests(request)


@st.cache_resource(max_entries=16, show_spinner=False)
def _layer_tests(request: RotationRequest) -> LayerTests | None:
    return load_tests(request)


def best_layer_tests(key: str) -> tuple[RotationRequest, LayerTests] | None:
    """The tests with the most draws of the analysis with this fingerprint, if there are any."""
    request = made_tests(key)
    tests = None if request is None else layer_tests(request)
    return None if request is None or tests is None else (request, tests)


def drawn_loops(key: str, layer: str, subset: int | None, report: TopologyReport) -> Float32:
    """The intervals (k, 2) of a subset, counted from 1, or those of all clouds if it is None.

    With 0, those of all images as one cloud.
    """
    measured = report.layer(layer)
    if subset is None or not measured.diagrams:
        return measured.diagram
    return measured.diagrams[subset - 1] if subset else whole_cloud(key, layer, report)[1]


@st.cache_resource(max_entries=64, show_spinner=False)
def whole_cloud(key: str, layer: str, _report: TopologyReport) -> tuple[Float32, Float32]:
    """The intervals of all images of a finite layer as one cloud, as `persistence` gives them.

    With 400 images that takes a tenth of a second.
    """
    return persistence(_report.layer(layer).distances)


@st.cache_resource(max_entries=256, show_spinner=False)
def passing_loops(
    request: RotationRequest, layer: str, subset: int, _report: TopologyReport
) -> Truths:
    """Which loops of a subset, counted from 1, pass a test of their own; it takes a moment."""
    images = _report.clouds[subset - 1]
    distances = _report.layer(layer).distances[np.ix_(images, images)]
    draws = min(request.draws, DRAWS)
    passes: Truths = rotation_test(distances, draws=draws, seed=request.seed).bars <= LEVEL
    return passes


def with_null(rows: pd.DataFrame, request: RotationRequest, tests: LayerTests) -> pd.DataFrame:
    """The rows with null_low and null_high: between which the b₁ of 95 % of the draws lie."""
    table = layer_tests_table(request, tests).reindex(rows["layer"])
    band = {"null_low": table["b1_low"], "null_high": table["b1_high"]}
    return rows.assign(**{name: values.to_numpy() for name, values in band.items()})


@st.cache_resource(max_entries=16, show_spinner=False)
def layer_tests_table(request: RotationRequest, _tests: LayerTests) -> pd.DataFrame:
    """One row per tested layer."""
    return _tests.by_layer()
