"""The results of a grid as tables, records and a sentence."""

from __future__ import annotations

import csv
import io
import itertools
import math
from dataclasses import replace

import pytest

from analysis.options import RunOptions
from analysis.runs.records import Run
from analysis.runs.store import RunStore
from analysis.sweeps.duels import duels, sign_test, verdict
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.progress import runs_of
from analysis.sweeps.table import as_csv, markdown, records, rows_of
from analysis.text import megabytes
from tests.grid_factories import PREDICTED, keep_cell

GRID = Grid(
    "g",
    ("pocket-vgg", "resnet50"),
    (DataChoice("pets"), DataChoice("pets", "noise", 2)),
    ("adabet", "size", "random", "full"),
    (0, 1),
    RunOptions(train_samples=40),
)
CELLS = GRID.cells()
GAINS = {("pocket-vgg", "none"): 0.1, ("resnet50", "none"): 0.2, ("pocket-vgg", "noise"): -0.1}


def accuracy(cell: RunOptions) -> float:
    """AdaBet is ahead of size alone by `GAINS`, and as good as random."""
    gain = GAINS.get((cell.analysis.model, cell.analysis.shift), 0.0)
    seed = 0.02 * cell.recipe.seed
    return seed + {"adabet": 0.5, "random": 0.5, "full": 0.7, "size": 0.5 - gain}[cell.strategy]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[RunOptions, Run]:
    store = RunStore(tmp_path_factory.mktemp("runs") / "runs.sqlite")
    for cell in CELLS:
        peak = 10_000_000 if cell.strategy == "full" else 4_000_000 + 1_000_000 * cell.recipe.seed
        keep_cell(
            store, cell, accuracy=accuracy(cell), peak=peak, seconds=4.0 + 2 * cell.recipe.seed
        )
    return runs_of(CELLS, store.runs())


def test_a_row_sums_the_seeds_up(runs: dict[RunOptions, Run]) -> None:
    rows = rows_of(CELLS, runs)
    assert [(row.model, str(row.data)) for row in rows] == [
        ("pocket-vgg", "pets"), ("resnet50", "pets"),
        ("pocket-vgg", "pets+noise:2"), ("resnet50", "pets+noise:2"),
    ]  # fmt: skip
    cell = rows[1].cells["size"]
    assert cell.accuracies == pytest.approx({0: 0.3, 1: 0.32})
    assert cell.accuracy == pytest.approx(0.31)
    assert cell.spread == pytest.approx(0.02 / math.sqrt(2))
    assert (cell.peak, cell.predicted) == (5_000_000, PREDICTED * 5_000_000)
    assert cell.seconds == pytest.approx(5.5)  # half a second of it chose the layers


def test_measured_savings_and_claims_look_different(runs: dict[RunOptions, Run]) -> None:
    rows = {(row.model, row.data.shift): row for row in rows_of(CELLS, runs)}
    assert rows["resnet50", "none"].saving == pytest.approx(50.0)
    assert rows["resnet50", "none"].claim is not None
    assert rows["resnet50", "noise"].claim is None
    assert rows["pocket-vgg", "none"].claim is None


def test_without_full_training_there_is_no_saving(runs: dict[RunOptions, Run]) -> None:
    part = {cell: run for cell, run in runs.items() if cell.strategy != "full"}
    assert all(math.isnan(row.saving) for row in rows_of(CELLS, part))


def test_duels_count_pairs_over_shared_seeds(runs: dict[RunOptions, Run]) -> None:
    random, size = duels(rows_of(CELLS, runs))
    assert (random.null, random.won, random.lost, random.even) == ("random", 0, 0, 4)
    assert (size.null, size.won, size.lost, size.even) == ("size", 2, 1, 1)
    assert (size.gain, size.seeds) == (pytest.approx(0.05), 2)
    # A seed that only AdaBet has done does not count.
    alone = {
        cell: run for cell, run in runs.items()
        if cell.strategy == "adabet" or (cell.strategy == "size" and cell.recipe.seed == 0)
    }  # fmt: skip
    (one,) = duels(rows_of(CELLS, alone))
    assert (one.pairs, one.gain, one.seeds) == (4, pytest.approx(0.05), 1)


