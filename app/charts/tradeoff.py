"""Accuracy against cost: one point per setting or run, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from analysis.selection.strategies import ALL_STRATEGIES, title_of
from app.charts.parts import extra_height, say_empty, set_legend_above
from app.charts.strategy_looks import strategy_look
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style

NO_POINT = "No points yet:<br>each finished run adds one"
FRONT = "Pareto front"
LEAST_SPAN = 10.0  # percent; a smaller spread should look small


@dataclass(frozen=True)
class RunPoint:
    """One run, or the means of several that differ only in their seed: cost and accuracy."""

    run_id: str  # of several, separated by spaces
    name: str  # as shown
    strategy: str  # its name in the registry
    seeds: str  # as shown
    cost: float  # in the unit of the figure; NaN if it was not measured
    accuracy: float  # in [0, 1]; NaN if there is none
    cost_spread: float = 0.0  # standard deviation over seeds
    accuracy_spread: float = 0.0
    variant: int = 0  # counts the points of one strategy


def tradeoff_figure(
    points: Sequence[RunPoint],
    *,
    x_title: str,
    unit: str,
    y_title: str = "Accuracy",
    front: bool = True,
    palette: Palette,
    height: int = 340,
) -> go.Figure:
    """Draw accuracy against cost, coloured by strategy, with the Pareto front.

    Parameters
    ----------
    points : sequence of RunPoint
        Those without a finite cost and accuracy are left out.
    x_title : str
        What the cost is, e.g. "Peak memory".
    unit : str
        Of the cost, e.g. "MB".
    y_title : str, default="Accuracy"
        Which accuracy it is, e.g. "Test accuracy".
    front : bool, default=True
        Draw the Pareto front. False for points that cannot be compared.
    palette : Palette
    height : int, default=340
        Pixels. More than two lines of legend on a phone add to it.

    Returns
    -------
    Figure
        Trace "Pareto front", then one trace per strategy that has points, in the order of the
        registry; each point's
        `customdata[0]` is its run's id, which a click selects.
    """
    drawn = [point for point in points if np.isfinite([point.cost, point.accuracy]).all()]
    costs = np.array([point.cost for point in drawn], dtype=float)
    accuracies = 100 * np.array([point.accuracy for point in drawn], dtype=float)
    spreads = 100 * np.array([point.accuracy_spread for point in drawn], dtype=float)
    ends = [point.cost + point.cost_spread for point in drawn]
    right = 1.06 * max(ends, default=0.0) or 1.0
    figure = SelectableFigure()
    leading = pareto_front(costs, accuracies) if front else np.array([], dtype=np.intp)
    if len(leading):
        _draw_front(figure, costs[leading], accuracies[leading], right, palette)
    best = set(leading.tolist())
    shown: list[str] = []
    for strategy in dict.fromkeys([*ALL_STRATEGIES, *(point.strategy for point in drawn)]):
        members = [i for i, point in enumerate(drawn) if point.strategy == strategy]
        if not members:
            continue
        shown.append(title := title_of(strategy))
        looks = [strategy_look(palette, strategy, drawn[i].variant) for i in members]
        figure.add_scatter(
            x=costs[members],
            y=accuracies[members],
            mode="markers",
            name=figure_text(title),
            legendgroup=strategy,  # one group each, so that the legend wastes no room on columns
            marker={
                "size": 11,
                "color": looks[0].color,
                "symbol": [its.mark for its in looks],
                # An open symbol is a line in its own colour.
                "line": {
                    "width": [2 if "open" in its.form else 1 for its in looks],
                    "color": palette.surface,
                },
            },
            error_x=_bars([drawn[i].cost_spread for i in members]),
            error_y=_bars([100 * drawn[i].accuracy_spread for i in members]),
            cliponaxis=False,
            customdata=[[drawn[i].run_id] for i in members],
            hovertext=[_hover_text(drawn[i], x_title, unit, y_title, i in best) for i in members],
            hovertemplate="%{hovertext}<extra></extra>",
            # Unselected points stay visible for comparison.
            selected={"marker": {"size": 15}},
            unselected={"marker": {"opacity": 0.55}},
        )
    figure.update_xaxes(title_text=f"{x_title} ({unit})", range=[0, right], nticks=7)
    figure.update_yaxes(
        title_text=y_title,
        range=_accuracy_range(np.concatenate([accuracies - spreads, accuracies + spreads])),
        nticks=7,
        ticksuffix=" %",
        ticklabelstandoff=4,
        automargin=True,
    )
    set_legend_above(figure)
    figure.update_layout(clickmode="event+select", legend={"tracegroupgap": 0})
    if not drawn:
        figure.update_xaxes(showticklabels=False)
        say_empty(figure, NO_POINT, palette)
    return style(figure, palette, height=height + extra_height([FRONT, *shown]))


def pareto_front(costs: ArrayLike, gains: ArrayLike) -> NDArray[np.intp]:
    """Find the points that no other point beats.

    A point is beaten by one that costs no more, gains no less, and is better in at least one of
    the two. Equal points do not beat each other: all of them are on the front, or none is.

    Parameters
    ----------
    costs : array_like of shape (n,)
        Less is better.
    gains : array_like of shape (n,)
        More is better.

    Returns
    -------
    ndarray of shape (k,), intp
        Indices by rising cost, and so by rising gain; equal points keep their order. A point with
        NaN is never among them and beats none.
    """
    x, y = np.asarray(costs, dtype=float), np.asarray(gains, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"`costs` and `gains` must be (n,), got {x.shape} and {y.shape}")
    leading: list[int] = []
    for i in np.lexsort((-y, x)):  # stable
        if np.isnan(x[i]) or np.isnan(y[i]):
            continue
        last = leading[-1] if leading else None
        if last is None or y[i] > y[last] or (x[i] == x[last] and y[i] == y[last]):
            leading.append(int(i))
    return np.array(leading, dtype=np.intp)


def _draw_front(
    figure: go.Figure,
    costs: NDArray[np.float64],
    accuracies: NDArray[np.float64],
    right: float,
    palette: Palette,
) -> None:
    """Draw the best accuracy for a cost up to x, as steps since no run lies in between."""
    figure.add_scatter(
        x=[*costs, right],
        y=[*accuracies, accuracies[-1]],
        mode="lines",
        name=FRONT,
        legendgroup=FRONT,
        line={"shape": "hv", "width": 1.5, "color": palette.noise, "dash": "dash"},
        hoverinfo="skip",
    )


def _bars(spreads: list[float]) -> dict[str, object]:
    return {"array": spreads, "visible": any(spreads), "thickness": 1, "width": 3}


def _hover_text(point: RunPoint, x_title: str, unit: str, y_title: str, best: bool) -> str:
    lines = [
        f"<b>{figure_text(point.name)}</b>",
        f"strategy {figure_text(title_of(point.strategy))}, {point.seeds}",
        f"{_lower(y_title)} {100 * point.accuracy:.1f}{_plus_minus(100 * point.accuracy_spread)} %",
        f"{_lower(x_title)} {point.cost:.4g}{_plus_minus(point.cost_spread)} {unit}",
    ]
    if best:
        lines.append("on the Pareto front: nothing at<br>this cost or less is better")
    return "<br>".join(lines)


def _plus_minus(spread: float) -> str:
    return f" ± {spread:.2g}" if spread else ""


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _accuracy_range(accuracies: NDArray[np.float64]) -> list[float]:
    if not len(accuracies):
        return [0.0, 100.0]
    low, high = float(accuracies.min()), float(accuracies.max())
    middle, half = (low + high) / 2, max(0.56 * (high - low), LEAST_SPAN / 2)
    return [max(0.0, middle - half), min(100.0, middle + half)]
