"""Help texts have at most two sentences, with a list below them where there is one."""

from __future__ import annotations

import re

import pytest

import app.cache
from tests.app.pages import opened
from tests.run_factories import finished_run, run_options

pytestmark = pytest.mark.usefixtures("home")
KINDS = ("markdown", "caption", "metric", "button", "number_input", "multiselect", "selectbox",
         "toggle", "button_group", "slider")  # fmt: skip


@pytest.mark.parametrize("view", ["compare", "finetune", "runs", "grid"])
def test_help_has_at_most_two_sentences(view: str) -> None:
    run = finished_run(app.cache.run_queue().store, run_options("adabet"))
    page = opened(view, runs=run.id)
    assert not page.exception
    elements = [element for kind in KINDS for element in page.main.get(kind)]
    texts = {element.proto.help for element in elements} - {""}
    assert len(texts) > 4
    for text in texts:
        assert len(re.findall(r"[.!?](?=\s|$)", text.split("\n")[0])) <= 2, text
