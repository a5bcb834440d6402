"""The points of the first step, as a link carries them."""

from __future__ import annotations

import pytest

from app.cache.learn import ring
from app.components.learn.loop import link_text, linked_points


def test_points_come_back_from_a_link() -> None:
    points = ring(3)
    back = linked_points(link_text(points))
    assert back is not None
    assert [x for point in back for x in point] == pytest.approx(
        [x for point in points for x in point], abs=0.005
    )
    assert linked_points(link_text(())) == ()


@pytest.mark.parametrize(
    "text", ["1", "1,2,3", "a,b", "nan,0", "inf,0", "0,9", "0,0;" * 61, "1,0;0", "1;0,1"]
)
def test_a_link_without_points_that_can_be_drawn_has_none(text: str) -> None:
    assert linked_points(text) is None
