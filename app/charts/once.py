"""Figures that the browser draws once instead of twice."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io

from app.theme import DrawnFigure

_AXIS = re.compile(r"([xy])axis\d*")


def drawn_once(figure: go.Figure) -> DrawnFigure:
    """The same figure, of which the browser sees that nothing has changed.

    Streamlit hands each chart to Plotly twice, the second time as a copy. Plotly compares templates
    and typed arrays by identity, and all arrays where they have no revision, and so draws the copy
    too. Here the template is part of the layout, arrays are lists, and their revision is computed
    from them. A chart with selections must keep its template: see `SelectableFigure`.

    Parameters
    ----------
    figure : Figure
        With the template of `app.theme.style`, which has a layout alone.
    """
    plain = figure.to_dict()
    layout = dict(plain["layout"])
    shared = layout.pop("template")["layout"]
    axes = {key: _over(shared[key[:5]], own) for key, own in layout.items() if _AXIS.fullmatch(key)}
    parts = {"data": plain["data"], "layout": _over(_over(shared, layout), axes)}
    lists: dict[str, Any] = _listed(parts)
    revision = zlib.crc32(plotly.io.to_json(lists, validate=False).encode())
    return DrawnFigure({**lists, "layout": {**lists["layout"], "datarevision": revision}})


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings in one, part by part; where both have a value, the one above counts."""
    both = {key: _over(below[key], value) for key, value in above.items()
            if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)}  # fmt: skip
    return {**below, **above, **both}


def _listed(value: Any) -> Any:
    """With lists for the typed arrays that Plotly has made of NumPy's."""
    if isinstance(value, Mapping):
        if "bdata" not in value:
            return {key: _listed(each) for key, each in value.items()}
        numbers = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
        if "shape" in value:
            numbers = numbers.reshape([int(length) for length in value["shape"].split(",")])
        if numbers.dtype == np.float32:  # which as 64 bits has twice the digits
            numbers = numbers.astype(str).astype(float)
        return numbers.tolist()
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value
