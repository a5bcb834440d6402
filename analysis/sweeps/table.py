"""The results of a grid: one row per model and dataset, one column per strategy.

Measured, predicted and claimed numbers stay apart, and each is labelled.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from analysis.options import RunOptions
from analysis.runs.records import Run
from analysis.selection.export import run_settings
from analysis.selection.strategies import ALL_STRATEGIES
from analysis.sweeps.grid import DataChoice
from analysis.sweeps.paper_claims import MEMORY_MODEL, PaperClaim, average_claims, claim_for
from analysis.text import megabytes, signed
from analysis.version import __version__


@dataclass(frozen=True)
class Cell:
    """One strategy on one pair, over the seeds that are done."""

    accuracies: Mapping[int, float]  # of the test split, by seed
    peak: float  # bytes, measured: the largest over the seeds; NaN if none was sampled
    predicted: float  # bytes, also the largest; NaN if there is no prediction
    seconds: float  # choosing the layers, training and validation; mean over the seeds

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return mean(self.accuracies.values())

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 for one seed."""
        return stdev(self.accuracies.values()) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Row:
    """One model on one dataset."""

    model: str
    data: DataChoice
    cells: Mapping[str, Cell]  # by strategy, of those with a done run

    @property
    def claim(self) -> PaperClaim | None:
        """The paper's claim about AdaBet here."""
        if self.data.shift != "none":
            return None
        return claim_for(self.model, self.data.dataset)

    @property
    def saving(self) -> float:
        """Peak memory that AdaBet saves against full training, measured, per cent; or NaN."""
        ours, full = self.cells.get("adabet"), self.cells.get("full")
        return math.nan if ours is None or full is None else 100 * (1 - ours.peak / full.peak)


def rows_of(cells: Iterable[RunOptions], runs: Mapping[RunOptions, Run]) -> list[Row]:
    """One row for every pair of a grid, in its order.

    Parameters
    ----------
    cells : iterable of RunOptions
    runs : mapping of RunOptions to Run
        From `progress.runs_of`.
    """
    pairs: dict[tuple[str, DataChoice], dict[str, list[Run]]] = {}
    for cell in cells:
        pair = cell.analysis.model, DataChoice.of_options(cell.analysis)
        done = pairs.setdefault(pair, {})
        run = runs.get(cell)
        if run is not None and run.result is not None:
            done.setdefault(cell.strategy, []).append(run)
    return [
        Row(model, data, {strategy: _cell(seeds) for strategy, seeds in done.items()})
        for (model, data), done in pairs.items()
    ]


@dataclass(frozen=True)
class Number:
    """A number that the table can show."""

    title: str
    help: str
    heading: str  # of a table of `text`s
    text: Callable[[Cell], str]


def _accuracy_text(cell: Cell) -> str:
    return f"{100 * cell.accuracy:.1f}"


def _memory_text(cell: Cell) -> str:
    if math.isnan(cell.peak):
        return "–"
    predicted = "" if math.isnan(cell.predicted) else f" ({megabytes(cell.predicted)})"
    return megabytes(cell.peak) + predicted


def _seconds_text(cell: Cell) -> str:
    return f"{cell.seconds:.1f}" if cell.seconds < 100 else f"{cell.seconds:.0f}"


NUMBERS = {
    "accuracy": Number(
        "Test accuracy (%)",
        "Share of the test images that the last weights classify correctly; mean over the seeds.",
        "Test accuracy (%)",
        _accuracy_text,
    ),
    "peak memory": Number(
        "Peak memory (MB)",
        "The most memory that tensors take in a training step: measured, and predicted in advance.",
        "Peak memory (MB): measured (predicted)",
        _memory_text,
    ),
    "time": Number(
        "Time (s)",
        "Choosing the layers, training and validation; mean over the seeds.",
        "Time (s)",
        _seconds_text,
    ),
}


