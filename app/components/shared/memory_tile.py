"""The tile with the memory that training the selection would take."""

from __future__ import annotations

import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.datasets import dataset_problem, dataset_spec, needs_look
from analysis.options import Recipe, Scope
from analysis.text import saving_text, size_text
from app.cache import estimates
from app.components.shared.polling import poll_until
from app.literal import sentence
from app.state import Shown, session

POLL_EVERY = 1.0  # seconds; each poll takes the browser tens of milliseconds
HELP = "The most memory that tensors take in one training step with {batch} images."
ANALYTIC = (
    " The model behind the paper's figures (frozen weights at 4 bit, batches of 8) gives {part} "
    "against {full}: {saving}."
)


def memory_request(
    shown: Shown, scope: Scope, layers: tuple[str, ...] = (), recipe: Recipe | None = None
) -> MemoryRequest:
    """Ask what training these layers of the model on the page takes."""
    return MemoryRequest(
        model=shown.options.model,
        classes=classes_of(shown.options.dataset),
        scope=scope,
        layers=layers,
        known=() if scope == "everything" else tuple(shown.report.names),
        recipe=recipe or Recipe(),
        weights=shown.options.weights,
        input_side=shown.options.input_side,
    )


def _subject(request: MemoryRequest) -> tuple[object, ...]:
    return request.model, request.classes, request.weights, request.input_side


def classes_of(dataset: str) -> int:
    """Number of classes for a new head, at least 1; 0 if the images are gone or have changed."""
    if needs_look(dataset) or dataset_problem(dataset):  # analyses and runs outlive their images
        return 0
    return max(1, len(dataset_spec(dataset).class_names))


def render_memory_tile(shown: Shown, layers: tuple[str, ...]) -> None:
    """Draw the tile for training these layers; the last prediction stays until the next one."""
    full = memory_request(shown, "everything")
    part = memory_request(shown, "layers", layers)
    if not part.classes:
        _draw(part, "no prediction: the images are missing", None)
        return

    requests = (part, full) if layers else (full,)
    waiting = [estimates().get(request) is None for request in requests]  # asks for each of them
    pending = any(waiting)

    def draw() -> bool:
        answer: MemoryEstimate | str | None = "Nothing would train."
        if layers:
            answer = estimates().get(part)
        whole = estimates().get(full)
        if pending and answer is not None and whole is not None:
            return True
        _draw(part, answer, whole)
        return False

    poll_until(draw, pending=pending, every=POLL_EVERY)


def _draw(
    part: MemoryRequest,
    answer: MemoryEstimate | str | None,
    whole: MemoryEstimate | str | None,
) -> None:
    analysis, note, analytic = session().analysis, "predicting …", ""
    if isinstance(answer, str):
        analysis.estimate, note = None, sentence(answer)
    elif answer is not None:
        analysis.estimate = (part, answer)
        if isinstance(whole, MemoryEstimate):
            note = f"{saving_text(answer.peak.total, whole.peak.total)} than full training"
            analytic = ANALYTIC.format(
                part=size_text(answer.analytic),
                full=size_text(whole.analytic),
                saving=saving_text(answer.analytic, whole.analytic),
            )
        elif whole is not None:
            note = "full training: no prediction"
    value = "–"
    if analysis.estimate is not None:  # perhaps of another selection, never of another model
        request, estimate = analysis.estimate
        if _subject(request) == _subject(part):
            value = size_text(estimate.peak.total)
            if request != part:
                note = "for the last selection; predicting …"
    st.metric(
        "Predicted peak memory",
        value,
        delta=note,
        delta_color="off",
        delta_arrow="off",
        help=HELP.format(batch=part.recipe.batch_size) + analytic,
        border=True,
    )
