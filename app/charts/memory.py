"""The memory of training by kind, measured and predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.instruments.memory_use import MEMORY_KINDS, MemoryKind, MemoryUse
from analysis.text import size_text, size_unit
from analysis.training.metrics import MemorySample
from app.charts.parts import say_empty, set_legend_above, whole_step
from app.literal import figure_text
from app.theme import Palette, style

NO_SAMPLE = "No samples yet:<br>the first step adds one"
NO_RUN = "No runs to compare yet"
NOT_MEASURED = "not measured"
PREDICTED = "predicted"
FULL = "full training, predicted"

LABELS: dict[MemoryKind, str] = {
    "parameters": "parameters",
    "gradients": "gradients",
    "optimizer": "optimiser state",
    "activations": "activations",
    "other": "other",
}
LEAST_SLOTS = 8  # so that a single bar stays narrow
SEAMLESS_FROM = 30  # samples; so many bars are drawn without gaps, as an area
ROW = 44  # px, one run of the comparison


@dataclass(frozen=True)
class MemoryRow:
    """One run of a comparison."""

    name: str  # as shown
    peak: MemoryUse | None  # bytes, the largest of the sampled steps; None: nothing was sampled
    predicted: MemoryUse | None = None  # bytes


def memory_figure(
    samples: Sequence[MemorySample],
    predicted: MemoryUse | None,
    full: MemoryUse | None = None,
    *,
    planned: int = 0,
    palette: Palette,
    height: int = 300,
) -> go.Figure:
    """Draw the peak memory of each sampled step as a bar stacked by kind.

    Parameters
    ----------
    samples : sequence of MemorySample
        In the order of their steps.
    predicted : MemoryUse or None
        Predicted peak of a step of this run: a dashed line at its total.
    full : MemoryUse, optional
        Predicted peak of full training: a dotted line.
    planned : int, default=0
        Number of samples expected in all, so that the axis does not grow during a run.
    palette : Palette
    height : int, default=300
        Pixels.

    Returns
    -------
    Figure
        One bar trace per kind, in the order of `MEMORY_KINDS`; bars are evenly spaced although
        the sampled steps are not. Every hover text shows the whole sample and the memory of the
        process, which is far larger and so has no mark.
    """
    lines = [(FULL, full, "dot", "right"), (PREDICTED, predicted, "dash", "left")]
    totals = [use.total for _, use, _, _ in lines if use is not None]
    totals += [sample.peak.total for sample in samples]
    most = max(totals, default=0)
    unit, scale = size_unit(most or 1e7)
    figure = go.Figure()
    texts = [_sample_text(sample, predicted) for sample in samples]
    slots = list(range(len(samples)))
    _draw_kinds(figure, slots, [s.peak for s in samples], texts, scale, palette, sideways=False)
    for name, use, dash, side in lines:
        if use is not None:
            _draw_line(figure, name, use, unit, scale, dash, side, palette)
    step = whole_step(len(samples))
    count = max(planned, len(samples), LEAST_SLOTS)
    figure.update_xaxes(
        title_text="Training step, sampled",
        range=[-0.6, count - 0.4],
        tickvals=slots[::step],
        ticktext=[f"{sample.step:,}" for sample in samples[::step]],
        showgrid=False,
        tickangle=0,
    )
    # Leaves room for the label of the upper line.
    top = 1.16 * most / scale or 1.0
    figure.update_yaxes(
        title_text=f"Peak memory ({unit})",
        range=[0, top],
        nticks=6,
        ticklabelstandoff=4,
        automargin=True,
    )
    figure.update_layout(uirevision="memory", bargap=0.3)
    if count >= SEAMLESS_FROM:
        figure.update_layout(bargap=0)
        figure.update_traces(marker_line_width=0, selector={"type": "bar"})
    if not totals:
        figure.update_yaxes(showticklabels=False)
    if not samples:
        say_empty(figure, NO_SAMPLE, palette)
    return style(figure, palette, height=height)


def comparison_memory_figure(rows: Sequence[MemoryRow], *, palette: Palette) -> go.Figure:
    """Draw the peak memory of each run as a horizontal bar stacked by kind.

    Parameters
    ----------
    rows : sequence of MemoryRow
        From top to bottom.
    palette : Palette

    Returns
    -------
    Figure
        One bar trace per kind, in the order of `MEMORY_KINDS`, the trace "predicted" with one
        tick per known prediction, and "names" with each run's name above its bar, so that long
        names fit a phone. As high as the rows need.
    """
    measured = [(place, row.peak) for place, row in enumerate(rows) if row.peak is not None]
    totals = [peak.total for _, peak in measured]
    totals += [row.predicted.total for row in rows if row.predicted is not None]
    most = max(totals, default=0)
    unit, scale = size_unit(most or 1e7)
    figure = go.Figure()
    _draw_kinds(
        figure,
        [place for place, _ in measured],
        [peak for _, peak in measured],
        [_row_text(rows[place]) for place, _ in measured],
        scale,
        palette,
        sideways=True,
    )
    _draw_predictions(figure, rows, scale, palette)
    _draw_names(figure, rows, palette)
    top = 1.06 * most / scale or 1.0
    figure.update_xaxes(title_text=f"Peak memory ({unit})", range=[0, top], nticks=6)
    figure.update_yaxes(
        range=[max(len(rows), 1) - 0.5, -0.75], showgrid=False, showticklabels=False
    )
    figure.update_layout(margin={"l": 12})
    if not totals:
        figure.update_xaxes(showticklabels=False)
    if not rows:
        figure.update_layout(showlegend=False)
        say_empty(figure, NO_RUN, palette)
    return style(figure, palette, height=ROW * max(len(rows), 1) + 110)


def _draw_kinds(
    figure: go.Figure,
    places: list[int],
    uses: Iterable[MemoryUse],
    texts: list[str],
    scale: float,
    palette: Palette,
    *,
    sideways: bool,
) -> None:
    uses = list(uses)
    for kind, color in zip(MEMORY_KINDS, palette.memory, strict=True):
        # Without bars, an empty one keeps the kind in the legend.
        along: list[int] | list[None] = places or [None]
        across: list[float] | list[None] = [getattr(use, kind) / scale for use in uses] or [None]
        figure.add_bar(
            x=across if sideways else along,
            y=along if sideways else across,
            orientation="h" if sideways else "v",
            width=0.4 if sideways else None,
            name=LABELS[kind],
            legendgroup=kind,  # one group each, so that the legend wastes no room on columns
            # Thin gaps separate the parts for readers who cannot distinguish the colours.
            marker={"color": color, "line": {"width": 0.75, "color": palette.surface}},
            hovertext=texts,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    set_legend_above(figure)
    figure.update_layout(barmode="stack", legend={"traceorder": "normal", "tracegroupgap": 0})


def _draw_line(
    figure: go.Figure,
    name: str,
    use: MemoryUse,
    unit: str,
    scale: float,
    dash: str,
    side: str,
    palette: Palette,
) -> None:
    """Draw a line across, labelled at its own side so that two labels never overlap."""
    height = use.total / scale
    figure.add_shape(
        name=name,
        type="line",
        xref="x domain",
        x0=0,
        x1=1,
        y0=height,
        y1=height,
        line={"color": palette.text, "width": 1.5, "dash": dash},
    )
    figure.add_annotation(
        text=f"{name} {height:.3g} {unit}",
        xref="x domain",
        x=0 if side == "left" else 1,
        xanchor=side,
        xshift=4 if side == "left" else -4,
        y=height,
        yanchor="bottom",
        showarrow=False,
        font={"size": 11, "color": palette.text},
        bgcolor=palette.surface,
        opacity=0.9,
        borderpad=1,
    )


def _draw_predictions(
    figure: go.Figure, rows: Sequence[MemoryRow], scale: float, palette: Palette
) -> None:
    known = [(i, row.predicted.total) for i, row in enumerate(rows) if row.predicted is not None]
    if not known:
        return
    figure.add_scatter(
        x=[total / scale for _, total in known],
        y=[place for place, _ in known],
        mode="markers",
        name=PREDICTED,
        legendgroup=PREDICTED,
        marker={
            "symbol": "line-ns",
            "size": 15,
            "line": {"width": 2, "color": palette.text},
            "color": palette.text,
        },
        # The tick may cover a short bar, so it shows the same text.
        hovertext=[_row_text(rows[place]) for place, _ in known],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _draw_names(figure: go.Figure, rows: Sequence[MemoryRow], palette: Palette) -> None:
    sizes = [NOT_MEASURED if row.peak is None else size_text(row.peak.total) for row in rows]
    figure.add_scatter(
        x=[0] * len(rows),
        y=[place - 0.44 for place in range(len(rows))],
        mode="text",
        name="names",
        text=[f"{figure_text(row.name)} · {size}" for row, size in zip(rows, sizes, strict=True)],
        textposition="middle right",
        textfont={"size": 12, "color": palette.text},
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )


def _row_text(row: MemoryRow) -> str:
    return "<br>".join([f"<b>{figure_text(row.name)}</b>", *_use_lines(row.peak, row.predicted)])


def _sample_text(sample: MemorySample, predicted: MemoryUse | None) -> str:
    lines = [f"<b>step {sample.step:,}</b> · epoch {sample.epoch}"]
    lines += _use_lines(sample.peak, predicted)
    if sample.allocator_peak is not None:
        lines.append(f"CUDA allocator, peak: {size_text(sample.allocator_peak)}")
    lines.append(f"whole process (RSS): {size_text(sample.resident)}")
    return "<br>".join(lines)


def _use_lines(use: MemoryUse | None, predicted: MemoryUse | None) -> list[str]:
    lines = []
    if use is not None:
        lines += [f"{LABELS[kind]}: {size_text(getattr(use, kind))}" for kind in MEMORY_KINDS]
        lines.append(f"<b>peak: {size_text(use.total)}</b>")
    if predicted is not None:
        lines.append(f"predicted: {size_text(predicted.total)}")
    # The cache of a stored sample is only in the run's result and in its prediction.
    if cache := max((known.cache for known in (use, predicted) if known is not None), default=0):
        lines.append(f"beside it, results of frozen layers: {size_text(cache)}")
    return lines
