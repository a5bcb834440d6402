"""The curves of one or more fine-tunes, while they run and afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from analysis.training.metrics import EpochMetrics, StepMetrics
from app.charts.parts import extra_height, say_empty, set_legend_above, whole_step
from app.charts.strategy_looks import Look, strategy_look
from app.literal import figure_text
from app.theme import Palette, style, translucent

NO_POINT = "No points yet:<br>the first step adds one"
VALIDATION = "validation"
TRAINING_STEP = "training, by step"
TRAINING_EPOCH = "training, by epoch"
BAND = "± standard deviation"

SMOOTHED_OVER = 0.5  # epochs
MOST_STEPS = 400  # drawn per run; more would only slow the browser
FEW_RUNS = 4  # with more, training loss is drawn by step only, and fainter

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """The metrics of one run so far, or the means of several that differ only in their seed.

    `x` counts epochs: 0.25 is a quarter of the first.
    """

    name: str  # as shown
    strategy: str  # its name in the registry: decides how the curve looks
    step_x: ArrayLike = ()  # (n,) ascending
    step_loss: ArrayLike = ()  # (n,) mean of the batch, nats
    step_accuracy: ArrayLike = ()  # (n,) of the batch, in [0, 1]
    epoch_x: ArrayLike = ()  # (m,)
    train_loss: ArrayLike = ()  # (m,) nats
    val_loss: ArrayLike = ()  # (m,) nats
    val_accuracy: ArrayLike = ()  # (m,) in [0, 1]
    accuracy_spread: ArrayLike = ()  # (m,) standard deviation over seeds, or nothing
    loss_spread: ArrayLike = ()  # (m,) the same, nats
    variant: int = 0  # counts the curves of one strategy

    def __post_init__(self) -> None:
        for first, others in (
            ("step_x", ("step_loss", "step_accuracy")),
            ("epoch_x", ("train_loss", "val_loss", "val_accuracy")),
        ):
            length = len(_numbers(getattr(self, first)))
            for other in others:
                if (other_length := len(_numbers(getattr(self, other)))) != length:
                    raise ValueError(f"`{other}` must have {length} entries, got {other_length}")

    @classmethod
    def of(
        cls,
        name: str,
        strategy: str,
        steps: Sequence[StepMetrics],
        epochs: Sequence[EpochMetrics],
        *,
        steps_per_epoch: int,
    ) -> Curve:
        """Collect the metrics of one run; a step is drawn where it ended."""
        if steps_per_epoch < 1:
            raise ValueError(f"`steps_per_epoch` must be at least 1, got {steps_per_epoch}")
        return cls(
            name,
            strategy,
            step_x=[step.step / steps_per_epoch for step in steps],
            step_loss=[step.loss for step in steps],
            step_accuracy=[step.accuracy for step in steps],
            epoch_x=[epoch.epoch for epoch in epochs],
            train_loss=[epoch.train_loss for epoch in epochs],
            val_loss=[epoch.val_loss for epoch in epochs],
            val_accuracy=[epoch.val_accuracy for epoch in epochs],
        )


def accuracy_figure(
    runs: Sequence[Curve], *, epochs: int, palette: Palette, height: int = 300
) -> go.Figure:
    """Draw validation accuracy by epoch, and faintly training accuracy by step.

    Parameters
    ----------
    runs : sequence of Curve
        In the order of the legend.
    epochs : int
        Planned epochs of the longest run, where the axis ends from the start.
    palette : Palette
    height : int, default=300
        Pixels. More than two lines of legend on a phone add to it.

    Returns
    -------
    Figure
        Percent by epoch. Two traces per run: "NAME, training, by step" (smoothed), if it has
        steps, and NAME. Of several seeds also "NAME, ± standard deviation".
    """
    figure = go.Figure()
    for run, its in _looks(runs, palette):
        _draw_steps(figure, run, 100 * _numbers(run.step_accuracy), its, len(runs))
    for run, its in _looks(runs, palette):
        _draw_band(
            figure, run, 100 * _numbers(run.val_accuracy), 100 * _numbers(run.accuracy_spread), its
        )
        _draw_validation(figure, run, 100 * _numbers(run.val_accuracy), its, "accuracy", ".1f", "%")
    _set_axes(figure, runs, epochs, palette, keys=(VALIDATION, TRAINING_STEP))
    figure.update_yaxes(
        title_text="Accuracy",
        range=[0, 100],
        tick0=0,
        dtick=20,
        ticksuffix=" %",
        ticklabelstandoff=4,
        automargin=True,
    )
    return style(figure, palette, height=height + extra_height([run.name for run in runs]))


def loss_figure(
    runs: Sequence[Curve], *, epochs: int, palette: Palette, height: int = 300, log: bool = False
) -> go.Figure:
    """Draw validation and training loss by epoch, and faintly training loss by step.

    Parameters
    ----------
    runs : sequence of Curve
        In the order of the legend.
    epochs : int
        Planned epochs of the longest run, where the axis ends from the start.
    palette : Palette
    height : int, default=300
        Pixels. More than two lines of legend on a phone add to it.
    log : bool, default=False
        Use a logarithmic axis, which leaves out losses of 0.

    Returns
    -------
    Figure
        Nats by epoch. Up to three traces per run: "NAME, training, by step" (smoothed),
        "NAME, training, by epoch" (only with up to four runs, to stay readable) and NAME. Losses
        that are not finite leave gaps.
    """
    figure = go.Figure()
    for run, its in _looks(runs, palette):
        _draw_steps(figure, run, _numbers(run.step_loss), its, len(runs))
    keys: tuple[str, ...] = (VALIDATION, TRAINING_STEP)
    if len(runs) <= FEW_RUNS:
        keys = (VALIDATION, TRAINING_EPOCH, TRAINING_STEP)
        for run, its in _looks(runs, palette):
            _draw_training(figure, run, its, palette)
    for run, its in _looks(runs, palette):
        _draw_band(figure, run, _numbers(run.val_loss), _numbers(run.loss_spread), its)
        _draw_validation(figure, run, _numbers(run.val_loss), its, "loss", ".3f", "nats")
    _set_axes(figure, runs, epochs, palette, keys=keys)
    figure.update_yaxes(title_text="Loss (nats)", ticklabelstandoff=4, automargin=True)
    figure.update_yaxes(**_loss_axis(figure, log=log))
    return style(figure, palette, height=height + extra_height([run.name for run in runs]))


def smooth(x: ArrayLike, y: ArrayLike, *, over: float = SMOOTHED_OVER) -> Numbers:
    """Return the mean of each value and those before it, over an interval of `x`.

    The mean only looks back, so that points already drawn stay in place while a run goes on; the
    price is a lag of half the interval.

    Parameters
    ----------
    x : array_like of shape (n,)
        Ascending.
    y : array_like of shape (n,)
        A mean over any value that is not finite is NaN.
    over : float, default=0.5
        Length of the interval, in the units of `x`.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    places, values = _numbers(x), _numbers(y)
    if not len(places):
        return np.empty(0)
    ends = np.arange(1, len(places) + 1)
    # A step exactly one interval back is outside; the factor allows for rounding.
    starts = np.searchsorted(places, places - over * (1 - 1e-9), side="left")
    # Differences of cumulative sums would be faster, but lose all digits after a loss of 1e20.
    sums = np.add.reduceat(np.append(values, 0.0), np.column_stack([starts, ends]).ravel())[::2]
    means = sums / (ends - starts)
    return np.where(np.isfinite(means), means, np.nan)


