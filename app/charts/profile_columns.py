"""The columns of the layer profile: marks and axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from app.literal import figure_text
from app.theme import Palette, translucent

Column = Literal["b1", "score", "clusters", "cost", "parameters"]
Numbers = np.ndarray[Any, np.dtype[np.float64]]

CLEAR = "rgba(0,0,0,0)"
NAME_SIZE, NOTE_SIZE = 11, 10  # px
LOG_FROM = 50  # ratio of best to least ranked score from which bars are logarithmic
POINTS, BARS = ("b1", "clusters"), ("score", "cost", "parameters")  # how a column is drawn
SURE = 0.5  # other draws of images; a selected layer that fewer choose is there by luck
FAINT = 0.4  # opacity of its marks
OVERFLOW = 1.12  # where the bar of an unranked layer with a much higher score ends


@dataclass(frozen=True)
class Panel:
    """One column: its horizontal axis and its position."""

    number: int
    start: float  # both as shares of the plot's width
    end: float

    @property
    def axis(self) -> str:
        return "x" if self.number == 1 else f"x{self.number}"


@dataclass
class Sketch:
    """The figure as plain dictionaries, since Plotly checks every list again at each change."""

    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    palette: Palette


def axis_key(panel: Panel) -> str:
    return panel.axis.replace("x", "xaxis")


def set_axis(sketch: Sketch, panel: Panel, **settings: Any) -> None:
    sketch.layout[axis_key(panel)] = {
        "anchor": "y",
        "domain": [panel.start, panel.end],
        "side": "top",
        "tickangle": 0,
        **settings,
    }


def column_title(palette: Palette, text: str, note: str) -> dict[str, Any]:
    return {
        "text": f"{text}<br>{_small(note)}",
        "font": {"size": 12, "color": palette.text},
        "standoff": 4,
    }


def _small(text: str) -> str:
    return f'<span style="font-size:10px">{text}</span>'


def without_fading(trace: dict[str, Any]) -> dict[str, Any]:
    """The trace, set so that Plotly does not fade what a click has not selected."""
    steady = {"marker": {"opacity": 1}}
    return {**trace, "selected": steady, "unselected": steady, "hoverinfo": "skip"}


def _by_role(
    rows: pd.DataFrame, plain: Any, selected: Any, head: Any, lucky: Any = None
) -> list[Any]:
    """A value for each row; `lucky`, if given, for selected layers that others would be as well."""
    luck = np.zeros(len(rows), dtype=bool)
    if lucky is not None and "probability" in rows:
        luck = (rows["probability"] < SURE).to_numpy(dtype=bool)
    roles = zip(rows["selected"], rows["head"], luck, strict=True)
    return [head if h else (lucky if by else selected) if s else plain for s, h, by in roles]


def _numbers(values: pd.Series) -> Numbers:
    return values.to_numpy(dtype=float, na_value=np.nan)


def best_score(rows: pd.DataFrame) -> float:
    """The highest score of a ranked layer; an unranked head may score far higher."""
    ranked = rows.loc[rows["rank"].notna(), "score"]
    best = (ranked if ranked.notna().any() else rows["score"]).max()
    return float(best) if best > 0 else 1.0


@dataclass(frozen=True)
class ScoreScale:
    """Where a score is drawn: 1 is the best ranked layer; logarithmic if scores differ widely."""

    best: float
    lowest: float | None  # share of the best, drawn at 0 on a log scale; None: a linear scale

    @classmethod
    def of(cls, rows: pd.DataFrame) -> ScoreScale:
        best = best_score(rows)
        shares = _numbers(rows.loc[rows["rank"].notna(), "score"]) / best
        least = shares[shares > 0].min(initial=1.0)
        if least > 1 / LOG_FROM:
            return cls(best, None)
        return cls(best, 10.0 ** np.floor(np.log10(least)))

    def place(self, scores: Numbers) -> Numbers:
        """Positions along the axis, 0 to `OVERFLOW`; NaN stays NaN."""
        shares = scores / self.best
        if self.lowest is not None:
            shares = 1 - np.log10(np.maximum(shares, self.lowest)) / np.log10(self.lowest)
        return np.minimum(shares, OVERFLOW)

    def ticks(self) -> dict[str, list[Any]]:
        # A tick at 0 would touch the last tick of the column before it.
        values = [0.5 if self.lowest is None else np.sqrt(self.lowest), 1]
        places = self.place(np.array(values, dtype=float) * self.best)
        return {"tickvals": places.tolist(), "ticktext": [f"{value:.1g}" for value in values]}


def marks_by_role(name: str, rows: pd.DataFrame, palette: Palette) -> dict[str, dict[str, Any]]:
    """What of the trace `name` says which layers are selected, and which is the head."""
    if name == "names":
        return {"textfont": {"color": _by_role(rows, palette.text, palette.accent, palette.accent)}}
    if name in POINTS:
        faint = translucent(palette.accent, FAINT)
        color = _by_role(rows, palette.ink, palette.accent, palette.surface, faint)
        line = {"width": _by_role(rows, 0, 0, 1.5), "color": palette.accent}
        return {"marker": {"color": color, "line": line}}
    if name in BARS:
        faint = translucent(palette.accent, FAINT)
        color = _by_role(rows, palette.muted, palette.accent, palette.accent, faint)
        line = {"width": _by_role(rows, 0, 0, 1, 1), "color": palette.accent}
        pattern = {"shape": _by_role(rows, "", "", "/", "x"), "size": 5, "solidity": 0.3}
        return {"marker": {"color": color, "line": line, "pattern": pattern}}
    return {}


def draw_names(sketch: Sketch, rows: pd.DataFrame, labels: list[str], panel: Panel) -> None:
    palette = sketch.palette
    marks = marks_by_role("names", rows, palette)
    sketch.traces.append(
        {
            "type": "scatter",
            "name": "names",
            "x": np.ones(len(rows)),
            "y": np.arange(len(rows)),
            "mode": "text",
            "text": [figure_text(name) for name in labels],
            "textposition": "middle left",
            "textfont": {"size": NAME_SIZE, **marks["textfont"]},
            "cliponaxis": False,
            "hoverinfo": "skip",
            "xaxis": panel.axis,
            # A colour for selected texts keeps Plotly from fading all others.
            "selected": {"textfont": {"color": palette.text}},
        }
    )
    set_axis(sketch, panel, range=[0, 1], showgrid=False, showticklabels=False)


def _draw_points(
    sketch: Sketch,
    rows: pd.DataFrame,
    values: Numbers,
    panel: Panel,
    name: str,
    symbol: str,
) -> None:
    marks = marks_by_role(name, rows, sketch.palette)
    sketch.traces.append(
        without_fading(
            {
                "type": "scatter",
                "name": name,
                "x": values,
                "y": np.arange(len(rows)),
                "mode": "markers",
                "xaxis": panel.axis,
                "cliponaxis": False,
                "marker": {"size": 7, "symbol": symbol, **marks["marker"]},
            }
        )
    )


def _draw_bars(
    sketch: Sketch,
    rows: pd.DataFrame,
    values: Numbers,
    panel: Panel,
    name: str,
) -> None:
    sketch.traces.append(
        without_fading(
            {
                "type": "bar",
                "name": name,
                "x": values,
                "y": np.arange(len(rows)),
                "orientation": "h",
                "width": 0.68,
                "xaxis": panel.axis,
                **marks_by_role(name, rows, sketch.palette),
            }
        )
    )


def _draw_null(sketch: Sketch, rows: pd.DataFrame, panel: Panel) -> Numbers:
    """Draw what rotated clouds give behind b₁, if that is known, and return its ends."""
    if "null_low" not in rows:
        return np.zeros(0)
    low, high = _numbers(rows["null_low"]), _numbers(rows["null_high"])
    band = {
        "type": "bar",
        "name": "rotated clouds",
        "base": low,
        "x": high - low,
        "y": np.arange(len(rows)),
        "orientation": "h",
        "width": 0.72,
        "xaxis": panel.axis,
        "marker": {"color": sketch.palette.muted, "line": {"width": 0}},
        "opacity": 0.5,
    }
    sketch.traces.append(without_fading(band))
    return np.concatenate([low, high])


def _draw_b1(sketch: Sketch, rows: pd.DataFrame, panel: Panel) -> None:
    values = _numbers(rows["b1"])
    ends = _draw_null(sketch, rows, panel)
    _draw_points(sketch, rows, values, panel, "b1", "circle")
    if "b1_se" in rows and rows["b1_se"].notna().any():
        errors = _numbers(rows["b1_se"])
        sketch.traces[-1]["error_x"] = {
            "array": errors, "width": 0, "thickness": 1.25, "color": sketch.palette.ink,
        }  # fmt: skip
        ends = np.concatenate([ends, values - errors, values + errors])
    known = np.concatenate([values, ends])
    known = known[np.isfinite(known)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    pad = max(0.5, 0.08 * (high - low))
    set_axis(
        sketch,
        panel,
        range=[low - pad, high + pad],
        nticks=4,
        title=column_title(sketch.palette, "b₁", "loops"),
    )
    for row in np.flatnonzero(~rows["finite"].to_numpy(dtype=bool)):
        note(sketch, "not finite", row, low - pad, panel, sketch.palette.warning)


def _draw_score(sketch: Sketch, rows: pd.DataFrame, panel: Panel) -> None:
    scale, scores = ScoreScale.of(rows), _numbers(rows["score"])
    values = scores / scale.best
    _draw_bars(sketch, rows, scale.place(scores), panel, "score")
    set_axis(sketch, panel, range=[0, OVERFLOW], **scale.ticks())
    for row in np.flatnonzero(scale.place(scores) >= OVERFLOW):
        note(
            sketch,
            f"×{values[row]:.3g} ▸",
            row,
            0.06,
            panel,
            sketch.palette.accent,
            sketch.palette.surface,
        )
    missing = np.isnan(values) & rows["head"].to_numpy(dtype=bool)
    for row in np.flatnonzero(missing):
        note(sketch, "always trained", row, 0, panel, sketch.palette.accent)


def _draw_clusters(sketch: Sketch, rows: pd.DataFrame, panel: Panel) -> None:
    values = _numbers(rows["clusters"])
    _draw_points(sketch, rows, values, panel, "clusters", "diamond")
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    set_axis(
        sketch,
        panel,
        range=[low - 0.5, high + 0.5],
        # Whole numbers only: clusters are counted.
        tick0=0,
        dtick=max(1, int(np.ceil((high - low) / 4))),
        title=column_title(sketch.palette, "clusters", "DBSCAN"),
    )


def _draw_cost(sketch: Sketch, rows: pd.DataFrame, panel: Panel) -> None:
    size = _numbers(rows["activation_bytes"])
    unit, scale = byte_unit(float(size.max(initial=0)))
    _draw_bars(sketch, rows, size / scale, panel, "cost")
    set_axis(
        sketch,
        panel,
        range=[0, 1.05 * float(np.nanmax(size / scale, initial=0)) or 1],
        nticks=4,
        title=column_title(sketch.palette, "activation", f"{unit} per image"),
    )


def _draw_parameters(sketch: Sketch, rows: pd.DataFrame, panel: Panel) -> None:
    count = _numbers(rows["parameters"])
    most = float(count.max(initial=0))
    unit, scale = next(
        (unit, scale)
        for unit, scale in (("millions", 1e6), ("thousands", 1e3), ("numbers", 1))
        if most >= 2 * scale or scale == 1
    )
    _draw_bars(sketch, rows, count / scale, panel, "parameters")
    set_axis(
        sketch,
        panel,
        range=[0, 1.05 * most / scale or 1],
        nticks=3,
        title=column_title(sketch.palette, "parameters", unit),
    )


DRAW = {
    "b1": _draw_b1,
    "score": _draw_score,
    "clusters": _draw_clusters,
    "cost": _draw_cost,
    "parameters": _draw_parameters,
}


def note(
    sketch: Sketch,
    text: str,
    row: int | np.integer[Any],
    x: float,
    panel: Panel,
    color: str,
    background: str = CLEAR,
) -> None:
    sketch.layout["annotations"].append(note_at(text, int(row), x, panel.axis, color, background))


def note_at(
    text: str, row: int, x: float, axis: str, color: str, background: str = CLEAR
) -> dict[str, Any]:
    return {
        "text": text,
        "x": x,
        "y": row,
        "xref": axis,
        "yref": "y",
        "xanchor": "left",
        "showarrow": False,
        "font": {"size": NOTE_SIZE, "color": color},
        "bgcolor": background,
        "borderpad": 0,
    }


def byte_unit(size: float) -> tuple[str, float]:
    return ("MB", 1e6) if size >= 2e6 else ("kB", 1e3)
