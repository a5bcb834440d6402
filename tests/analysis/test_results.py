"""The sentences of a report."""

from __future__ import annotations

from analysis.results import TopologyReport


def test_missing_layers_are_reported() -> None:
    report = TopologyReport(
        layers=(), samples=8, batch_size=8, pooling="all", min_persistence=0.0, seed=0,
        seconds=0.0, peak_bytes=0, never_run=("unused", "fc2"), outside=("", "mlp"),
    )  # fmt: skip
    assert report.warnings() == [
        "Not analysed because the model did not run them: unused, fc2.",
        "Not analysed because their output is not one point per image: (model), mlp.",
    ]
