"""The form that says what to train, and what that would take."""

from __future__ import annotations

import dataclasses

import pandas as pd
import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.datasets import dataset_spec
from analysis.errors import AnalysisError
from analysis.options import (
    AUGMENTATIONS,
    OPTIMIZERS,
    AnalysisOptions,
    Augmentation,
    Optimizer,
    Recipe,
    RunOptions,
)
from analysis.selection.strategies import STRATEGIES
from analysis.text import plural, saving_text, size_text
from app.cache import estimates, order_shares, run_queue, strategy_layers
from app.components.shared.help_texts import bullet_list
from app.components.shared.memory_tile import memory_request
from app.components.shared.option_inputs import help_of, number_settings
from app.components.shared.polling import poll_until
from app.literal import sentence
from app.state import Choice, Shown, session

DEFAULT_STRATEGIES = ["adabet", "size", "head"]
MOST_SEEDS = 10
POLL_EVERY = 0.3  # seconds
_DEFAULT = Recipe()


def render_plan(
    shown: Shown | None, options: AnalysisOptions | None, choice: Choice, *, busy: bool
) -> bool:
    """Draw the form; Start queues one run for each strategy and seed. True if it did.

    While runs go on (`busy`) nothing is predicted, as they need the processor. From then on the
    form is folded until it is opened, so that the curves have the room.
    """
    session().comparison.form_folded = session().comparison.form_folded or busy
    with (
        st.container(key="plan"),
        st.expander("What to train", expanded=not session().comparison.form_folded),
    ):
        strategies = st.pills(
            "Strategies",
            list(STRATEGIES),
            selection_mode="multi",
            default=DEFAULT_STRATEGIES,
            key="strategies",
            bind="query-params",
            help=help_of(
                RunOptions,
                "strategy",
                "The new classifier trains as well, unless the preset ranks it.",
            )
            + bullet_list({n: s.help for n, s in STRATEGIES.items()}),
        )
        recipe, train_samples, seeds = _render_recipe(shown, options)
        step_recipe = recipe and RunOptions(train_samples=train_samples, recipe=recipe).largest_step
        if strategies and shown is not None and step_recipe is not None and not busy:
            _render_expectation(shown, choice, strategies, step_recipe, seeds)
        elif busy:
            st.caption("The predictions appear again after the runs.")
        changed = shown is not None and options != shown.options
        clicked = _render_start(len(strategies) * seeds, shown, recipe, busy, changed=changed)
    if clicked and shown is not None and recipe is not None:
        first = shown.options.seed
        try:
            runs = [
                choice.apply_to(
                    RunOptions(
                        analysis=dataclasses.replace(shown.options, seed=seed),
                        strategy=strategy,
                        train_samples=train_samples,
                        recipe=dataclasses.replace(recipe, seed=seed),
                    )
                )
                for seed in range(first, first + seeds)
                for strategy in strategies
            ]
            run_queue().start(runs)
        except AnalysisError as error:
            st.error(sentence(error))
        else:
            return True
    return False


def _render_recipe(
    shown: Shown | None, options: AnalysisOptions | None
) -> tuple[Recipe | None, int, int]:
    dataset = (shown.options if shown else options or AnalysisOptions()).dataset
    most = dataset_spec(dataset).sizes["train"]
    if st.session_state.get("train_samples", 0) > most:
        st.session_state["train_samples"] = most
    with st.container(horizontal=True, key="recipe"):
        epochs = st.number_input(
            "Epochs", value=_DEFAULT.epochs, key="epochs", bind="query-params", width=130,
            **number_settings(Recipe, "epochs"),
        )  # fmt: skip
        more = f"It has {most:,}. Validation and test images are never used for training."
        train_samples = st.number_input(
            "Training images", value=min(RunOptions.train_samples, most), key="train_samples",
            bind="query-params", width=160,
            **number_settings(RunOptions, "train_samples", more) | {"max_value": most},
        )  # fmt: skip
        rate = st.number_input(
            "Learning rate", value=None, format="%.4g", key="learning_rate",
            bind="query-params", width=170, placeholder="default",
            **number_settings(Recipe, "learning_rate"),
        )  # fmt: skip
        seeds = st.number_input(
            "Seeds", 1, MOST_SEEDS, 1, key="seeds", bind="query-params", width=130,
            help="How many times each strategy runs, each time with other random choices. Use "
            "three or more to compare strategies.",
        )  # fmt: skip
    with st.expander("More"), st.container(horizontal=True):
        batch_size = st.number_input(
            "Batch size", value=_DEFAULT.batch_size, key="train_batch", bind="query-params",
            width=130, **number_settings(Recipe, "batch_size"),
        )  # fmt: skip
        optimizer: Optimizer = st.selectbox(
            "Optimiser", OPTIMIZERS, key="optimizer", bind="query-params", width=160,
            help=help_of(Recipe, "optimizer"),
        )  # fmt: skip
        momentum = st.number_input(
            "Momentum", value=_DEFAULT.momentum, key="momentum", bind="query-params", width=130,
            **number_settings(Recipe, "momentum"),
        )  # fmt: skip
        decay = st.number_input(
            "Weight decay", value=_DEFAULT.weight_decay, format="%.4g", key="weight_decay",
            bind="query-params", width=160, **number_settings(Recipe, "weight_decay"),
        )  # fmt: skip
        augmentation: Augmentation = st.selectbox(
            "Augmentation", AUGMENTATIONS, key="augmentation", bind="query-params", width=180,
            help=help_of(Recipe, "augmentation"),
        )  # fmt: skip
    try:
        recipe = Recipe(
            epochs=int(epochs),
            batch_size=int(batch_size),
            learning_rate=rate,
            optimizer=optimizer,
            momentum=float(momentum),
            weight_decay=float(decay),
            augmentation=augmentation,
        )
    except AnalysisError as error:
        st.error(sentence(error))
        recipe = None
    return recipe, int(train_samples), int(seeds)


