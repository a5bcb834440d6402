"""From what the sidebar asks for to the analysis on the page."""

from __future__ import annotations

import dataclasses

import streamlit as st

from analysis.errors import AnalysisError
from analysis.jobs.jobs import Job
from analysis.options import AnalysisOptions, ClusterOptions
from analysis.progress import Progress
from analysis.results import SavedAnalysis, TopologyReport
from analysis.text import plural
from analysis.topology.store import fingerprint, is_preparation_unknown, load_analysis
from app.cache import DrawnImages, drawn_images, jobs, report_for_choice
from app.components.shared.cost import render_cost
from app.components.shared.polling import poll_until, stop_waiting
from app.components.shared.subject_names import computed_text, data_text, weights_name
from app.literal import literal, sentence
from app.state import Choice, Shown, session

POLL_EVERY = 0.2  # seconds
_WEIGHTS = {"random": "random weights", "pretrained": "pre-trained"}


def render_obtained(options: AnalysisOptions | None) -> Shown | None:
    """Find or start the analysis, and show its progress.

    Returns
    -------
    Shown or None
        The analysis that was asked for or, until it is ready, the last one.
    """
    analysis = session().analysis
    if options is None:
        return analysis.shown
    if analysis.is_new_request:
        analysis.is_new_request = False
        analysis.outdated = _has_changed(analysis.shown)
    key = unreadable = ""
    if not _is_current(options):
        key = _key_now(options)
        unreadable = _find(options, key)
    if analysis.shown is not None and _is_current(options):
        for note in analysis.shown.notes:
            st.warning(sentence(note))
        return analysis.shown
    if analysis.target != options:
        begin = "The settings have changed: press" if analysis.shown else "Press"
        st.info(f"{begin} **Analyse** for {describe(options)}.{_below()}")
        render_cost(options)
        return analysis.shown
    if analysis.job is None or analysis.job.options != options:
        if analysis.job is not None and not analysis.stopped:
            jobs().leave(analysis.job, session().id)
        analysis.job_key = key
        analysis.job, analysis.stopped = jobs().start(options, session().id), False
    _render_job(analysis.job, unreadable)
    return analysis.shown


def summarised(shown: Shown, choice: Choice) -> Shown:
    """The analysis with its loops and clusters counted as the sidebar says."""
    if not choice.min_persistence and choice.clusters == ClusterOptions():
        return shown
    how = choice.min_persistence, choice.persistence_unit, choice.clusters
    report = report_for_choice(shown.key, *how, shown.report)
    return dataclasses.replace(shown, report=report, key=" ".join(map(str, (shown.key, *how))))


def images_of(shown: Shown) -> DrawnImages | None:
    """The images of the analysis; where they are gone, a warning is drawn instead."""
    try:
        return drawn_images(shown.options, shown.fingerprint)
    except AnalysisError as error:
        st.warning(sentence(error))
        return None


def _is_current(options: AnalysisOptions) -> bool:
    analysis = session().analysis
    return (
        analysis.shown is not None and analysis.shown.options == options and not analysis.outdated
    )


def _has_changed(shown: Shown | None) -> bool:
    """Whether the files behind an analysis have changed."""
    return shown is not None and _key_now(shown.options) not in ("", shown.key)


def _key_now(options: AnalysisOptions) -> str:
    """The fingerprint; empty if files are gone, which a later step reports."""
    try:
        return fingerprint(options)
    except AnalysisError:
        return ""


def describe(options: AnalysisOptions) -> str:
    """An analysis in a few words of Markdown."""
    weights = _WEIGHTS.get(options.weights) or weights_name(options.weights)
    images = f"{options.samples} images of {literal(data_text(options))}"
    if options.pooling == "per-batch":
        batches = plural(options.samples // options.batch_size, "batch", "batches")
        images += f" in {batches} of {options.batch_size}"
    elif options.clouds > 1:
        images += f", in {options.clouds} random subsets of {options.batch_size}"
    return (
        f"{literal(options.model)} ({literal(weights)}) on {images}{computed_text(options)}, "
        f"seed {options.seed}"
    )


def _below() -> str:
    shown = session().analysis.shown
    return f"\n\nBelow: {describe(shown.options)}." if shown else ""


def _find(options: AnalysisOptions, key: str) -> str:
    """Show the job's answer or the analysis saved under the key, if either exists.

    Returns
    -------
    str
        Why a finished job's analysis cannot be shown; else empty.
    """
    analysis = session().analysis
    job = analysis.job
    answer = job.analysis if job is not None and job.options == options else None
    if answer is not None:
        key = answer.key if isinstance(answer, SavedAnalysis) else analysis.job_key
    try:
        if isinstance(answer, TopologyReport):
            report: TopologyReport | None = answer
        else:
            report = load_analysis(key) if key else None
        if report is not None and answer is None and is_preparation_unknown(report, options):
            report = None  # a job looks whether it still holds
        if report is None:
            return "" if answer is None else "Its file no longer exists."
        damage = analysis.file_errors.pop(options, "")
        notes: tuple[str, ...] = (damage,) if damage else ()
        notes += answer.notes if answer is not None else report.notes
        is_new = isinstance(answer, SavedAnalysis) and not answer.stored
        stored = "" if is_new else report.stored_text
        analysis.shown, analysis.outdated = Shown(options, report, key, notes, stored), False
        analysis.target = options
    except AnalysisError as error:
        analysis.file_errors[options] = str(error)
        return "" if answer is None else str(error)
    return ""


def _render_job(job: Job, unreadable: str) -> None:
    if session().analysis.stopped or job.state == "stopped":
        st.info(f"Stopped. Press **Analyse** to start again.{_below()}")
    elif job.state == "failed":
        st.error(f"{sentence(job.error)}{_below()}", title="The analysis failed")
    elif unreadable:
        advice = "Press **Analyse** to run it again."
        st.error(
            f"{sentence(unreadable)} {advice}{_below()}",
            title="The saved analysis could not be read",
        )
    else:
        poll_until(_render_progress, pending=True, every=POLL_EVERY)


def _render_progress() -> bool:
    job = session().analysis.job
    if job is None or job.state != "running":
        return True
    jobs().watch(job, session().id)
    progress = job.progress
    bar, button = st.columns([5, 1], vertical_alignment="center")
    if progress is None:
        bar.progress(0.0, text=f"Getting ready: {describe(job.options)}")
    else:
        left = job.seconds_left
        wait = f" · about {left:.0f} s left" if left is not None and left >= 1 else ""
        share = min(1.0, progress.done / progress.total) if progress.total else 0.0
        bar.progress(share, text=f"{literal(_step(progress))}{wait}")
    button.button(
        "Stop", key="stop", icon=":material/stop_circle:", width="stretch",
        on_click=stop_waiting, args=(session().analysis, job),
    )  # fmt: skip
    return False


def _step(progress: Progress) -> str:
    if not progress.layers:  # a download, say
        return f"{progress.stage}: {progress.layer} {progress.amount}"
    at = progress.done % progress.layers + 1
    number, passes = progress.done // progress.layers + 1, progress.total // progress.layers - 1
    several = f" {number} of {passes}" if 1 < passes >= number else ""
    return f"{progress.stage}{several}: layer {at} of {progress.layers}, {progress.layer}"