def _numbers(values: ArrayLike) -> Numbers:
    return np.asarray(values, dtype=float)


def _looks(runs: Sequence[Curve], palette: Palette) -> Iterator[tuple[Curve, Look]]:
    return ((run, strategy_look(palette, run.strategy, run.variant)) for run in runs)


def _draw_steps(figure: go.Figure, run: Curve, values: Numbers, its: Look, count: int) -> None:
    x = _numbers(run.step_x)
    if not len(x):
        return
    drawn = np.unique(np.linspace(0, len(x) - 1, MOST_STEPS).astype(int))
    figure.add_scatter(
        x=x[drawn],
        y=smooth(x, values)[drawn],
        # A line through a single point would be invisible.
        mode="lines" if len(x) > 1 else "markers",
        name=f"{figure_text(run.name)}, {TRAINING_STEP}",
        legendgroup=run.name,
        showlegend=False,
        line={"width": 1.25, "color": translucent(its.color, 0.6 if count <= FEW_RUNS else 0.3)},
        marker={"size": 6, "color": translucent(its.color, 0.6)},
        hoverinfo="skip",
    )


def _draw_training(figure: go.Figure, run: Curve, its: Look, palette: Palette) -> None:
    x, values = _numbers(run.epoch_x), _numbers(run.train_loss)
    if not len(x):
        return
    figure.add_scatter(
        x=x,
        y=values,
        mode="lines+markers",
        name=f"{figure_text(run.name)}, {TRAINING_EPOCH}",
        legendgroup=run.name,
        showlegend=False,
        line={"width": 1.25, "color": its.color, "dash": "dot"},
        marker={
            "size": 5,
            "color": palette.surface,
            "symbol": its.symbol,
            "line": {"width": 1.25, "color": its.color},
        },
        cliponaxis=False,
        hovertext=_hover_texts(run, x, values, "training loss", ".3f", "nats"),
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _draw_band(figure: go.Figure, run: Curve, values: Numbers, spread: Numbers, its: Look) -> None:
    """Draw the mean ± one standard deviation over seeds, where there are several."""
    if not spread.any():
        return
    x = _numbers(run.epoch_x)
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*(values + spread), *(values - spread)[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=translucent(its.color, 0.15),
        line={"width": 0},
        name=f"{figure_text(run.name)}, {BAND}",
        legendgroup=run.name,
        showlegend=False,
        hoverinfo="skip",
    )


def _draw_validation(
    figure: go.Figure, run: Curve, values: Numbers, its: Look, what: str, form: str, unit: str
) -> None:
    x = _numbers(run.epoch_x)
    figure.add_scatter(
        # Without points, an empty one keeps the name in the legend.
        x=x if len(x) else [None],
        y=values if len(x) else [None],
        mode="lines+markers",
        name=figure_text(run.name),
        legendgroup=run.name,
        line={"width": 2, "color": its.color, "dash": its.dash},
        # Many large markers would overlap.
        marker={"size": 7 if len(x) <= 24 else 4, "color": its.color, "symbol": its.mark},
        cliponaxis=False,
        hovertext=_hover_texts(run, x, values, f"validation {what}", form, unit),
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _hover_texts(
    run: Curve, x: Numbers, values: Numbers, what: str, form: str, unit: str
) -> list[str]:
    return [
        f"<b>{figure_text(run.name)}</b><br>epoch {epoch:g}<br>{what} {value:{form}} {unit}"
        for epoch, value in zip(x, values, strict=True)
    ]


def _set_axes(
    figure: go.Figure,
    runs: Sequence[Curve],
    epochs: int,
    palette: Palette,
    *,
    keys: tuple[str, ...],
) -> None:
    """Set what both figures share: the epoch axis, the legend and the note of an empty figure."""
    if epochs < 1:
        raise ValueError(f"`epochs` must be at least 1, got {epochs}")
    ends = [_numbers(x).max(initial=0.0) for run in runs for x in (run.step_x, run.epoch_x)]
    last = max([float(epochs), *ends])  # a run that outlasts the plan is shown in full
    figure.update_xaxes(title_text="Epoch", range=[0, last], tick0=0, dtick=whole_step(last))
    if runs:
        _add_keys(figure, keys, palette)
    if not any(ends):
        say_empty(figure, NO_POINT, palette)
    set_legend_above(figure)
    # A run hidden by a click in the legend stays hidden when its next point comes.
    figure.update_layout(uirevision="training", legend={"tracegroupgap": 0})


def _add_keys(figure: go.Figure, keys: tuple[str, ...], palette: Palette) -> None:
    """Explain each kind of line in the legend, without the colour of a run."""
    marks: dict[str, dict[str, Any]] = {
        VALIDATION: {"mode": "lines+markers", "line": {"width": 2}, "marker": {"size": 7}},
        TRAINING_EPOCH: {
            "mode": "lines+markers",
            "line": {"width": 1.25, "dash": "dot"},
            "marker": {
                "size": 5,
                "color": palette.surface,
                "line": {"width": 1.25, "color": palette.secondary},
            },
        },
        TRAINING_STEP: {"mode": "lines", "line": {"width": 1.25}, "opacity": 0.7},
    }
    for key in keys:
        figure.add_scatter(x=[None], y=[None], name=key, hoverinfo="skip", **marks[key])
        figure.data[-1].line.color = palette.secondary
        if figure.data[-1].marker.color is None:
            figure.data[-1].marker.color = palette.secondary


def _loss_axis(figure: go.Figure, *, log: bool) -> dict[str, Any]:
    drawn = [np.asarray(trace.y, dtype=float) for trace in figure.data]
    values = np.concatenate([*drawn, np.empty(0)])
    values = values[np.isfinite(values)]
    if not log:
        return {"range": [0, 1.05 * float(values.max(initial=0.0)) or 1.0], "nticks": 6}
    values = values[values > 0]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)
    bottom, top = np.log10(low) - 0.05, np.log10(high) + 0.05
    digits = (1, 2, 5) if top - bottom < 3 else (1,)
    ticks = [
        digit * 10.0**power
        for power in range(int(np.floor(bottom)), int(np.ceil(top)) + 1)
        for digit in digits
    ]
    return {
        "type": "log",
        "range": [bottom, top],
        # Plotly's own ticks would be small single digits between the powers.
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
