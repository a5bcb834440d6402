"""Which cells of a grid have a run, what state it is in, and how long the others may take."""

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

    A run that is done counts before one on its way, and that before one that failed or was
    stopped; of equals the newest does. What was done with other weights or data counts for none.
    """
    wanted = {cell.deciding(): cell for cell in cells}
    fingerprints = _Fingerprints()
    found: dict[RunOptions, Run] = {}
    for run in runs:
        cell = wanted.get(run.options.deciding())
        if cell is None or (run.state == "done" and run.fingerprints != fingerprints.of(cell)):
            continue
        if cell not in found or _worth(run) > _worth(found[cell]):
            found[cell] = run
    return found


@dataclass(frozen=True)
class TimeLeft:
    """How long cells may take, judged by runs that are done."""

    seconds: float  # of the cells that can be judged, one after the other
    unknown: int  # cells of which nothing alike has been done


def time_left(cells: Iterable[RunOptions], runs: Sequence[Run]) -> TimeLeft:
    """Judge each cell by runs of its model, best of its strategy too, and on its own dataset.

    The time of training is taken to grow with epochs × images; that of getting ready is not.
    """
    rates: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for run in runs:
        if run.result is None or run.started is None or run.ended is None:
            continue
        ready = max(0.0, run.ended - run.started - run.result.seconds)
        for key in _alike(run.options):
            rates.setdefault(key, []).append((ready, run.result.seconds / _images(run.options)))
    seconds, unknown = 0.0, 0
    for cell in cells:
        known = next((rates[key] for key in _alike(cell) if key in rates), None)
        if known is None:
            unknown += 1
        else:
            seconds += median(ready for ready, _ in known)
            seconds += _images(cell) * median(rate for _, rate in known)
    return TimeLeft(seconds, unknown)


def states(cells: Iterable[RunOptions], found: Mapping[RunOptions, Run]) -> dict[str, int]:
    """How many cells are in each state; those without a run are "missing"."""
    counts: dict[str, int] = {}
    for cell in cells:
        state = found[cell].state if cell in found else "missing"
        counts[state] = counts.get(state, 0) + 1
    return counts


def _alike(options: RunOptions) -> tuple[tuple[str, ...], ...]:
    model, strategy = options.analysis.model, options.strategy
    return (model, strategy, options.analysis.dataset), (model, strategy), (model,)


def _images(options: RunOptions) -> int:
    return options.recipe.epochs * options.train_samples


def _worth(run: Run) -> tuple[int, int]:
    return _WORTH.get(run.state, 0), run.number


class _Fingerprints:
    """What tells the weights and data of cells from any others, each looked up once."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str, int], str] = {}
        self._data: dict[str, str] = {}

    def of(self, cell: RunOptions) -> dict[str, str] | None:
        """As a run keeps them; None if they cannot be told."""
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
