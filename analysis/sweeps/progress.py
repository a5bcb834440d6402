"""Which cells of a grid have a run, in which state, and how long the others may take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from analysis.datasets import dataset_spec
from analysis.errors import AnalysisError
from analysis.models import weights_fingerprint
from analysis.options import RunOptions
from analysis.runs.records import Run

_WORTH = {"done": 3, "running": 2, "queued": 1}  # of several runs of one cell


def runs_of(cells: Iterable[RunOptions], runs: Iterable[Run]) -> dict[RunOptions, Run]:
    """The run that counts for each cell that has one.

    A done run counts before an active run, and an active run before one that failed or stopped;
    of equals, the newest counts. Done runs with other weights or data do not count.
    """
    wanted = {cell.deciding(): cell for cell in cells}
    fingerprints = _Fingerprints()
    best: dict[RunOptions, Run] = {}
    for run in runs:
        cell = wanted.get(run.options.deciding())
        if cell is None or (run.state == "done" and run.fingerprints != fingerprints.of(cell)):
            continue
        if cell not in best or _worth(run) > _worth(best[cell]):
            best[cell] = run
    return best


@dataclass(frozen=True)
class TimeLeft:
    """An estimate of how long cells take, from runs that are done."""

    seconds: float  # of the cells with an estimate, one after the other
    unknown: int  # cells without an estimate, since no similar run is done


def time_left(cells: Iterable[RunOptions], runs: Sequence[Run]) -> TimeLeft:
    """Estimate each cell from runs of its model, if possible of its strategy and dataset too.

    Training time grows with epochs × images; the time before training stays the same.
    """
    rates: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for run in runs:
        if run.result is None or run.started is None or run.ended is None:
            continue
        ready = max(0.0, run.ended - run.started - run.result.seconds)
        for key in _similar(run.options):
            rates.setdefault(key, []).append((ready, run.result.seconds / _images(run.options)))
    seconds, unknown = 0.0, 0
    for cell in cells:
        known = next((rates[key] for key in _similar(cell) if key in rates), None)
        if known is None:
            unknown += 1
        else:
            seconds += median(ready for ready, _ in known)
            seconds += _images(cell) * median(rate for _, rate in known)
    return TimeLeft(seconds, unknown)


def states(cells: Iterable[RunOptions], runs: Mapping[RunOptions, Run]) -> dict[str, int]:
    """How many cells are in each state; those without a run are "missing"."""
    counts: dict[str, int] = {}
    for cell in cells:
        state = runs[cell].state if cell in runs else "missing"
        counts[state] = counts.get(state, 0) + 1
    return counts


def _similar(options: RunOptions) -> tuple[tuple[str, ...], ...]:
    model, strategy = options.analysis.model, options.strategy
    return (model, strategy, options.analysis.dataset), (model, strategy), (model,)


def _images(options: RunOptions) -> int:
    return options.recipe.epochs * options.train_samples


def _worth(run: Run) -> tuple[int, int]:
    return _WORTH.get(run.state, 0), run.number


class _Fingerprints:
    """The fingerprints of the weights and data of cells, each computed once."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str, int], str] = {}
        self._data: dict[str, str] = {}

    def of(self, cell: RunOptions) -> dict[str, str] | None:
        """As a run stores them; None if they cannot be computed."""
        analysis = cell.analysis
        weights = analysis.model, analysis.weights, analysis.seed
        try:
            if weights not in self._weights:
                self._weights[weights] = weights_fingerprint(*weights)
            if analysis.dataset not in self._data:
                self._data[analysis.dataset] = dataset_spec(analysis.dataset).fingerprint()
        except AnalysisError:
            return None
        return {"model": self._weights[weights], "data": self._data[analysis.dataset]}
