"""Values in a link that a control does not take: replaced, named once, and out of the link."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.pages import button, opened, settled

pytestmark = pytest.mark.usefixtures("home")


def notes(page: AppTest) -> str:
    return "\n".join(toast.value for toast in page.toast)


def test_what_a_control_does_not_take_is_named_and_leaves_the_link() -> None:
    page = opened(
        rho="7", severity="99", shift="noise", seed="x", normalization="bogus", model="nonsense",
        samples="64", preset="released",
    )  # fmt: skip
    assert not page.exception
    said = notes(page)
    for name, gone, used in (
        ("rho", "7", "0.1"),
        ("severity", "99", "3"),
        ("seed", "x", "0"),
        ("normalization", "bogus", "activation"),
        ("model", "nonsense", "pocket-resnet20"),
    ):
        assert f"{name} = `{gone}`, which is not possible here. `{used}` is used" in said
        assert name not in page.query_params
    assert len(page.toast) == 5
    for kept in ("shift", "samples", "preset"):
        assert kept in page.query_params
    page.run()
    assert not page.toast


def test_what_a_control_takes_or_already_shows_is_not_named() -> None:
    page = opened(
        rho="0.10", seed="7", samples="40.0", weights="pretrained", dataset="digits", eps="knee",
        large="TRUE", memory="0.5", summary="entropy",
    )  # fmt: skip
    assert notes(page) == ""
    assert page.number_input(key="seed").value == 7


def test_what_another_page_takes_is_read_there() -> None:
    page = opened(strategies=["adabet", "nothing-like-it"], epochs="100000", learning_rate="x")
    assert notes(page) == ""
    page.switch_page("views/finetune.py").run()
    assert not page.exception
    said = notes(page)
    assert "strategies = `nothing-like-it`" in said
    assert "epochs = `100000`" in said
    assert "learning_rate = `x`, which is not possible here. The usual value is used." in said
    assert len(page.toast) == 3


def test_a_value_is_shown_letter_by_letter() -> None:
    page = opened(colour="<b>`x`", subset="999")
    settled(page, lambda page: page.toast)
    assert "colour = `` <b>`x` ``, which is not possible here. `cluster` is used" in notes(page)
    assert "subset = `999`, which is not possible here. `1` is used" in notes(page)


def test_an_unknown_model_of_a_link_is_not_analysed_instead_of_another() -> None:
    page = opened(model="RESNET9000")
    assert page.selectbox(key="model").value == "pocket-resnet20"
    assert not page.error
    assert button(page, "Analyse").disabled is False
