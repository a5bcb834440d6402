"""The loops of each layer against those of rotated clouds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from app.charts.null import (
    ALONE,
    BAND,
    NOISE,
    PASSES,
    PERMUTED,
    WITHIN,
    calibration_figure,
    null_figure,
)
from app.theme import PALETTES

PALETTE = PALETTES["light"]


@pytest.fixture
def table() -> pd.DataFrame:
    """A layer as its rotated clouds, one that passes, and one that does so only by itself."""
    frame = pd.DataFrame(
        {
            "b1": [10.0, 3.0, 12.0],
            "b1_mean": [10.0, 9.0, 9.0],
            "b1_low": [7.0, 6.0, 6.0],
            "b1_high": [13.0, 12.0, 12.0],
            "longest": [1.2, 1.9, 1.3],
            "longest_high": [1.4, 1.5, 1.4],
            "noise_mean": [20.0, 21.0, 20.0],
            "noise_low": [16.0, 17.0, 16.0],
            "noise_high": [24.0, 25.0, 24.0],
        },
        index=pd.Index(["a.conv", "<b>x</b>", ""], name="layer"),
    )
    # Of two sides, 0.04 on one is no evidence.
    p = {"b1-more": (0.04, 1, 0.02), "b1-fewer": (0.6, 0.001, 1), "longest-loop": (0.7, 0.001, 0.2)}
    for name, values in p.items():
        frame[f"p {name}"] = values
        frame[f"p_holm {name}"] = np.minimum(1, 3 * np.array(values))
    return frame


def traces(figure: go.Figure, name: str) -> list[go.Scatter]:
    """That of b₁, and that of the longest loop."""
    return [trace for trace in figure.data if trace.name == name]


def test_the_band_is_what_rotated_clouds_give(table: pd.DataFrame) -> None:
    above, below = traces(null_figure(table, palette=PALETTE), BAND)
    assert list(above.base) == [7, 6, 6]
    assert list(above.base + above.y) == [13, 12, 12]
    assert list(below.base + below.y) == pytest.approx([1.4, 1.5, 1.4])


def test_a_dash_is_the_mean_of_pure_noise(table: pd.DataFrame) -> None:
    figure = null_figure(table, palette=PALETTE)
    (dashes,) = traces(figure, NOISE)
    assert list(dashes.y) == [20, 21, 20]
    assert "dimension 21 (17 to 25)" in traces(figure, PASSES)[0].hovertext[0]
    without = null_figure(table.assign(noise_mean=np.nan), palette=PALETTE)
    assert not traces(without, NOISE)
    assert "noise" not in traces(without, PASSES)[0].hovertext[0]


def test_a_line_is_what_permuted_features_give(table: pd.DataFrame) -> None:
    counted = {"permuted_mean": [8.0, 9, np.nan], "permuted_low": [6.0, 7, np.nan]}
    more = table.assign(**counted, permuted_high=[9.5, 12, np.nan])
    figure = null_figure(more, palette=PALETTE)
    (lines,) = traces(figure, PERMUTED)
    assert list(lines.y)[:2] == [8, 9]
    assert list(lines.error_y.array)[:2] == [1.5, 3]
    assert list(lines.error_y.arrayminus)[:2] == [2, 2]
    assert "permuted features 9 (7 to 12)" in traces(figure, PASSES)[0].hovertext[0]
    assert "permuted" not in traces(figure, ALONE)[0].hovertext[0]  # its layer was not reached
    assert not traces(null_figure(table, palette=PALETTE), PERMUTED)


def test_a_point_is_filled_only_if_it_passes_after_the_correction(table: pd.DataFrame) -> None:
    figure = null_figure(table, palette=PALETTE)
    at = {name: [trace.x for trace in traces(figure, name)] for name in (WITHIN, ALONE, PASSES)}
    assert at == {WITHIN: [(0,), (0, 2)], ALONE: [(2,), (None,)], PASSES: [(1,), (1,)]}
    assert [trace.y for trace in traces(figure, PASSES)] == [(3,), (1.9,)]
    assert traces(figure, PASSES)[0].marker.color == PALETTE.accent
    assert traces(figure, ALONE)[0].marker.color == PALETTE.surface


def test_a_point_has_its_layer_and_shows_names_letter_by_letter(table: pd.DataFrame) -> None:
    figure = null_figure(table, palette=PALETTE)
    passing = traces(figure, PASSES)[0]
    assert passing.customdata[0][0] == "<b>x</b>"
    assert "<b>x</b>" not in passing.hovertext[0]
    assert "b₁ = 3; rotated clouds 9 (6 to 12)" in passing.hovertext[0]
    assert "fewer loops: p = 0.001, 0.003 after Holm" in passing.hovertext[0]
    assert "(model)" in traces(figure, ALONE)[0].hovertext[0]


def test_the_layer_that_is_open_is_marked(table: pd.DataFrame) -> None:
    figure = null_figure(table, opened="", palette=PALETTE)
    assert [(shape.name, shape.x0) for shape in figure.layout.shapes] == [("marked layer", 2)]
    assert not null_figure(table, opened="gone", palette=PALETTE).layout.shapes


def test_the_calibration_is_the_share_of_clouds_at_most_each_p() -> None:
    figure = calibration_figure({"loops": [0.5, 0.1, 0.9, 0.2]}, palette=PALETTE)
    band, loops = figure.data
    assert list(loops.x) == [0, 0.1, 0.2, 0.5, 0.9, 1]
    assert list(loops.y) == [0, 0.25, 0.5, 0.75, 1, 1]
    assert max(np.array(band.y)[:101] - np.linspace(0, 1, 101)) == pytest.approx(
        1.358 / 2, abs=0.02
    )
