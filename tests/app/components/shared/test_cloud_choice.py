"""The batch that live views show: one choice, wherever it is drawn, and in the link."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from tests.app.pages import PATIENCE


def _page(pooling: str) -> None:
    from dataclasses import replace

    import numpy as np
    import streamlit as st

    from analysis.options import AnalysisOptions
    from app.components.shared.cloud_choice import chosen_cloud, cloud_name, render_batch
    from app.state import Shown
    from tests.factories import circle, layer, report

    clouds = np.arange(20).reshape(5, 4)
    measured = replace(report(layer("l", circle(20))), pooling=pooling, clouds=clouds)
    shown = Shown(AnalysisOptions(), measured, "key")
    render_batch(shown, "tour")
    render_batch(shown, "pins")
    st.text(f"{chosen_cloud(shown)} {cloud_name('live', shown)}")


def drawn(pooling: str = "per-batch", **link: str) -> AppTest:
    page = AppTest.from_function(_page, args=(pooling,))
    for name, value in link.items():
        page.query_params[name] = value
    page.run(timeout=PATIENCE)
    assert not page.exception
    return page


def test_a_batch_chosen_at_one_place_is_shown_at_all() -> None:
    page = drawn()
    assert page.text[0].value == "0 live-1"
    assert [each.label for each in page.number_input] == ["Batch, of 5"] * 2
    page.number_input(key="batch_pins").set_value(4).run()
    assert not page.exception
    assert page.text[0].value == "3 live-4"
    assert [each.value for each in page.number_input] == [4, 4]
    assert page.query_params["batch"] == "4"
    page.number_input(key="batch_tour").set_value(1).run()
    assert page.text[0].value == "0 live-1"
    assert "batch" not in page.query_params


def test_a_link_opens_a_batch_that_there_is() -> None:
    assert drawn(batch="3").text[0].value == "2 live-3"
    for wrong in ("6", "0", "x"):
        page = drawn(batch=wrong)
        assert page.text[0].value == "0 live-1"
        assert "batch" not in page.query_params
    assert not drawn("subsets", batch="3").number_input
