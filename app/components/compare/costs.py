"""What each normalisation's selection costs: memory, predicted in a worker, and parameters."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.selection.scores import normalization_of
from analysis.text import percent_text, saving_text, size_text
from app.cache import estimates
from app.components.compare.powers import no_power_moves
from app.components.shared.memory_tile import memory_request
from app.components.shared.polling import poll_until
from app.literal import sentence
from app.state import Shown

POLL_EVERY = 1.0  # seconds; each poll takes the browser tens of milliseconds


def render_costs(shown: Shown, rankings: Mapping[str, pd.DataFrame], normalization: str) -> None:
    """Draw one row per normalisation; the memory appears once it is predicted.

    `normalization` is the one that the page shows as chosen.
    """
    full = memory_request(shown, "everything")
    trained = {name: _trained(rows) for name, rows in rankings.items()}
    requests = {
        name: memory_request(shown, "layers", layers) for name, layers in trained.items() if layers
    }
    if not full.classes:
        st.caption("No memory is predicted, because the images are missing.")
        return
    wanted = list(dict.fromkeys([full, *requests.values()]))
    pending = any(_answer(request, ask=False) is None for request in wanted)
    asks = False

    def draw() -> bool:
        nonlocal asks
        answers: dict[MemoryRequest, MemoryEstimate | str | None] = {}
        for request in reversed(wanted):  # the last one asked is answered first
            answers[request] = _answer(request, ask=asks)
        # Not with the page itself: while a slider moves, predictions would slow down the charts.
        asks = True
        known = all(answer is not None for answer in answers.values())
        if pending and known and no_power_moves(normalization):
            return True
        st.dataframe(
            pd.DataFrame(
                [
                    {
                        "Score": normalization_of(name).title,
                        **_memory(answers.get(requests[name]) if layers else "", answers[full]),
                        "Parameters": _share(rankings[name], layers),
                        "Trains": ", ".join(layers),
                    }
                    for name, layers in trained.items()
                ]
            ),
            hide_index=True,
            height="content",
            column_config={
                "Training memory": st.column_config.Column(
                    help="The most that tensors take in one training step with 32 images, "
                    "predicted without computing it."
                ),
                "Against full": st.column_config.Column(
                    help="Compared with training every parameter."
                ),
                "Parameters": st.column_config.Column(
                    help="Share of the network's parameters that train."
                ),
            },
            alt="What each normalisation's selection costs",
        )
        for text in {answer for answer in answers.values() if isinstance(answer, str)}:
            st.caption(f"No prediction: {sentence(text)}")
        return False

    poll_until(draw, pending=pending, every=POLL_EVERY)


def _answer(request: MemoryRequest, *, ask: bool) -> MemoryEstimate | str | None:
    answer = estimates().known(request)
    if answer is None and ask:
        answer = estimates().get(request)
    return answer


def _trained(rows: pd.DataFrame) -> tuple[str, ...]:
    """The layers that train, best first."""
    best = rows.loc[rows["selected"]].sort_values("rank", kind="stable")["layer"]
    return (*best, *rows.loc[rows["head"], "layer"]) if len(best) else ()


def _memory(
    answer: MemoryEstimate | str | None, whole: MemoryEstimate | str | None
) -> dict[str, str]:
    memory, saving = "…", ""
    if isinstance(answer, str):
        memory = "no prediction" if answer else "nothing trains"
    elif answer is not None:
        memory = size_text(answer.peak.total)
        if isinstance(whole, MemoryEstimate):
            saving = saving_text(answer.peak.total, whole.peak.total)
    return {"Training memory": memory, "Against full": saving}


def _share(rows: pd.DataFrame, layers: tuple[str, ...]) -> str:
    trains = rows["layer"].isin(layers)
    return percent_text(int(rows.loc[trains, "parameters"].sum()), int(rows["parameters"].sum()))
