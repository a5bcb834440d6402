"""Which stored analyses the page shows at once, and which a job looks at first."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.pages import PATIENCE


def _page(model: str, with_format: bool) -> None:
    from dataclasses import replace
    from unittest.mock import patch

    import streamlit as st

    from analysis.options import AnalysisOptions
    from analysis.results import InputFormat
    from app.components.shared import obtain
    from app.state import session
    from tests.factories import blobs, layer, report

    known = InputFormat(3, 40, 40, (50, 50), (0.5,), (0.2,)) if with_format else None
    stored = replace(report(layer("head", blobs(8))), input_format=known, stored=True)
    with patch.object(obtain, "load_analysis", lambda _: stored):
        obtain._find(AnalysisOptions(model=model), "key")
    st.write("nothing" if session().analysis.shown is None else "shown")


@pytest.mark.parametrize(
    ("model", "with_format", "answer"),
    [
        (
            "timm/tiny_net",
            False,
            "nothing",
        ),  # by an older version, which cropped
        ("timm/tiny_net", True, "shown"),
        ("pocket-vgg", False, "shown"),
    ],
)
def test_a_file_that_does_not_say_how_timm_s_images_were_prepared_is_left_to_a_job(
    model: str, with_format: bool, answer: str
) -> None:
    page = AppTest.from_function(_page, args=(model, with_format)).run(timeout=PATIENCE)
    assert not page.exception
    assert page.markdown[0].value == answer