@pytest.mark.parametrize(
    ("won", "lost", "chance"),
    [(0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (9, 1, 22 / 1024)],
)
def test_the_sign_test(won: int, lost: int, chance: float) -> None:
    assert sign_test(won, lost) == pytest.approx(chance)


def test_the_sign_test_doubles_the_tail_of_fair_coins() -> None:
    for won, lost in itertools.product(range(1, 17), repeat=2):
        coins = won + lost
        tail = sum(math.comb(coins, heads) for heads in range(max(won, lost), coins + 1))
        assert sign_test(won, lost) == pytest.approx(min(1.0, 2 * tail / 2**coins))


def test_the_sentence_claims_no_more_than_the_runs_show(runs: dict[RunOptions, Run]) -> None:
    results = duels(rows_of(CELLS, runs))
    text = verdict(results)
    assert "AdaBet beats random on 0 of 4 pairs (even on 4; +0.0 points" in text
    assert "size alone on 2 of 4 pairs (even on 1; +5.0 points on average; sign test p = 1)" in text
    assert "Means over at least 2 seeds." in text
    lost = [replace(duel, gain=-0.031) for duel in results]
    assert "; −3.1 points" in verdict(lost)
    assert "not evidence" not in verdict(lost)
    assert verdict([]) == ""


def test_seeds_that_are_not_done_do_not_count(
    runs: dict[RunOptions, Run],
) -> None:
    last = next(cell for cell in CELLS if cell.strategy == "size" and cell.recipe.seed == 1)
    rows = rows_of(CELLS, {cell: run for cell, run in runs.items() if cell != last})
    assert [duel.seeds for duel in duels(rows)] == [2, 1]
    assert verdict(duels(rows)).endswith("A pair with one seed is a hint, not evidence.")
    text = markdown(rows, GRID.strategies, seeds=2)
    assert "| pocket-vgg | pets | 51.0 | 40.0 (1 of 2 seeds) | 51.0 | 71.0 |" in text
    assert text.count("of 2 seeds") == 3


def test_the_markdown_has_a_table_for_each_number(runs: dict[RunOptions, Run]) -> None:
    text = markdown(rows_of(CELLS, runs), GRID.strategies, seeds=2)
    accuracies, memory, seconds = text.split("\n\n**")
    assert "| Model | Dataset | AdaBet | Size alone | Random | Full |" in accuracies
    assert "| resnet50 | pets | 51.0 | 31.0 | 51.0 | 71.0 |" in accuracies
    assert "| 5.0 (6.2) |" in memory
    assert memory.startswith("Peak memory (MB): measured (predicted)**")
    assert "claim of the paper (analytic model after TinyTL" in memory
    assert "| −50.0 % | −66.3 % |" in memory
    assert "claim" not in accuracies + seconds
    assert "| 5.5 | 5.5 | 5.5 | 5.5 |" in seconds
    widths = {line.count("|") for line in memory.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_missing_cell_is_a_dash() -> None:
    text = markdown(rows_of(CELLS, {}), GRID.strategies, seeds=2)
    assert "| resnet50 | pets | – | – | – | – |" in text


def test_there_is_a_record_for_every_cell(runs: dict[RunOptions, Run]) -> None:
    some = {cell: run for cell, run in runs.items() if cell.strategy == "adabet"}
    lines = records(CELLS, some)
    assert len(lines) == len(CELLS)
    first = lines[0]
    assert (first["model"], first["dataset"], first["strategy"]) == ("pocket-vgg", "pets", "adabet")
    assert (first["state"], first["test_accuracy"], first["severity"]) == ("done", 0.5, None)
    assert (first["measured_peak_bytes"], first["predicted_peak_bytes"]) == (4_000_000, 5_000_000)
    assert lines[1]["state"] == "missing"
    assert lines[1]["test_accuracy"] is None
    claims = [
        (line["model"], line["shift"], line["strategy"])
        for line in lines
        if line["claimed_saving_percent"]
    ]
    assert set(claims) == {("resnet50", "none", "adabet")}
    lines = list(csv.DictReader(io.StringIO(as_csv(CELLS, some))))
    assert [line["test_accuracy"] for line in lines[:2]] == ["0.5", ""]
    assert len(lines) == len(CELLS)


def test_megabytes_have_decimals_where_they_matter() -> None:
    assert [megabytes(size) for size in (40_000, 12_345_678, 1_234_567_890)] == [
        "0.0",
        "12.3",
        "1,235",
    ]
