"""A part that waits asks for the whole page once, when what it waits for has come."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

PAGE = """
import streamlit as st
from app.components.shared.polling import poll_until

state = st.session_state
state.setdefault("pages", 0)
state.pages += 1

def draw():
    state.setdefault("answers", [False, {at_second_look}])
    if state.answers.pop(0) if state.answers else False:
        return True
    st.caption("waiting")
    return False

poll_until(draw, pending=True, every=0.3)
st.button("Look again")
"""


@pytest.mark.parametrize(("at_second_look", "pages"), [(False, 2), (True, 3)])
def test_the_page_is_drawn_again_when_the_wait_is_over(at_second_look: bool, pages: int) -> None:
    page = AppTest.from_string(PAGE.format(at_second_look=at_second_look)).run()
    assert [caption.value for caption in page.caption] == ["waiting"]
    page.button[0].click().run()
    assert not page.exception
    assert page.session_state.pages == pages


def test_no_part_can_overwrite_its_neighbour() -> None:
    """Streamlit may send a fragment's place late; then the fragment takes that of the next one."""
    page = AppTest.from_string(PAGE.format(at_second_look=False)).run()
    place, after = page.main.children.values()
    assert after.type == "button"
    assert [part.type for part in place.children.values()] == ["flex_container"]
    assert [part.type for part in place.children[0].children.values()] == ["caption"]
