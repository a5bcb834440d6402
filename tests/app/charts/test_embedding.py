"""The embedding: every image once, in the colour of its group."""

from __future__ import annotations

import numpy as np
import pytest

from app.charts.embedding import embedding_figure
from app.theme import PALETTES

LIGHT = PALETTES["light"]
POINTS = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
GROUPS = ["noise", "cluster 10", "cluster 2", "cluster 10"]
TEXTS = ["a", "b", "c", "d"]


def test_groups_are_traces_in_natural_order_with_grey_noise_last():
    figure = embedding_figure(POINTS, groups=GROUPS, texts=TEXTS, palette=LIGHT)
    assert [t.name for t in figure.data] == ["cluster 2", "cluster 10", "noise"]
    assert [t.marker.color for t in figure.data] == [*LIGHT.clusters[:2], LIGHT.noise]
    assert figure.layout.showlegend


def test_noise_is_last_even_after_names_that_follow_it_in_the_alphabet():
    figure = embedding_figure(
        POINTS, groups=["noise", "sandal", "noise", "bag"], texts=TEXTS, palette=LIGHT
    )
    assert [t.name for t in figure.data] == ["bag", "sandal", "noise"]


def test_each_image_keeps_its_place_its_text_and_its_number():
    figure = embedding_figure(POINTS, groups=GROUPS, texts=TEXTS, palette=LIGHT)
    seen = {
        number: (x, y, text)
        for t in figure.data
        for (number,), x, y, text in zip(t.customdata, t.x, t.y, t.hovertext, strict=True)
    }
    assert seen == {i: (*POINTS[i], TEXTS[i]) for i in range(4)}


def test_labels_replace_dots():
    figure = embedding_figure(
        POINTS, groups=GROUPS, texts=TEXTS, labels=["3", "5", "8", "9"], palette=LIGHT
    )
    assert [(t.mode, list(t.text)) for t in figure.data if t.customdata is not None] == [
        ("text", ["8"]),
        ("text", ["5", "9"]),
        ("text", ["3"]),
    ]
    legend = [(t.name, t.mode) for t in figure.data if t.showlegend is not False]
    assert legend == [(name, "markers") for name in ("cluster 2", "cluster 10", "noise")]
    dots = embedding_figure(POINTS, groups=GROUPS, texts=TEXTS, palette=LIGHT)
    assert {t.mode for t in dots.data} == {"markers"}
    assert len(dots.data) == 3


def test_more_groups_than_colours_differ_by_symbol():
    count = len(LIGHT.clusters) + 2
    names = [f"{i}" for i in range(count)]
    figure = embedding_figure(np.zeros((count, 2)), groups=names, texts=names, palette=LIGHT)
    looks = {(t.marker.color, t.marker.symbol) for t in figure.data}
    assert len(looks) == count


def test_both_axes_have_one_scale_and_no_numbers():
    layout = embedding_figure(POINTS, groups=["x"] * 4, texts=TEXTS, palette=LIGHT).layout
    assert (layout.yaxis.scaleanchor, layout.yaxis.scaleratio) == ("x", 1)
    assert not layout.xaxis.showticklabels
    assert not layout.yaxis.showticklabels
    assert "no unit" in layout.xaxis.title.text
    assert not layout.showlegend


@pytest.mark.parametrize("name", ["groups", "texts", "labels"])
def test_lists_of_the_wrong_length_are_named(name):
    options = {"groups": GROUPS, "texts": TEXTS, "labels": TEXTS, name: ["one"]}
    with pytest.raises(ValueError, match=f"`{name}` must have 4 entries, got 1"):
        embedding_figure(POINTS, **options, palette=LIGHT)
