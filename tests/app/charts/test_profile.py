"""The layer profile, looked at from inside: what is drawn where, and what a click gives."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest

from app.charts.profile import (
    COLUMNS,
    profile_figure,
    profile_titles_figure,
    profile_with_selection,
    short_names,
)
from app.theme import LARGE, PALETTES

LIGHT = PALETTES["light"]
NAMES = ["conv1", "layer1.0.conv1", "layer1.0.bn1", "layer2.0.downsample.1", "fc"]


@pytest.fixture
def rows() -> pd.DataFrame:
    """Five layers: one selected, one not finite, and a head that is not ranked."""
    return pd.DataFrame(
        {
            "layer": NAMES,
            "kind": ["Conv2d", "Conv2d", "BatchNorm2d", "BatchNorm2d", "Linear"],
            "b1": [10.0, 20.0, np.nan, 15.0, 12.0],
            "score": [0.1, 0.2, np.nan, 0.4, 4.0],
            "rank": pd.array([3, 2, None, 1, None], dtype="Int64"),
            "clusters": pd.array([2, 1, None, 3, 2], dtype="Int64"),
            "noise_share": [0.0, 0.25, np.nan, 0.1, 0.0],
            "parameters": [432, 2304, 32, 64, 650],
            "activation_size": [655_360, 655_360, 655_360, 327_680, 400],
            "activation_bytes": [65_536, 65_536, 65_536, 32_768, 40],
            "selected": [False, False, False, True, False],
            "head": [False, False, False, False, True],
            "finite": [True, True, False, True, True],
        }
    )


def draw(rows: pd.DataFrame, **options: Any) -> go.Figure:
    return profile_figure(rows, **{"threshold": 0.4, "palette": LIGHT, **options})


def trace(figure: go.Figure, name: str) -> Any:
    (trace,) = [t for t in figure.data if t.name == name]
    return trace


def notes(figure: go.Figure) -> dict[str, Any]:
    return {a.text: a for a in figure.layout.annotations}


def test_rows_run_from_top_to_bottom_in_the_given_order(rows):
    figure = draw(rows)
    assert list(trace(figure, "names").text) == NAMES
    assert list(trace(figure, "names").y) == [0, 1, 2, 3, 4]
    bottom, top = figure.layout.yaxis.range
    assert bottom > 4
    assert top < 0


def test_every_column_holds_its_numbers(rows):
    figure = draw(rows)
    np.testing.assert_array_equal(trace(figure, "b1").x, rows["b1"])
    np.testing.assert_array_equal(trace(figure, "clusters").x, [2, 1, np.nan, 3, 2])
    np.testing.assert_allclose(trace(figure, "cost").x, [65.536, 65.536, 65.536, 32.768, 0.04])
    np.testing.assert_allclose(trace(figure, "score").x[:4], [0.25, 0.5, np.nan, 1.0])


def test_an_unranked_head_does_not_squash_the_ranked_scores(rows):
    figure = draw(rows)
    cut = figure.layout.xaxis3.range[1]
    assert 1 < trace(figure, "score").x[4] <= cut < 1.5
    assert notes(figure)["×10 ▸"].y == 4


def test_a_ranked_head_is_the_best_like_any_layer(rows):
    rows["rank"] = pd.array([4, 3, None, 2, 1], dtype="Int64")
    np.testing.assert_allclose(trace(draw(rows), "score").x, [0.025, 0.05, np.nan, 0.1, 1.0])


def test_the_threshold_is_at_the_scaled_score(rows):
    (line,) = draw(rows, threshold=0.2).layout.shapes
    assert (line.xref, line.x0, line.x1) == ("x3", 0.5, 0.5)
    assert line.line.dash == "dash"
    assert line.y1 == 4.5
    assert not draw(rows, threshold=None).layout.shapes


@pytest.mark.parametrize("appearance", sorted(PALETTES))
@pytest.mark.parametrize("name", ["b1", "score", "clusters", "cost"])
def test_selected_rows_have_the_accent_and_the_head_looks_different(rows, name, appearance):
    palette = PALETTES[appearance]
    marker = trace(draw(rows, palette=palette), name).marker
    plain = palette.muted if name in {"score", "cost"} else palette.ink
    assert list(marker.color[:4]) == [plain, plain, plain, palette.accent]
    if name in {"score", "cost"}:
        assert list(marker.pattern.shape) == ["", "", "", "", "/"]
    else:
        assert marker.color[4] == palette.surface
        assert list(marker.line.width) == [0, 0, 0, 0, 1.5]
    assert marker.line.color == palette.accent


def test_selected_rows_are_tinted_across_the_columns(rows):
    tint = trace(draw(rows), "selected rows")
    assert list(tint.y) == [3]
    assert list(tint.x) == [1]
    assert (tint.width, tint.hoverinfo) == (1, "skip")


def test_not_finite_layers_say_so(rows):
    note = notes(draw(rows))["not finite"]
    assert (note.y, note.xref, note.font.color) == (2, "x2", LIGHT.warning)
    rows["finite"] = True
    assert "not finite" not in notes(draw(rows))


@pytest.mark.parametrize("columns", [COLUMNS, ("b1", "score"), ("cost",)])
def test_each_row_can_be_clicked_across_its_whole_width(rows, columns):
    figure = draw(rows, columns=columns)
    cells = trace(figure, "cells")
    axis = figure.layout[cells.xaxis.replace("x", "xaxis")]
    assert tuple(axis.domain) == (0, 1)
    assert tuple(axis.range) == (0, 1)
    assert cells.width == 1
    for number, name in enumerate(NAMES):
        mine = [i for i, y in enumerate(cells.y) if y == number]
        assert {cells.customdata[i][0] for i in mine} == {name}
        assert len(mine) == len(columns) + 1
        ends = sorted((cells.base[i], cells.base[i] + cells.x[i]) for i in mine)
        assert ends[0][0] == 0
        assert ends[-1][1] == pytest.approx(1)
        for (_, end), (start, _) in itertools.pairwise(ends):
            assert start == pytest.approx(end)


def test_only_the_cells_react_to_the_pointer(rows):
    figure = draw(rows)
    assert figure.data[-1].name == "cells"
    numbers = [int(t.xaxis[1:] or 1) for t in figure.data]
    assert numbers[-1] == max(numbers)
    assert [t.name for t in figure.data if t.xaxis == figure.data[-1].xaxis] == [
        "selected rows",
        "cells",
    ]
    assert {t.hoverinfo for t in figure.data[:-1]} == {"skip"}


def test_a_click_selects_without_fading_or_zooming(rows):
    figure = draw(rows)
    assert figure.layout.clickmode == "event+select"
    shared = figure.layout.template.layout
    assert shared.xaxis.fixedrange is shared.yaxis.fixedrange is True
    own = [axis for axis in figure.layout if axis.startswith(("xaxis", "yaxis"))]
    assert len(own) == 8
    assert {figure.layout[axis].fixedrange for axis in own} == {None}
    for t in figure.data:
        if t.name == "names":
            assert t.selected.textfont.color == LIGHT.text
        else:
            assert t.unselected.marker.opacity == 1


def test_streamlit_finds_no_falsy_dragmode_to_replace_and_plotly_none_it_knows(rows):
    sent = json.loads(draw(rows).to_json())["layout"]
    assert sent["dragmode"] == "none"
    assert sent["template"]["layout"]["dragmode"] is False


def test_hover_texts_have_words_and_units(rows):
    texts = trace(draw(rows), "cells").hovertext
    assert "<b>layer2.0.downsample.1</b> · BatchNorm2d" in texts[3]
    for part in (
        "b₁: 15 loops",
        "score: 0.4 (1.00 of the best, rank 1)",
        "DBSCAN clusters: 3, 10.0 % noise",
        "32.77 kB per image",
        "327,680 numbers",
        "parameters: 64",
    ):
        assert part in texts[3]
    assert "not finite" in texts[2]
    assert "nan" not in texts[2].lower()
    assert "not ranked" in texts[4]
    assert "always trained" in texts[4]


def test_phone_columns_leave_the_others_out(rows):
    figure = draw(rows, columns=("b1", "score"))
    assert [t.name for t in figure.data] == ["names", "b1", "score", "selected rows", "cells"]


def test_the_height_grows_with_the_rows(rows):
    many = pd.concat([rows.assign(layer=[f"{i}.{n}" for n in NAMES]) for i in range(20)])
    difference = draw(many, row_height=15).layout.height - draw(rows, row_height=15).layout.height
    assert difference == 95 * 15


def test_large_activations_are_given_in_megabytes(rows):
    rows["activation_bytes"] *= 100
    figure = draw(rows)
    assert trace(figure, "cost").x[0] == pytest.approx(6.5536)
    assert "MB per image" in figure.layout.xaxis5.title.text


def test_columns_have_titles_and_the_score_is_titled_by_what_its_axis_shows(rows):
    figure = draw(rows)
    titles = [figure.layout[f"xaxis{n}"].title.text for n in range(2, 6)]
    plain = [re.sub("<[^>]*>", " ", title).split() for title in titles]
    assert [words[0] for words in plain] == ["b₁", "score", "clusters", "activation"]
    assert plain[1] == ["score", "share", "of", "the", "best"]
    assert {figure.layout[f"xaxis{n}"].side for n in range(2, 6)} == {"top"}


def test_unknown_columns_are_refused(rows):
    with pytest.raises(ValueError, match=r"`columns` must be some of .*, got \('b2',\)"):
        draw(rows, columns=("b2",))


def test_all_scores_missing_or_zero_still_draws(rows):
    for value in (np.nan, 0.0):
        figure = draw(rows.assign(score=value, selected=False), threshold=None)
        assert trace(figure, "score").x[0] == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("encoder.layers.encoder_layer_5.self_attention", "5.self_attention"),
        ("encoder.layers.encoder_layer_11.mlp.0", "11.mlp.0"),
        ("model.blocks.3.attn.qkv", "3.attn.qkv"),
        ("features.12.conv.0.1", "features.12.conv.0.1"),
        ("layer2.0.downsample.1", "layer2.0.downsample.1"),
        ("encoder.ln", "encoder.ln"),
        ("", "(model)"),
    ],
)
def test_short_names(name, label):
    assert short_names([name]) == [label]


def test_short_names_stay_different():
    names = ["encoder.layers.0.fc", "decoder.layers.0.fc", "encoder.layers.1.fc"]
    assert short_names(names) == ["encoder.layers.0.fc", "decoder.layers.0.fc", "1.fc"]
    tail = "a_very_long_segment.that_goes_on.and_on_for_ever"
    for names in ([f"left.{tail}", f"right.{tail}"], [f"{tail}.0", f"{tail}.1"]):
        labels = short_names(names)
        assert len(set(labels)) == 2
    assert all(len(label) <= 26 for label in short_names([f"{tail}.0", f"{tail}.1"]))


def test_the_longest_name_fits_the_margin_on_a_phone(rows):
    rows.loc[3, "layer"] = "encoder_stage_two.attention_projection"
    figure = draw(rows, columns=("b1", "score"))
    label = max(trace(figure, "names").text, key=len)
    left, right = figure.layout.margin.l, figure.layout.margin.r
    column = figure.layout.xaxis.domain[1] * (340 - left - right)
    assert left + column >= 6.0 * len(label)
    assert 340 - left - right >= 130


def test_scores_that_differ_much_are_drawn_on_a_log_scale(rows: pd.DataFrame) -> None:
    far = rows.assign(score=[1e-4, 1e-2, np.nan, 1.0, 4.0])
    figure = profile_figure(far, threshold=1e-2, palette=LIGHT)
    bars = next(trace for trace in figure.data if trace.name == "score")
    assert list(bars.x)[:2] == pytest.approx([0.0, 0.5])
    assert bars.x[3] == pytest.approx(1.0)
    line = next(shape for shape in figure.layout.shapes if shape.name == "threshold")
    assert line.x0 == pytest.approx(0.5)
    axis = figure.layout[bars.xaxis.replace("x", "xaxis")]
    assert list(axis.ticktext) == ["0.01", "1"]
    assert "score (log)" in axis.title.text
    near = profile_figure(rows, threshold=None, palette=LIGHT)
    assert "(log)" not in str(near.layout)


def test_parameters_are_drawn_in_a_unit_that_fits(rows: pd.DataFrame) -> None:
    for most, unit, length in (
        (1_500, "numbers", 1_500),
        (25_000, "thousands", 25),
        (3e6, "millions", 3),
    ):
        counts = [0, 10, 20, 30, int(most)]
        figure = profile_figure(rows.assign(parameters=counts), threshold=None, palette=LIGHT)
        bars = next(trace for trace in figure.data if trace.name == "parameters")
        assert bars.x[4] == pytest.approx(length)
        assert unit in figure.layout[bars.xaxis.replace("x", "xaxis")].title.text


@pytest.mark.parametrize("columns", [COLUMNS, ("b1", "score")])
def test_the_titles_alone_stand_where_those_of_the_profile_do(rows, columns) -> None:
    whole = draw(rows, columns=columns)
    titles = profile_titles_figure(whole, LIGHT)
    for number in range(1, len(columns) + 3):
        name = f"xaxis{number if number > 1 else ''}"
        for setting in ("domain", "range", "ticktext", "side"):
            assert titles.layout[name][setting] == whole.layout[name][setting]
        assert titles.layout[name].title.text == whole.layout[name].title.text
    for side in "lr":
        assert titles.layout.margin[side] == whole.layout.margin[side]
    assert titles.layout.height < whole.layout.margin.t


def test_every_column_has_a_range_of_its_own_choice(rows) -> None:
    """The titles alone have no bars from which Plotly could find the same one."""
    layout = draw(rows).layout
    assert all(layout[f"xaxis{number}"].range for number in range(2, 8))
    for column, number in (("cost", 5), ("parameters", 6)):
        assert layout[f"xaxis{number}"].range[1] > max(trace(draw(rows), column).x)


def test_large_type_scales_every_label_and_the_room_for_it(rows) -> None:
    plain, large = draw(rows), draw(rows, palette=PALETTES["light large"])
    assert large.layout.height == pytest.approx(LARGE * plain.layout.height)
    assert large.layout.margin.l == pytest.approx(LARGE * plain.layout.margin.l)
    for a, b in zip(plain.layout.annotations, large.layout.annotations, strict=True):
        assert b.font.size == pytest.approx(LARGE * a.font.size)
    assert trace(large, "names").textfont.size == LARGE * trace(plain, "names").textfont.size
    title = large.layout.xaxis3.title
    assert title.font.size == pytest.approx(LARGE * 12)
    assert "font-size:14px" in title.text  # of 10
    shared = large.layout.template.layout
    assert shared.xaxis.tickfont.size == pytest.approx(LARGE * 11)
    assert shared.hoverlabel.font.size == pytest.approx(LARGE * 12)
    titles = profile_titles_figure(large, PALETTES["light large"])
    assert titles.layout.xaxis3.title == title
    assert titles.layout.template.layout.xaxis.tickfont.size == shared.xaxis.tickfont.size


@pytest.mark.parametrize("look", ["light", "dark large"])
def test_a_patched_profile_is_the_one_drawn_anew(rows, look) -> None:
    """With another selection and threshold."""
    palette = PALETTES[look]
    drawn = profile_figure(rows, threshold=None, palette=palette).to_dict()
    before = plotly.io.to_json(drawn, validate=False)
    other = rows.assign(selected=~rows["selected"] & ~rows["head"])
    for threshold in (0.5 * rows["score"].max(), None):
        anew = profile_figure(other, threshold=threshold, palette=palette)
        patched = profile_with_selection(drawn, other, threshold=threshold, palette=palette)
        assert json.loads(plotly.io.to_json(patched, validate=False)) == json.loads(
            plotly.io.to_json(anew.to_dict(), validate=False)
        )
    assert plotly.io.to_json(drawn, validate=False) == before


def test_a_band_lies_behind_the_loops_where_they_were_tested(rows: pd.DataFrame) -> None:
    assert "rotated clouds" not in [t.name for t in draw(rows).data]
    tested = rows.assign(null_low=[8, 9, np.nan, 4, 5.0], null_high=[30, 12, np.nan, 9, 9.0])
    figure = draw(tested)
    band = trace(figure, "rotated clouds")
    names = [t.name for t in figure.data]
    assert names.index("rotated clouds") < names.index("b1")
    assert band.xaxis == trace(figure, "b1").xaxis
    assert list(band.base)[:2] == [8, 9]
    assert list(band.base + band.x)[:2] == [30, 12]
    low, high = figure.layout[band.xaxis.replace("x", "xaxis")].range
    assert low < 4
    assert high > 30
    texts = trace(figure, "cells").hovertext
    assert "95 % of rotated clouds: 8 to 30 loops" in texts[0]
    assert "rotated" not in texts[2]


def test_loops_have_error_bars_and_what_luck_selected_is_faint_and_crossed(rows) -> None:
    rows["b1_se"] = [0.5, 0.5, np.nan, 6.0, 0.5]
    sure = draw(rows.assign(probability=[0.3, 0.1, np.nan, 0.9, np.nan]))
    luck = draw(rows.assign(probability=[0.3, 0.1, np.nan, 0.4, np.nan]))
    np.testing.assert_array_equal(trace(sure, "b1").error_x.array, rows["b1_se"])
    low, high = sure.layout.xaxis2.range
    assert low < 15 - 6
    assert high > 15 + 6
    for name in ("b1", "score"):
        assert trace(sure, name).marker.color[3] == LIGHT.accent
        assert trace(luck, name).marker.color[3] != LIGHT.accent
        assert trace(luck, name).marker.color[:3] == trace(sure, name).marker.color[:3]
    assert trace(sure, "score").marker.pattern.shape[3] == ""
    assert trace(luck, "score").marker.pattern.shape[3] == "x"
    cells = trace(luck, "cells").hovertext[3]
    assert "15 ± 6 loops" in cells
    assert "chosen by 40.0 % of other draws of images" in cells
