"""Stands in for `analysis.topology.pipeline`. An analysis of vgg16 never ends, others end at once.

One of `TOO_MANY` images runs out of memory."""

from __future__ import annotations

import time

from analysis.options import AnalysisOptions
from analysis.progress import Progress, ProgressCallback
from analysis.results import TopologyReport

TOO_MANY = 4000  # as test_jobs.py asks for


def analyze_named(
    options: AnalysisOptions, *, key: str, progress: ProgressCallback
) -> TopologyReport:
    progress(Progress("Forward pass", "layer", 0, 20, 10))
    if options.samples == TOO_MANY:
        raise RuntimeError("MPS backend out of memory")
    while options.model == "vgg16":
        time.sleep(0.02)
    return TopologyReport(
        layers=(),
        samples=options.samples,
        batch_size=options.batch_size,
        pooling=options.pooling,
        min_persistence=0.0,
        seed=options.seed,
        seconds=0.0,
        peak_bytes=0,
    )
