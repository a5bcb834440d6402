"""One bar for each layer."""

from __future__ import annotations

import numpy as np

from app.charts.layer_bars import layer_bars_figure
from app.theme import PALETTES


def test_marked_layers_stand_out_and_names_are_shown_letter_by_letter() -> None:
    palette = PALETTES["light"]
    figure = layer_bars_figure(
        ["<b>", ""], [2.0, np.nan], [False, True], title="b₁", palette=palette
    )
    (bars,) = figure.data
    assert list(bars.marker.color) == [palette.muted, palette.accent]
    assert list(bars.hovertext) == ["<b>&lt;b&gt;</b>", "<b>(model)</b>"]
    assert figure.layout.yaxis.title.text == "b₁"
