"""Make a layer profile, from the list of the layers to the criteria."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.datasets import dataset_spec
from analysis.options import RunOptions
from analysis.progress import Progress, ProgressCallback
from analysis.runs.records import SWEPT, Run
from analysis.runs.store import RunStore
from analysis.sweeps.grid import Grid
from analysis.sweeps.judging import Judgement, chosen_sets, criteria_for, judge, set_grids
from analysis.sweeps.layer_profile import (
    NAME,
    SEEDS,
    LayerProfile,
    profile_grid,
    profile_of,
    with_seed,
)
from analysis.sweeps.profile_files import save_profile
from analysis.sweeps.progress import runs_of
from analysis.sweeps.sweep import missing_cells, run_cell

# Trains what is missing of some grids, for a purpose in words, and gives all their runs.
Train = Callable[[Sequence[Grid], str], Mapping[RunOptions, Run]]


@dataclass(frozen=True)
class ProfileRequest:
    """What a profile is of. What is trained already is not trained again."""

    options: RunOptions  # of `profile_options`
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    rho: float = RunOptions.rho
    criteria: bool = True  # whether to hold criteria against it


def make_profile(
    request: ProfileRequest, train: Train, report: Callable[[str], None]
) -> tuple[LayerProfile, Judgement | None]:
    """Train, judge and save; `report` is told what is done between trainings.

    Raises
    ------
    AnalysisError
        If a run did not finish, the network has no head, or the profile cannot be saved.
    """
    from analysis.training.scoring import ranked_layers  # slow to import

    options, seeds = request.options, request.seeds
    report("Reading the network")
    layers = ranked_layers(options).layers
    grid = profile_grid(options, [layer.name for layer in layers], seeds)
    profile = profile_of(
        options,
        layers,
        [math.prod(layer.shape) for layer in layers],
        seeds,
        train([grid], "Training each layer alone"),
        test_images=dataset_spec(options.analysis.dataset).sizes["test"],
    )
    judgement = _judge(profile, request, train, report) if request.criteria else None
    save_profile(profile, judgement)
    return profile, judgement


def _judge(
    profile: LayerProfile, request: ProfileRequest, train: Train, report: Callable[[str], None]
) -> Judgement:
    from analysis.training.scoring import criterion_scores

    criteria, names = criteria_for(profile.options), [layer.layer for layer in profile.layers]
    scores: dict[int, pd.DataFrame] = {}
    for seed in profile.seeds:
        report(f"Scoring the layers by {len(criteria)} criteria, seed {seed}")
        scores[seed] = criterion_scores(with_seed(profile.options, seed), criteria, names)
    sets = chosen_sets(profile, scores, request.rho)
    runs = train(set_grids(profile, sets), "Training the selected layers together")
    return judge(profile, scores, sets, runs, request.rho)


def answer_profile(request: ProfileRequest, send: ProgressCallback) -> bool:
    """Make a profile in this process, run by run; for a server's worker."""

    def train(grids: Sequence[Grid], what: str) -> Mapping[RunOptions, Run]:
        store = RunStore(patience=20)
        cells = list(dict.fromkeys(cell for grid in grids for cell in grid.cells()))
        missing = list(dict.fromkeys(cell for grid in grids for cell in missing_cells(grid, store)))
        for number, cell in enumerate(missing):
            names = " + ".join(cell.also_train) or "the head alone"
            send(Progress(what, f"{names}, seed {cell.recipe.seed}", number, len(missing)))
            store.keep(cell, run_cell(cell), group=SWEPT + NAME)
        return runs_of(cells, store.runs())

    make_profile(request, train, lambda what: send(Progress("Now", what, 0, 0)))
    return True
