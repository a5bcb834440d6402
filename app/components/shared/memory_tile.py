"""The tile that tells what training the selection would take in memory."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.datasets import dataset_problem, dataset_spec, needs_look
from analysis.options import Recipe, Scope
from analysis.text import saving_text, size_text
from app.cache import estimates
from app.components.shared.polling import poll_until
from app.state import Shown, session

POLL_EVERY = 0.3  # seconds
HELP = (
    "Predicted: the most memory that tensors take in one training step with batches of {batch} "
    "images (weights, gradients, optimiser state, activations kept for the backward pass). The "
    "step is run on tensors without contents; on the CPU, with the models tested, that agreed with "
    "measured steps to the byte. "
    "{analytic}"
)
ANALYTIC = (
    "The analytic model behind the paper's figures (after TinyTL: frozen weights at 4 bit, batches "
    "of 8, no gradients or optimiser state) gives {part} against {full}: {saving}."
)


def memory_request(
    shown: Shown, scope: Scope, layers: tuple[str, ...] = (), recipe: Recipe | None = None
) -> MemoryRequest:
    """The question what training these layers of the model on the page takes."""
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
    """Classes that a new head would tell apart, at least one; 0 if the images are gone or new."""
    if needs_look(dataset) or dataset_problem(dataset):  # analyses and runs outlive their images
        return 0
    return max(1, len(dataset_spec(dataset).class_names))


def render_memory_tile(shown: Shown, rows: pd.DataFrame) -> None:
    """Draw the tile; while a prediction is being made, the last one stays."""
    layers = (
        *rows.loc[rows["selected"]].sort_values("rank")["layer"],
        *rows.loc[rows["head"], "layer"],
    )
    full = memory_request(shown, "everything")
    part = memory_request(shown, "layers", tuple(layers))
    if not part.classes:
        _draw(part, "no prediction without the images", None)
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
    found: MemoryEstimate | str | None,
    whole: MemoryEstimate | str | None,
) -> None:
    analysis, note, analytic = session().analysis, "predicting …", ""
    if isinstance(found, str):
        analysis.estimate, note = None, found
    elif found is not None:
        analysis.estimate = (part, found)
        if isinstance(whole, MemoryEstimate):
            note = f"{saving_text(found.peak.total, whole.peak.total)} than full training"
            analytic = ANALYTIC.format(
                part=size_text(found.analytic),
                full=size_text(whole.analytic),
                saving=saving_text(found.analytic, whole.analytic),
            )
        elif whole is not None:
            note = "full training: no prediction"
    value = "–"
    if analysis.estimate is not None:  # of another selection, but not of another model
        request, known = analysis.estimate
        if _subject(request) == _subject(part):
            value = size_text(known.peak.total)
            if request != part:
                note = "of the last selection; predicting …"
    st.metric(
        "Predicted peak memory",
        value,
        delta=note,
        delta_color="off",
        delta_arrow="off",
        help=HELP.format(batch=part.recipe.batch_size, analytic=analytic),
        border=True,
    )
