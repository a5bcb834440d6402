"""The sentence of the decision, without a server: what it calls AdaBet's, and what not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from streamlit.testing.v1 import AppTest

from analysis.topology.layer_tests import LayerTests
from app.components.explore.sentences import errors_sentence
from tests.app.pages import PATIENCE
from tests.factories import blobs, layer, report


def _page(loops: tuple[int, ...]) -> None:
    from analysis.options import AnalysisOptions
    from analysis.selection.ranking import ranking
    from app.components.explore.overview import _render_decision
    from app.state import Choice, Shown
    from tests.factories import blobs, circle, layer, report

    clouds = {0: blobs(8, 1, dimensions=1), 1: circle(8)}
    layers = [layer(f"l{n}", clouds[b1], kind="LayerNorm") for n, b1 in enumerate(loops)]
    measured = report(*layers)
    choice = Choice(0.5, "activation", "recommended")
    shown = Shown(AnalysisOptions(), measured, f"{loops}")
    _render_decision(shown, ranking(measured, rho=0.5), choice)


def drawn(*loops: int) -> AppTest:
    page = AppTest.from_function(_page, args=(loops,)).run(timeout=PATIENCE)
    assert not page.exception
    return page


def test_what_the_order_alone_decides_is_not_called_a_selection() -> None:
    page = drawn(0, 0, 0, 0)
    assert not page.markdown
    (warning,) = page.warning
    assert "This is not AdaBet's selection" in warning.value
    assert warning.value.endswith("First to run: `l0`, `l1`.")


def test_a_selection_by_loops_is_named_with_its_ties() -> None:
    page = drawn(0, 1, 0, 0)
    assert not page.warning
    (text,) = page.markdown
    assert text.value == (
        "**Train** `l1`, `l0`. For the last place, 3 layers have no loop that counts: those that "
        "run first are taken."
    )


def test_few_clouds_are_named_where_error_bars_and_bands_rest_on_them() -> None:
    measured = report(replace(layer("one", blobs(40, 1)), b1_se=0.5))
    tests = LayerTests({}, asked=99, seed=0, groups=2, size=20)
    few, many = (
        replace(measured, pooling="subsets", clouds=np.zeros((count, 20), int))
        for count in (2, 100)
    )
    rough = "The error bars rest on only 2 subsets, so they may be far too short or too long."
    band = "The band behind b₁ rests on 2 subsets of 20 images, rotated up to 99 times."
    assert errors_sentence(few, None) == rough
    assert errors_sentence(few, tests) == f"{rough} {band}"
    assert errors_sentence(many, None) == errors_sentence(measured, tests) == ""
    assert errors_sentence(many, tests) == band
    assert "only 2 batches" in errors_sentence(replace(few, pooling="per-batch"), None)
    unknown = replace(few, layers=(layer("one", blobs(40, 1)),))  # overlapping subsets: no error
    assert errors_sentence(unknown, None) == ""
