"""What training does to the loops of a network's layers, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import mean

import numpy as np
import streamlit as st

from analysis.results import Float64
from analysis.runs.store import Run
from analysis.text import plural, share_text, signed
from analysis.training.followed import FollowedTopology
from analysis.training.metrics import Selection
from app.cache import followed_topology
from app.charts.motion import FROZEN, TRAINED, loops_by_epoch_figure, vineyard_figure
from app.components.shared.run_charts import draw_chart
from app.components.shared.run_groups import groups_of, spread
from app.components.shared.run_names import metrics_of
from app.literal import literal, sentence
from app.state import appearance
from app.theme import PALETTES

_HELP = (
    "Loops among the same few validation images, before the training and after each epoch. Drag "
    "the slider: faint points are the loops of earlier epochs."
)


def render_motion(runs: Sequence[Run], names: dict[str, str]) -> None:
    """Draw the loops of one of the finished runs by epoch, if one is finished."""
    done = {names[run.id]: run for run in runs if run.state == "done" and run.selection}
    if not done:
        return
    st.markdown("**Topology in motion**", help=_HELP)
    name = next(iter(done))
    if len(done) > 1:
        name = st.selectbox("Run", list(done), key="motion_run", label_visibility="collapsed")
    run = done[name]
    followed = _followed(run)
    if isinstance(followed, str):
        st.caption(sentence(followed))
        return
    if followed.note:
        st.caption(sentence(followed.note))
    if not followed.epochs or run.selection is None:
        return
    group = next(group for group in groups_of(runs) if run in group.runs)
    if text := loops_sentence(run, group.runs):
        st.markdown(text)
    st.fragment(partial(_render_epoch, run, followed, run.selection), key="motion")()


def _render_epoch(run: Run, followed: FollowedTopology, selection: Selection) -> None:
    """Draw one layer after one epoch; the slider draws only this part again."""
    palette, epochs = PALETTES[appearance()], followed.epochs
    first = selected_layers(followed, selection)[:1]
    index = followed.layers.index(first[0]) if first else 0
    with st.container(horizontal=True, vertical_alignment="bottom", key="motion_controls"):
        layer = st.selectbox(
            "Layer", followed.layers, index=index, key=f"motion_layer_{run.id}", width=260,
            help="Whose diagram is drawn.",
        )  # fmt: skip
        epoch = epochs[-1]
        if len(epochs) > 1:
            epoch = st.select_slider(
                "After epoch", epochs, value=epoch, key=f"motion_epoch_{run.id}", width=380,
                help="0 is before the training.",
            )  # fmt: skip
    shown = epochs.index(epoch)
    st.caption(_epoch_text(run, followed, layer, shown))
    diagrams = followed.diagrams[layer] if followed.diagrams else ()
    groups = zip((TRAINED, FROZEN), _groups(followed, selection), strict=True)
    lines = {title: mean_loops(followed, group) for title, group in groups if group}
    left, right = st.columns(2, gap="medium")
    with left:
        draw_chart(
            vineyard_figure(diagrams, shown, palette=palette),
            "motion_diagram", f"Loops of {layer} after epoch {epoch}, and before", [run],
        )  # fmt: skip
    with right:
        draw_chart(
            loops_by_epoch_figure(
                epochs, lines | {layer: followed.loops(layer)}, shown=shown, palette=palette
            ),
            "motion_loops", "Loops of selected and of frozen layers by epoch", [run],
        )  # fmt: skip


def _epoch_text(run: Run, followed: FollowedTopology, layer: str, shown: int) -> str:
    epoch, loops = followed.epochs[shown], followed.loops(layer)[shown]
    accuracies = {each.epoch: each.val_accuracy for each in metrics_of(run).epochs}
    count = "no finite numbers" if np.isnan(loops) else plural(int(loops), "loop")
    when = f"After epoch {epoch}" if epoch else "Before the training"
    text = f"{when}, {literal(layer)} has {count}"
    if epoch in accuracies:
        text += f"; validation accuracy is {share_text(accuracies[epoch])}"
    return f"{text}."


def loops_sentence(run: Run, seeds: Sequence[Run]) -> str:
    """What became of the loops of the layers that were selected; over the seeds, if several."""
    changes = [change for each in seeds if (change := _change(each)) is not None]
    own = _change(run)
    if own is None:
        return ""
    (before, after), count, last = own
    layers = "The selected layer" if count == 1 else f"The {count} selected layers"
    average = "" if count == 1 else " on average"
    text = f"{layers} had {before:.1f} loops{average} before the training and {after:.1f} after "
    text += f"epoch {last}."
    if len(changes) > 1:
        differences = [after - before for (before, after), *_ in changes]
        text += (
            f" Over {len(changes)} seeds the change is {signed(mean(differences))} ± "
            f"{spread(differences):.1f}."
        )
    return text


def _change(run: Run) -> tuple[tuple[float, float], int, int] | None:
    """Mean loops of the selected layers before and after, how many layers, and the last epoch."""
    followed = _followed(run)
    if isinstance(followed, str) or run.selection is None or len(followed.epochs) < 2:
        return None
    layers = selected_layers(followed, run.selection)
    if not layers:
        return None
    loops = mean_loops(followed, layers)
    if np.isnan(loops[[0, -1]]).any():
        return None
    return (float(loops[0]), float(loops[-1])), len(layers), followed.epochs[-1]


def selected_layers(followed: FollowedTopology, selection: Selection) -> list[str]:
    """The followed layers that train; without the new classifier, unless it trains alone."""
    trained = [name for name in selection.layers if name in followed.layers]
    return [name for name in trained if name != selection.head] or trained


def mean_loops(followed: FollowedTopology, layers: Sequence[str]) -> Float64:
    """b₁ by epoch, the mean over some layers; NaN where one of them is not finite."""
    means: Float64 = np.mean([followed.loops(name) for name in layers], axis=0)
    return means


def _groups(followed: FollowedTopology, selection: Selection) -> tuple[list[str], list[str]]:
    """The layers that were selected, and those that stay frozen."""
    trained = {*selection.layers, *(selection.inner or ())}
    frozen = [name for name in followed.layers if name not in trained]
    return selected_layers(followed, selection), frozen


def _followed(run: Run) -> FollowedTopology | str:
    return followed_topology(run.id, run.revision)
