"""Other draws of images: which they are, and that they are ordinary analyses."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.errors import OptionError
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.topology import pipeline
from analysis.topology.redraws import REDRAWS, RedrawRequest, make_redraws, redraws_of
from analysis.topology.store import fingerprint
from tests.factories import blobs, layer, report

OPTIONS = AnalysisOptions(samples=16, batch_size=8, pooling="pooled", shift="noise", severity=2)


def test_they_differ_by_their_seed_alone() -> None:
    draws = redraws_of(AnalysisOptions(seed=2**32 - 2, shift="noise"))
    assert [draw.seed for draw in draws] == [2**32 - 1, 0, 1, 2]
    assert {draw.shift for draw in draws} == {"noise"}


def test_each_is_an_ordinary_analysis_and_progress_is_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[AnalysisOptions] = []

    def analyze(options: AnalysisOptions, *, key: str, progress: Any) -> object:
        assert key == fingerprint(options)
        asked.append(options)
        progress(Progress("Forward pass", "conv1", 1, 4, layers=2))
        return report(layer("a", blobs(4)))

    monkeypatch.setattr(pipeline, "analyze_named", analyze)
    steps: list[Progress] = []
    made = make_redraws(RedrawRequest(OPTIONS), progress=steps.append)
    assert asked == redraws_of(OPTIONS)
    assert [answer.key for answer in made] == [fingerprint(draw) for draw in asked]
    assert [step.done / step.total for step in steps] == [
        (number + 0.25) / REDRAWS for number in range(REDRAWS)
    ]
    assert steps[1].layer == "draw 2 of 4, conv1"


def test_other_random_weights_are_no_other_draw() -> None:
    with pytest.raises(OptionError, match="other random weights"):
        make_redraws(RedrawRequest(AnalysisOptions(weights="random")))
