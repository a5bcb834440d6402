"""The form that says which grid is meant."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.datasets import DATASETS, SHIFTS, dataset_spec, needs_look, own_datasets
from analysis.errors import AnalysisError
from analysis.models import list_models
from analysis.options import PRESETS, WEIGHTS, AnalysisOptions, Recipe, RunOptions
from analysis.sweeps.grid import POCKET_GRID, DataChoice, Grid
from app.components.grid.matrix import with_shown_name
from app.components.shared.option_inputs import help_of, number_settings
from app.components.shared.strategy_choice import render_strategies
from app.components.shared.subject_names import dataset_name
from app.literal import sentence
from app.state import Choice

NAME = "page"  # of grids that are put together here
MOST_SEEDS = 10


def render_form(sidebar: AnalysisOptions, choice: Choice) -> Grid | None:
    """Draw the form; None, with the reason on the page, if what it says cannot run.

    Of what the sidebar analyses, only how it is computed is taken.
    """
    models = st.multiselect(
        "Models", list_models(), list(POCKET_GRID.models), key="grid_models", bind="query-params",
        help="Each model is trained on each dataset. Pocket models come with BettiScope; weights "
        "of other models are downloaded at first use.",
    )  # fmt: skip
    datasets = st.multiselect(
        "Datasets", data_options(), [_option(data) for data in POCKET_GRID.datasets],
        key="grid_datasets", bind="query-params",
        format_func=lambda text: _option(with_shown_name(DataChoice.of(text))),
        help="As they are, or with a shift: “digits+noise” has noise on every image, in training "
        "and in testing.",
    )  # fmt: skip
    strategies = render_strategies("grid_strategies", POCKET_GRID.strategies, "Each gets a column.")
    base, seeds, severity = _render_numbers(sidebar, choice)
    if base is None:
        return None
    chosen = [DataChoice.of(text) for text in datasets]
    grid = Grid(
        NAME,
        tuple(models),
        tuple(data if data.shift == "none" else replace(data, severity=severity)
              for data in chosen),
        tuple(strategies),
        tuple(range(seeds)),
        base,
    )  # fmt: skip
    problems = grid.problems()
    if problems:
        empty = [name for name in ("models", "datasets", "strategies") if not getattr(grid, name)]
        if empty:
            st.info(f"Choose {' and '.join(empty)} to see the table.")
        else:
            st.error(sentence("; ".join(problems)))
        return None
    for note in grid.notes(dataset_name):
        st.caption(sentence(note))
    return grid


def data_options() -> list[str]:
    """Every dataset that can be trained on, as it is and with each shift."""
    own = [name for name in own_datasets() if not needs_look(name)]
    usable = [name for name in (*DATASETS, *own) if not dataset_spec(name).why_untrainable]
    shifts = [shift for shift in SHIFTS if shift != "none"]
    return [
        dataset for name in usable for dataset in (name, *(f"{name}+{shift}" for shift in shifts))
    ]


def _option(data: DataChoice) -> str:
    return data.dataset if data.shift == "none" else f"{data.dataset}+{data.shift}"


def _render_numbers(sidebar: AnalysisOptions, choice: Choice) -> tuple[RunOptions | None, int, int]:
    """What all cells share; also the number of seeds and the severity of shifts."""
    default = POCKET_GRID.base
    with st.container(horizontal=True, key="grid_numbers"):
        seeds = st.number_input(
            "Seeds", 1, MOST_SEEDS, 1, key="grid_seeds", bind="query-params", width=110,
            help="How many times each cell runs, each time with other random choices. Use three "
            "or more to compare strategies.",
        )  # fmt: skip
        epochs = st.number_input(
            "Epochs", value=default.recipe.epochs, key="grid_epochs", bind="query-params",
            width=110, **number_settings(Recipe, "epochs"),
        )  # fmt: skip
        more = "If a split is smaller, all its images are used."
        images = st.number_input(
            "Training images", value=default.train_samples, key="grid_images",
            bind="query-params", width=150,
            **number_settings(RunOptions, "train_samples", more),
        )  # fmt: skip
        severity = st.number_input(
            "Severity", value=AnalysisOptions.severity, key="grid_severity", bind="query-params",
            width=110, **number_settings(AnalysisOptions, "severity"),
        )  # fmt: skip
        weights = st.selectbox(
            "Weights", WEIGHTS, key="grid_weights", bind="query-params", width=150,
            help=help_of(AnalysisOptions, "weights", "random: not trained, to compare with."),
        )  # fmt: skip
    st.caption(_sidebar_text(sidebar, choice))
    preset = PRESETS[choice.preset]
    try:
        base = replace(
            default,
            analysis=replace(
                default.analysis,
                weights=weights,
                samples=preset.samples,
                batch_size=preset.batch_size,
                pooling=preset.pooling,
                subsets=preset.subsets,
                input_side=sidebar.input_side,
                input_resize=sidebar.input_resize,
                input_mean=sidebar.input_mean,
                input_std=sidebar.input_std,
                precision=sidebar.precision,
                device=sidebar.device,
                memory=sidebar.memory,
            ),
            rho=choice.rho,
            normalization=choice.normalization,
            preset=choice.preset,
            summary=choice.summary,
            min_persistence=choice.min_persistence,
            persistence_unit=choice.persistence_unit,
            train_samples=int(images),
            recipe=replace(default.recipe, epochs=int(epochs)),
        )
    except AnalysisError as error:
        st.error(sentence(error))
        base = None
    return base, int(seeds), int(severity)


def _sidebar_text(sidebar: AnalysisOptions, choice: Choice) -> str:
    """What comes from the sidebar; of how it is computed, what is not as usual."""
    settings = [f"ρ = {choice.rho:.2f}", f"normalisation “{choice.normalization}”"]
    settings += [f"preset “{choice.preset}”"]
    if sidebar.input_side:
        settings.append(f"image side {sidebar.input_side}")
    if sidebar.input_resize:
        settings.append(f"images resized to {sidebar.input_resize}")
    if sidebar.input_mean:
        settings.append(f"mean {sidebar.input_mean}")
    if sidebar.input_std:
        settings.append(f"deviation {sidebar.input_std}")
    if sidebar.precision != AnalysisOptions.precision:
        settings.append(f"precision {sidebar.precision}")
    if sidebar.device != AnalysisOptions.device:
        settings.append(f"device {sidebar.device}")
    if sidebar.memory:
        settings.append(f"memory limit {sidebar.memory / 1e9:g} GB")
    return f"{', '.join(settings[:-1])} and {settings[-1]} are those of the sidebar."
