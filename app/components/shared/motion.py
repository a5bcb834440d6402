"""What training does to the loops of a network's layers, epoch by epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.results import Float64
from analysis.runs.store import Run
from analysis.text import plural, share_text, signed, size_text, size_unit
from analysis.topology.alignment import aligned_maps
from analysis.training.followed import FollowedTopology
from analysis.training.metrics import MemorySample, Selection
from app.cache import followed_topology
from app.charts.motion import (
    FROZEN,
    TRAINED,
    loops_by_epoch_figure,
    measure_figure,
    moving_map_figure,
    surface_figure,
    vineyard_figure,
)
from app.charts.strategy_looks import Look, strategy_look
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
_MAP_HELP = (
    "About as far apart as two dimensions allow, and turned to match the map before (Procrustes). "
    "Faint lines show where the images came from."
)


@dataclass(frozen=True, eq=False)
class _Motion:
    """A finished run that was followed."""

    name: str
    run: Run
    followed: FollowedTopology
    selection: Selection

    def shown(self, epoch: int) -> int:
        """Which of its epochs is the last one until then."""
        return bisect_right(self.followed.epochs, epoch) - 1


def render_motion(runs: Sequence[Run], names: dict[str, str]) -> None:
    """Draw the loops of one or two of the finished runs by epoch, if one is finished."""
    motions = {names[run.id]: _motion(run, names) for run in runs
               if run.state == "done" and run.selection}  # fmt: skip
    if not motions:
        return
    st.markdown("**Topology in motion**", help=_HELP)
    with st.container(horizontal=True, vertical_alignment="bottom", key="motion_runs"):
        first = _choose(motions)
        second = None if isinstance(first, str) else _choose_beside(first, motions)
    if isinstance(first, str):
        if first:
            st.caption(sentence(first))
        return
    motion = [first, second] if second else [first]
    for column, each in zip(st.columns(len(motion), gap="medium"), motion, strict=True):
        with column:
            if len(motion) > 1:
                st.markdown(f"**{literal(each.name)}**")
            _render_words(each, runs)
    st.fragment(partial(_render_epoch, motion), key="motion")()


def _motion(run: Run, names: dict[str, str]) -> _Motion | str:
    """The run, or why there is nothing to show."""
    followed = _followed(run)
    if isinstance(followed, str):
        return followed
    if not followed.layers or not followed.epochs or run.selection is None:
        return followed.note
    return _Motion(names[run.id], run, followed, run.selection)


def _choose(motions: Mapping[str, _Motion | str]) -> _Motion | str:
    name = next(iter(motions))
    if len(motions) > 1:
        name = st.selectbox("Run", list(motions), key="motion_run", width=320)
    return motions[name]


def _choose_beside(first: _Motion, motions: Mapping[str, _Motion | str]) -> _Motion | None:
    """Draw the choice of a second run, of those with the same layers."""
    others = {
        name: each
        for name, each in motions.items()
        if isinstance(each, _Motion)
        and each.run.id != first.run.id
        and each.followed.layers == first.followed.layers
    }
    if not others:
        return None
    name = st.selectbox(
        "Beside it", list(others), index=0 if len(motions) == 2 else None, width=320,
        key=f"motion_beside_{first.run.id}", placeholder="no other run",
        help="Another run of the same network, on the same axes.",
    )  # fmt: skip
    return others[name] if name else None


def _render_words(motion: _Motion, runs: Sequence[Run]) -> None:
    """Say what the whole run did to its loops."""
    if motion.followed.note:
        st.caption(sentence(motion.followed.note))
    group = next(group for group in groups_of(runs) if motion.run in group.runs)
    if text := loops_sentence(motion.run, group.runs):
        st.markdown(text)


def _render_epoch(motions: Sequence[_Motion]) -> None:
    """Draw one layer after one epoch; the slider draws only this part again."""
    first = motions[0]
    ids = "_".join(each.run.id for each in motions)
    epochs = sorted({epoch for each in motions for epoch in each.followed.epochs})
    chosen = selected_layers(first.followed, first.selection)[:1]
    index = first.followed.layers.index(chosen[0]) if chosen else 0
    with st.container(horizontal=True, vertical_alignment="bottom", key="motion_controls"):
        layer = st.selectbox(
            "Layer", first.followed.layers, index=index, key=f"motion_layer_{ids}", width=260,
            help="Whose diagram is drawn.",
        )  # fmt: skip
        epoch = epochs[-1]
        if len(epochs) > 1:
            epoch = st.select_slider(
                "After epoch", epochs, value=epoch, key=f"motion_epoch_{ids}", width=380,
                help="0 is before the training.",
            )  # fmt: skip
    if len(motions) == 1:
        st.caption(_epoch_text(first, layer, epoch))
        draws = [_draw_diagram, *([_draw_map] if _maps(first, layer) else []), _draw_lines]
        for column, draw in zip(st.columns(len(draws), gap="medium"), draws, strict=True):
            draw(column, first, motions, layer, epoch)
        _draw_measures(motions, epoch)
        _draw_surface(st.container(), first, motions, epoch)
        return
    for draw in (_draw_diagram, _draw_map, _draw_lines):
        for column, each in zip(st.columns(2, gap="medium"), motions, strict=True):
            if draw is _draw_diagram:
                column.caption(f"{literal(each.name)}: {_epoch_text(each, layer, epoch)}")
            draw(column, each, motions, layer, epoch)
    _draw_measures(motions, epoch)
    for column, each in zip(st.columns(2, gap="medium"), motions, strict=True):
        _draw_surface(column, each, motions, epoch)


def _draw_diagram(
    place: DeltaGenerator, motion: _Motion, all_of_them: Sequence[_Motion], layer: str, epoch: int
) -> None:
    diagrams = [(each.followed.diagrams or {})[layer] for each in all_of_them]
    figure = vineyard_figure(
        diagrams[all_of_them.index(motion)],
        motion.shown(epoch),
        beside=[diagram for own in diagrams for diagram in own],
        palette=PALETTES[appearance()],
    )
    with place:
        st.caption("Birth and death of its loops")
        draw_chart(
            figure, f"motion_diagram_{all_of_them.index(motion)}",
            f"Loops of {layer} after epoch {epoch}, and before", [motion.run],
        )  # fmt: skip


def _draw_map(
    place: DeltaGenerator, motion: _Motion, all_of_them: Sequence[_Motion], layer: str, epoch: int
) -> None:
    maps = _maps(motion, layer)
    if not maps:  # of an earlier version
        return
    figure = moving_map_figure(
        maps,
        motion.shown(epoch),
        classes=motion.followed.classes,
        beside=[place for each in all_of_them for place in _maps(each, layer)],
        palette=PALETTES[appearance()],
    )
    with place:
        st.caption("The validation images as it sees them", help=_MAP_HELP)
        draw_chart(
            figure, f"motion_map_{all_of_them.index(motion)}",
            f"The validation images by their distances in {layer} after epoch {epoch}",
            [motion.run],
        )  # fmt: skip


def _maps(motion: _Motion, layer: str) -> list[Float64 | None]:
    """The images in the plane by epoch, turned to match each other; empty if they are not known."""
    kept = (motion.followed.maps or {}).get(layer, ())
    turned = iter(aligned_maps([each.astype(float) for each in kept if each is not None]))
    return [None if each is None else next(turned) for each in kept]


def _draw_measures(motions: Sequence[_Motion], epoch: int) -> None:
    """Draw accuracy, loss and memory by epoch, with a dot at the shown one."""
    palette = PALETTES[appearance()]
    measured = {each.name: (metrics_of(each.run), _look(motions, each)) for each in motions}
    most = max((sample.peak.total for known, _ in measured.values() for sample in known.memory),
               default=0)  # fmt: skip
    unit, scale = size_unit(most or 1e6)
    titles = ("Validation accuracy (%)", "Validation loss", f"Peak memory ({unit})")
    lines: list[dict[str, tuple[Sequence[float], Sequence[float], Look]]] = [{}, {}, {}]
    for name, (known, look) in measured.items():
        epochs = [each.epoch for each in known.epochs]
        peaks = peaks_by_epoch(known.memory)
        lines[0][name] = epochs, [100 * each.val_accuracy for each in known.epochs], look
        lines[1][name] = epochs, [each.val_loss for each in known.epochs], look
        lines[2][name] = [*peaks], [peak / scale for peak in peaks.values()], look
    last = max(each.run.options.recipe.epochs for each in motions)
    for column, title, drawn in zip(st.columns(3, gap="medium"), titles, lines, strict=True):
        figure = measure_figure(drawn, title=title, epoch=epoch, last=last, palette=palette)
        with column:
            draw_chart(
                figure, f"motion_{title.split(' (')[0].split()[-1].lower()}",
                f"{title} by epoch, with a dot at epoch {epoch}", [each.run for each in motions],
            )  # fmt: skip


def _look(motions: Sequence[_Motion], motion: _Motion) -> Look:
    strategies = [each.run.options.strategy for each in motions]
    place = motions.index(motion)
    variant = strategies[:place].count(strategies[place])
    return strategy_look(PALETTES[appearance()], strategies[place], variant)


def peaks_by_epoch(samples: Sequence[MemorySample]) -> dict[int, int]:
    """The most bytes of the sampled steps of each epoch."""
    peaks: dict[int, int] = {}
    for sample in samples:
        peaks[sample.epoch] = max(sample.peak.total, peaks.get(sample.epoch, 0))
    return peaks


def _draw_lines(
    place: DeltaGenerator, motion: _Motion, all_of_them: Sequence[_Motion], layer: str, epoch: int
) -> None:
    lines = [_lines(each, layer) for each in all_of_them]
    highest = np.nanmax([0.0, *(value for own in lines for line in own.values() for value in line)])
    last = max(each.followed.epochs[-1] for each in all_of_them)
    figure = loops_by_epoch_figure(
        motion.followed.epochs,
        lines[all_of_them.index(motion)],
        shown=motion.shown(epoch),
        ends=(last, float(highest)) if len(all_of_them) > 1 and last else None,
        palette=PALETTES[appearance()],
    )
    with place:
        st.caption("Its loops, and those of other layers")
        draw_chart(
            figure, f"motion_loops_{all_of_them.index(motion)}",
            "Loops of selected and of frozen layers by epoch", [motion.run],
        )  # fmt: skip


def _draw_surface(
    place: DeltaGenerator, motion: _Motion, all_of_them: Sequence[_Motion], epoch: int
) -> None:
    counts = [
        {name: each.followed.loops(name) for name in each.followed.layers} for each in all_of_them
    ]
    most = np.nanmax([0.0, *(value for own in counts for line in own.values() for value in line)])
    figure = surface_figure(
        motion.followed.epochs,
        counts[all_of_them.index(motion)],
        _trained(motion.selection),
        shown=motion.shown(epoch),
        most=float(most),
        palette=PALETTES[appearance()],
    )
    with place:
        st.caption("Loops of every layer after every epoch. ▼ is a layer that trains.")
        draw_chart(
            figure, f"motion_surface_{all_of_them.index(motion)}",
            "Loops of every layer after every epoch", [motion.run],
        )  # fmt: skip


def _lines(motion: _Motion, layer: str) -> dict[str, Float64]:
    """b₁ by epoch of the selected layers, of the frozen ones, and of one."""
    followed = motion.followed
    groups = dict(zip((TRAINED, FROZEN), _groups(followed, motion.selection), strict=True))
    lines = {title: mean_loops(followed, group) for title, group in groups.items() if group}
    alone = [layer] in groups.values()  # whose mean is the layer itself
    return lines if alone else lines | {layer: mean_loops(followed, [layer])}


def _epoch_text(motion: _Motion, layer: str, until: int) -> str:
    followed, shown = motion.followed, motion.shown(until)
    epoch, loops = followed.epochs[shown], followed.loops(layer)[shown]
    measured = {each.epoch: each for each in metrics_of(motion.run).epochs}
    count = "no finite numbers" if np.isnan(loops) else plural(int(loops), "loop")
    when = f"After epoch {epoch}" if epoch else "Before the training"
    text = f"{when}, {literal(layer)} has {count}"
    if epoch in measured:
        accuracy, loss = measured[epoch].val_accuracy, measured[epoch].val_loss
        text += f"; validation accuracy is {share_text(accuracy)}, and loss {loss:.2f}"
    peaks = peaks_by_epoch(metrics_of(motion.run).memory)
    return text + (f"; a step took {size_text(peaks[epoch])}." if epoch in peaks else ".")


def loops_sentence(run: Run, seeds: Sequence[Run]) -> str:
    """What became of the loops of the layers that were selected; over the seeds, if several."""
    changes = [change for each in seeds if (change := _change(each)) is not None]
    own = _change(run)
    if own is None:
        return ""
    (before, after), count, last = own
    layers = "The selected layer" if count == 1 else f"The {count} selected layers"
    average, digits = ("", 0) if count == 1 else (" on average", 1)
    text = f"{layers} had {before:.{digits}f} loops{average} before the training and "
    text += f"{after:.{digits}f} after "
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
    frozen = [name for name in followed.layers if name not in _trained(selection)]
    return selected_layers(followed, selection), frozen


def _trained(selection: Selection) -> set[str]:
    return {*selection.layers, *(selection.inner or ())}


def _followed(run: Run) -> FollowedTopology | str:
    return followed_topology(run.id, run.revision)
