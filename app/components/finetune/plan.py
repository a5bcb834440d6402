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
from analysis.selection.scores import NORMALIZATIONS
from analysis.selection.strategies import ALL_STRATEGIES, Needs, reversed_name
from analysis.text import plural, saving_text, size_text
from app.cache import estimates, order_shares, run_queue, strategy_layers
from app.components.shared.memory_tile import memory_request
from app.components.shared.option_inputs import help_of, number_settings
from app.components.shared.polling import poll_until
from app.components.shared.strategy_choice import render_strategies
from app.literal import sentence
from app.state import Choice, Shown, session

DEFAULT_STRATEGIES = ["adabet", "size", "head"]
MOST_SEEDS = 10
KEPT = "Frozen part keeps"
POLL_EVERY = 0.3  # seconds
CHOSEN_BY: dict[Needs, str] = {  # what the analysis on the page does not have
    "weights": "the network's weights",
    "images": "a pass over the images",
    "labels": "labelled images",
    "gradients": "a backward pass over labelled images",
}
FOLLOW = {"if it is cheap": None, "always": True, "never": False}
_DEFAULT = Recipe()


@dataclasses.dataclass(frozen=True)
class Planned:
    """One row of the plan: a strategy, and how its layers are chosen."""

    strategy: str
    choice: Choice
    variant: str = ""  # what its title has beside the strategy's

    @property
    def title(self) -> str:
        return ALL_STRATEGIES[self.strategy].title + self.variant


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
        strategies = render_strategies(
            "strategies",
            DEFAULT_STRATEGIES,
            "The new classifier trains as well, unless the preset ranks it.",
        )
        planned = [Planned(name, choice) for name in strategies]
        for name in {"adabet", reversed_name("adabet")}.intersection(strategies):
            planned += _render_normalizations(name, choice)
        recipe, train_samples, seeds = _render_recipe(shown, options)
        step_recipe = recipe and RunOptions(train_samples=train_samples, recipe=recipe).largest_step
        if strategies and shown is not None and step_recipe is not None and not busy:
            _render_expectation(shown, planned, step_recipe, train_samples, seeds)
        elif busy:
            st.caption("The predictions appear again after the runs.")
        changed = shown is not None and options != shown.options
        clicked = _render_start(len(planned) * seeds, shown, recipe, busy, changed=changed)
    if clicked and shown is not None and recipe is not None:
        first = shown.options.seed
        try:
            runs = [
                plan.choice.apply_to(
                    RunOptions(
                        analysis=dataclasses.replace(shown.options, seed=seed),
                        strategy=plan.strategy,
                        train_samples=train_samples,
                        recipe=dataclasses.replace(recipe, seed=seed),
                    )
                )
                for seed in range(first, first + seeds)
                for plan in planned
            ]
            run_queue().start(runs)
        except AnalysisError as error:
            st.error(sentence(error))
        else:
            return True
    return False