def markdown(rows: Sequence[Row], strategies: Sequence[str], seeds: int) -> str:
    """One table per number, with the paper's claims where there are any.

    A cell with fewer than `seeds` done seeds says so.
    """
    parts = []
    for name, number in NUMBERS.items():
        claims = name == "peak memory" and any(row.claim for row in rows)
        head = ["Model", "Dataset", *(ALL_STRATEGIES[strategy].title for strategy in strategies)]
        if claims:
            head += ["AdaBet against full, measured", f"claim of the paper ({MEMORY_MODEL})"]
        body = []
        for row in rows:
            line = [row.model, str(row.data)]
            line += [_text(number, row.cells.get(strategy), seeds) for strategy in strategies]
            if claims:
                line += ["–" if math.isnan(row.saving) else f"{signed(-row.saving)} %"]
                line += [row.claim.short if row.claim else ""]
            body.append(line)
        rule = ["---", "---", *["---:"] * (len(head) - 2)]
        lines = [f"| {' | '.join(line)} |" for line in (head, rule, *body)]
        parts.append("\n".join([f"**{number.heading}**", "", *lines]))
    claimed = average_claims((row.model, row.data.dataset) for row in rows)
    if claimed:
        parts.append(f"The paper claims {'; '.join(claimed)}.")
    return "\n\n".join(parts) + "\n"


def _text(number: Number, cell: Cell | None, seeds: int) -> str:
    if cell is None:
        return "–"
    done = len(cell.accuracies)
    return number.text(cell) + (f" ({done} of {seeds} seeds)" if done < seeds else "")


def records(
    cells: Iterable[RunOptions], runs: Mapping[RunOptions, Run]
) -> list[dict[str, str | int | float | None]]:
    """One record per cell, with units in the names; None where there is no number yet.

    Each has every setting; None for one that plays no part.
    """
    lines = []
    for cell in cells:
        run, analysis = runs.get(cell), cell.analysis
        result, selection = (run.result, run.selection) if run else (None, None)
        peak = result.peak_memory if result else None
        predicted = selection.predicted if selection else None
        shifted = analysis.shift != "none"
        claim = None if shifted else claim_for(analysis.model, analysis.dataset)
        line = {
            "model": analysis.model,
            "dataset": analysis.dataset,
            "shift": analysis.shift,
            "severity": analysis.severity if shifted else None,
            "strategy": cell.strategy,
            "seed": cell.recipe.seed,
            "rho": cell.rho,
            "epochs": cell.recipe.epochs,
            "train_samples": cell.train_samples,
            "state": run.state if run else "missing",
            "error": run.error if run else "",
            "test_accuracy": result.test_accuracy if result else None,
            "measured_peak_bytes": peak.total if peak else None,
            "predicted_peak_bytes": predicted.total if predicted else None,
            "selection_seconds": selection.seconds if selection else None,
            "training_seconds": result.seconds if result else None,
            "claimed_saving_percent": claim.saving if claim and cell.strategy == "adabet" else None,
            "run": run.id if run else None,
        }
        version = run.versions.get("bettiscope", __version__) if run else __version__
        settings = run_settings(cell, version)
        lines.append(line | {name: v for name, v in settings.items() if name not in line})
    names = dict.fromkeys(name for line in lines for name in line)
    return [{name: line.get(name) for name in names} for line in lines]


def as_csv(cells: Iterable[RunOptions], runs: Mapping[RunOptions, Run]) -> str:
    """`records`, as CSV."""
    text, lines = io.StringIO(), records(cells, runs)
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _cell(runs: Sequence[Run]) -> Cell:
    peaks, predicted, seconds, accuracies = [], [], [], {}
    for run in runs:
        assert run.result is not None, "all of them are done"
        accuracies[run.options.recipe.seed] = run.result.test_accuracy
        seconds.append(run.result.seconds + (run.selection.seconds if run.selection else 0.0))
        if run.result.peak_memory is not None:
            peaks.append(run.result.peak_memory.total)
        if run.selection is not None and run.selection.predicted is not None:
            predicted.append(run.selection.predicted.total)
    return Cell(
        accuracies,
        max(peaks, default=math.nan),
        max(predicted, default=math.nan),
        mean(seconds),
    )
