"""A grid becomes cells in a sensible order, and reports all its problems at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.datasets import dataset_spec
from analysis.errors import OptionError
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.sweeps.grid import GRIDS, PAPER_GRID, POCKET_GRID, DataChoice, Grid

SMALL = Grid(
    "small",
    ("pocket-vgg", "pocket-vit"),
    (DataChoice("digits"), DataChoice("fashion", "noise", 5)),
    ("full", "head"),
    (3, 1),
    RunOptions(rho=0.3, train_samples=40, recipe=Recipe(epochs=2)),
)


@pytest.mark.parametrize("text", ["digits", "digits+rotation:3", "folder:/a+b/c", "cub+blur:5"])
def test_a_data_choice_is_read_as_it_is_written(text: str) -> None:
    assert str(DataChoice.of(text)) == text


def test_a_known_shift_is_not_part_of_the_name() -> None:
    assert DataChoice.of(" digits+noise:5 ") == DataChoice("digits", "noise", 5)
    assert DataChoice.of("digits+noise").severity == AnalysisOptions().severity
    assert DataChoice.of("digits+none:4") == DataChoice("digits")
    assert DataChoice.of("folder:/pictures+more") == DataChoice("folder:/pictures+more")
    assert DataChoice.of("digits+tilt:3") == DataChoice("digits+tilt:3")


def test_the_cells_are_the_product_with_one_seed_after_the_other() -> None:
    cells = SMALL.cells()
    order = [
        (
            cell.recipe.seed,
            DataChoice.of_options(cell.analysis),
            cell.analysis.model,
            cell.strategy,
        )
        for cell in cells
    ]
    assert order == list(product(SMALL.seeds, SMALL.datasets, SMALL.models, SMALL.strategies))
    assert all(cell.analysis.seed == cell.recipe.seed for cell in cells)
    assert {(cell.rho, cell.train_samples, cell.recipe.epochs) for cell in cells} == {(0.3, 40, 2)}


def test_a_cell_named_twice_runs_once() -> None:
    twice = replace(SMALL, models=("pocket-vgg", "pocket-vgg"), seeds=(0, 0))
    assert len(twice.cells()) == 2 * 2


def test_a_smaller_split_is_used_whole_with_a_note() -> None:
    most = dataset_spec("digits").sizes["train"]
    grid = replace(SMALL, base=replace(SMALL.base, train_samples=most + 1))
    sizes = {(cell.analysis.dataset, cell.train_samples) for cell in grid.cells()}
    assert sizes == {("digits", most), ("fashion", most + 1)}
    (note,) = grid.notes()
    assert "digits has 1,078 images" in note
    assert SMALL.notes() == []


def test_few_images_are_all_analysed(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for index in range(10):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / kind / f"{index}.png")
    few = f"folder:{tmp_path}"
    cells = replace(SMALL, datasets=(DataChoice(few), DataChoice("digits"))).cells()
    most = dataset_spec(few).sizes["train"]
    sizes = {(cell.analysis.dataset, cell.analysis.samples) for cell in cells}
    assert sizes == {(few, most), ("digits", 160)}
    assert most < 20


def test_all_problems_are_reported_at_once() -> None:
    wrong = Grid(
        " ", ("resnet5000",), (DataChoice("ditigs"), DataChoice("digits", "tilt", 9)), ("best",),
        (-1,), RunOptions(normalization="volume", summary="b7"),
    )  # fmt: skip
    with pytest.raises(OptionError) as error:
        wrong.cells()
    for part in ("resnet5000", "ditigs", "tilt", "got 9", "best", "got -1", "volume", "b7"):
        assert part in str(error.value), part
    assert "`name` must not be empty" in str(error.value)


@pytest.mark.parametrize("parameter", ["models", "datasets", "strategies", "seeds"])
def test_a_grid_without_any_cell_says_what_is_missing(parameter: str) -> None:
    with pytest.raises(OptionError, match=f"`{parameter}` must name at least one"):
        replace(SMALL, **{parameter: ()}).cells()


def test_unknown_weights_are_a_problem() -> None:
    analysis = AnalysisOptions(weights="learned")
    with pytest.raises(OptionError, match="learned"):
        replace(SMALL, base=replace(SMALL.base, analysis=analysis)).cells()


def test_images_without_labels_are_a_problem(tmp_path: Path) -> None:
    for index in range(5):
        pixels = np.full((8, 8, 3), 40 * index, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    grid = replace(SMALL, datasets=(DataChoice(f"folder:{tmp_path}"),))
    with pytest.raises(OptionError, match="cannot be trained on"):
        grid.cells()


def test_the_pocket_grid_needs_no_network() -> None:
    cells = POCKET_GRID.cells()
    assert len(cells) == len(set(cells)) == 4 * 4 * 5
    assert {cell.analysis.dataset for cell in cells} == {"digits", "fashion"}
    assert all(cell.analysis.model.startswith("pocket-") for cell in cells)
    shifted = {cell.analysis.shift for cell in cells if cell.analysis.dataset == "digits"}
    assert len(shifted) == 3
    assert POCKET_GRID.notes() == []


def test_the_papers_grid_is_its_sixteen_pairs() -> None:
    cells = PAPER_GRID.cells()
    pairs = {(cell.analysis.model, cell.analysis.dataset) for cell in cells}
    assert pairs == set(
        product(
            ("resnet50", "vgg16", "mobilenet_v2", "vit_b_16"), ("dogs", "pets", "cub", "flowers")
        )
    )
    whole = {cell.analysis.dataset: cell.train_samples for cell in cells}
    assert whole == {name: dataset_spec(name).sizes["train"] for name in whole}
    assert {"adabet", "full", "head"} <= {cell.strategy for cell in cells}


def test_grids_are_found_by_name() -> None:
    assert {name: grid.name for name, grid in GRIDS.items()} == {
        "pocket": "pocket",
        "paper": "paper",
    }