def _render_normalizations(strategy: str, choice: Choice) -> list[Planned]:
    """Draw a choice of normalisations beside the sidebar's: AdaBet runs once more by each."""
    names = st.multiselect(
        "AdaBet also by", list(NORMALIZATIONS), key="normalizations", bind="query-params",
        placeholder="no other normalisation",
        help="Train the layers that AdaBet chooses by other normalisations too. The sidebar's own "
        "always runs.",
    )  # fmt: skip
    return [
        Planned(strategy, dataclasses.replace(choice, normalization=name), f" by {name}")
        for name in names
        if name != choice.normalization
    ]


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
        more = f"It has {most:,}."
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
        reuse = st.toggle(
            "Frozen layers run once", value=_DEFAULT.reuse_frozen, key="reuse_frozen",
            bind="query-params", help=help_of(Recipe, "reuse_frozen"),
        )  # fmt: skip
        follow = st.selectbox(
            "Follow topology", list(FOLLOW), key="follow_topology", bind="query-params",
            width=170,
            help=help_of(Recipe, "follow_topology", "Cheap is less than a tenth of its time."),
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
            reuse_frozen=reuse,
            follow_topology=FOLLOW[follow],
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
    st.button(
        f"{verb} {plural(runs, 'more run' if busy else 'run')}" if runs else verb,
        type="primary",
        icon=":material/play_arrow:",
        key="start",
        disabled=bool(why) or recipe is None,
        help=sentence(why)
        or "The runs follow one another, each in its own process. You can leave the page.",
        on_click=_remember_click,
    )
    clicked, session().comparison.start_clicked = session().comparison.start_clicked, False
    return clicked and not why and recipe is not None


def _remember_click() -> None:
    """Remember it until the form is drawn, which knows the settings; see `run_actions`."""
    session().comparison.start_clicked = True


def _render_expectation(
    shown: Shown, planned: list[Planned], recipe: Recipe, train_samples: int, seeds: int
) -> None:
    """Draw one row per plan: the layers it would train, and the memory predicted for it."""
    seed = shown.options.seed
    trains = "Trains" if seeds == 1 else f"Trains (seed {seed})"
    layers = {
        plan: chosen
        for plan in planned
        for chosen in strategy_layers(
            shown.key, plan.choice, seed, (plan.strategy,), shown.report
        ).values()
    }
    full = memory_request(shown, "everything", recipe=recipe)
    counts = train_samples, dataset_spec(shown.options.dataset).sizes.get("validation", 0)
    reuses = recipe.reuse_frozen and recipe.augmentation == "none" and recipe.epochs > 1
    requests = {
        plan: full
        if scope == "everything"
        else dataclasses.replace(
            memory_request(shown, scope, chosen, recipe), reused=counts if reuses else None
        )
        for plan, chosen in layers.items()
        for scope in [ALL_STRATEGIES[plan.strategy].scope]
        if chosen
    }
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
        for plan in planned:
            answer = answers.get(requests[plan]) if plan in requests else None
            peak = answer.peak.total if isinstance(answer, MemoryEstimate) else None
            saving = ""
            if peak is not None and isinstance(whole, MemoryEstimate) and plan.strategy != "full":
                saving = saving_text(peak, whole.peak.total)
            table.append(
                {
                    "Strategy": plan.title,
                    "Predicted peak": size_text(peak)
                    if peak is not None
                    else ("when it runs" if plan not in requests else "…"),
                    "Against full": saving,
                    **({KEPT: _kept(plan, answer)} if reuses else {}),
                    "Analytic model": size_text(answer.analytic)
                    if isinstance(answer, MemoryEstimate)
                    else "",
                    trains: _trains(plan, layers.get(plan), shown.report.head),
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
                KEPT: st.column_config.Column(
                    width=104,
                    help="Beside the peak: what the frozen layers gave for each image, so that "
                    "they run only once. The run checks whether that is exact.",
                ),
                "Analytic model": st.column_config.Column(
                    width=104,
                    help="The basis of the paper's figures: frozen weights at 4 bit, batches of 8. "
                    "Do not compare it with the other columns.",
                ),
            },
            alt="What each strategy would train, and the memory predicted for it",
        )
        return False

    pending = any(estimates().get(request) is None for request in wanted)
    poll_until(draw, pending=pending, every=POLL_EVERY)
    for plan in planned:
        shares = order_shares(shown.key, plan.choice, seed, (plan.strategy,), shown.report)
        for share in shares.values():
            say = st.warning if share.alone else st.caption
            say(f"**{plan.title}**: {share.sentence}")


def _kept(plan: Planned, answer: MemoryEstimate | str | None) -> str:
    scope = ALL_STRATEGIES[plan.strategy].scope
    if not isinstance(answer, MemoryEstimate) or scope == "everything":
        return ""
    return "nothing" if answer.kept is None else size_text(answer.kept)


def _trains(plan: Planned, layers: tuple[str, ...] | None, head: str | None) -> str:
    strategy = ALL_STRATEGIES[plan.strategy]
    if strategy.scope == "everything":
        return "every parameter"
    if strategy.scope == "norms-and-biases":
        return f"every norm and bias, and {head}"
    if strategy.before_shift:
        return "chosen by the images without their shift, when the run starts"
    if layers is None:
        return f"chosen by {CHOSEN_BY[strategy.needs]}, when the run starts"
    if layers:
        return ", ".join(layers)
    return f"nothing: ρ = {plan.choice.rho:.2f} rounds down to no layer"