def _render_start(
    runs: int, shown: Shown | None, recipe: Recipe | None, busy: bool, *, changed: bool
) -> bool:
    why = "Choose a strategy first." if not runs else ""
    if shown is None:
        why = "The analysis comes first: it chooses the layers."
    elif changed:
        why = "The settings have changed: analyse first, which chooses the layers."
    elif untrainable := dataset_spec(shown.options.dataset).why_untrainable:
        why = untrainable
        st.warning(sentence(untrainable))
    verb = "Queue" if busy else "Start"
    return st.button(
        f"{verb} {plural(runs, 'more run' if busy else 'run')}" if runs else verb,
        type="primary",
        icon=":material/play_arrow:",
        key="start",
        disabled=bool(why) or recipe is None,
        help=sentence(why)
        or "The runs follow one another, each in its own process. You can leave the page.",
    )


def _render_expectation(
    shown: Shown, choice: Choice, strategies: list[str], recipe: Recipe, seeds: int
) -> None:
    """Draw one row per strategy: the layers it would train, and the memory predicted for it."""
    seed = shown.options.seed
    trains = "Trains" if seeds == 1 else f"Trains (seed {seed})"
    layers = strategy_layers(shown.key, choice, seed, tuple(strategies), shown.report)
    full = memory_request(shown, "everything", recipe=recipe)
    requests = {
        name: memory_request(
            shown, STRATEGIES[name].scope, () if STRATEGIES[name].scope == "everything" else chosen,
            recipe,
        )
        for name, chosen in layers.items()
        if chosen
    }  # fmt: skip
    wanted = [*requests.values(), full]

    def draw() -> bool:
        answers: dict[MemoryRequest, MemoryEstimate | str | None] = {}
        for request in wanted:
            answer = estimates().get(request)
            answers[request] = answer
        if pending and all(answer is not None for answer in answers.values()):
            return True
        whole = answers[full]
        table = []
        for name in strategies:
            answer = answers.get(requests[name]) if name in requests else None
            peak = answer.peak.total if isinstance(answer, MemoryEstimate) else None
            saving = ""
            if peak is not None and isinstance(whole, MemoryEstimate) and name != "full":
                saving = saving_text(peak, whole.peak.total)
            table.append(
                {
                    "Strategy": STRATEGIES[name].title,
                    "Predicted peak": size_text(peak)
                    if peak is not None
                    else ("when it runs" if name not in requests else "…"),
                    "Against full": saving,
                    "Analytic model": size_text(answer.analytic)
                    if isinstance(answer, MemoryEstimate)
                    else "",
                    trains: _trains(name, layers.get(name), shown.report.head, choice),
                }
            )
        st.dataframe(
            pd.DataFrame(table),
            hide_index=True,
            height="content",
            column_config={
                "Strategy": st.column_config.Column(width="small"),
                trains: st.column_config.Column(
                    width="large",
                    help="Other seeds draw other images and may select other layers.",
                ),
                "Predicted peak": st.column_config.Column(
                    width=104,
                    help=f"Memory of one training step with batches of {recipe.batch_size} images, "
                    "predicted without computing it.",
                ),
                "Against full": st.column_config.Column(
                    width="small", help="Compared with training every parameter."
                ),
                "Analytic model": st.column_config.Column(
                    width=104,
                    help="The basis of the paper's figures (after TinyTL): frozen weights at 4 "
                    "bit, batches of 8, no gradients or optimiser state. Do not compare it with "
                    "the other columns.",
                ),
            },
            alt="What each strategy would train, and the memory predicted for it",
        )
        return False

    pending = any(estimates().get(request) is None for request in wanted)
    poll_until(draw, pending=pending, every=POLL_EVERY)
    shares = order_shares(shown.key, choice, seed, tuple(strategies), shown.report)
    for name, share in shares.items():
        say = st.warning if share.alone else st.caption
        say(f"**{STRATEGIES[name].title}**: {share.sentence}")


def _trains(name: str, layers: tuple[str, ...] | None, head: str | None, choice: Choice) -> str:
    strategy = STRATEGIES[name]
    if strategy.scope == "everything":
        return "every parameter"
    if strategy.scope == "norms-and-biases":
        return f"every norm and bias, and {head}"
    if layers is None:
        return "chosen by a backward pass over labelled images, when the run starts"
    return ", ".join(layers) if layers else f"nothing: ρ = {choice.rho:.2f} rounds down to no layer"
