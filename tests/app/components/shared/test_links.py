"""Numbers in links that no page can use."""

from __future__ import annotations

import pytest

from app.components.shared.links import NUMBERS
from tests.app.pages import opened

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    ("view", "link"),
    [
        ("explore", {"seed": "inf", "samples": "1e400", "input_side": "-inf", "subset": "inf"}),
        ("finetune", {"epochs": "inf", "train_batch": "inf", "seeds": "inf", "momentum": "nan"}),
        ("grid", {"grid_seeds": "inf", "grid_epochs": "-inf", "grid_images": "1e999"}),
    ],
)
def test_an_infinite_number_is_replaced_with_a_note(view: str, link: dict[str, str]) -> None:
    page = opened(view, **link)
    assert not page.exception
    notes = [toast.value for toast in page.toast]
    for name, value in link.items():
        assert any(f"{name} = " in note and value.strip("-") in note for note in notes), name
        assert name not in page.query_params
    assert not page.run().toast


@pytest.mark.parametrize("view", ["explore", "finetune", "grid"])
def test_every_input_of_a_number_is_known(view: str) -> None:
    page = opened(view, shift="noise", summary="loops", grid_datasets="digits+noise")
    keys = {item.key for item in (*page.number_input, *page.slider)}
    assert keys
    assert keys <= set(NUMBERS)
