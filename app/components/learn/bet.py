"""The last step: bet on a choice of layers, train, and see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.standings import standings
from analysis.runs.store import Run
from analysis.selection.strategies import STRATEGIES
from analysis.text import plural, share_text
from analysis.topology.store import fingerprint
from app.cache import run_queue
from app.cache.worth import stored_profile
from app.charts.bet import bet_figure
from app.charts.once import drawn_once
from app.components.learn.bets import (
    enter_bet,
    render_bets,
    render_name,
    render_note,
    table_height,
)
from app.components.learn.frame import ask, step_columns
from app.components.shared.glossary import linked
from app.components.shared.help_texts import bullet_list
from app.components.shared.polling import poll_until
from app.components.shared.run_actions import attempt, render_action_error
from app.components.shared.verdict import render_verdict
from app.literal import sentence
from app.state import appearance, is_large
from app.theme import PALETTES, chart_config

TITLE = "Bet, then train"
TEXT = (
    f"The claim is that layers with many {linked('loop', 'loops')} for their "
    f"{linked('normalisation', 'size')} learn best. Bet on a choice of layers, then "
    f"{linked('fine-tune', 'train')}."
)
BETS = ("adabet", "size", "random", "head")
SEEDS = 10  # at most
_EPOCHS, _IMAGES = 3, 250
_POLL = 1.0  # seconds


def bet_options(strategy: str, seed: int, rho: float = RunOptions.rho) -> RunOptions:
    """A short fine-tune, which a class waits for."""
    return RunOptions(
        analysis=AnalysisOptions(seed=seed),
        strategy=strategy,
        rho=rho,
        train_samples=_IMAGES,
        recipe=Recipe(epochs=_EPOCHS, seed=seed, follow_topology=False),
    )


def render_bet() -> None:
    """Draw the step."""
    titles = [STRATEGIES[name].title for name in BETS]
    try:
        name, share, again = st.columns([3, 4, 3], vertical_alignment="bottom", gap="medium")
        rho = share.slider(
            "ρ · share of layers to train",
            0.02,
            0.5,
            RunOptions.rho,
            0.02,
            key="bet_rho",
            bind="query-params",
        )
        tried = _tried()
        runs = tried.get(rho, [])
        done = [run for run in runs if run.result is not None]
        with name:
            render_name()
        left, right = step_columns()
        with left:
            question = "Which gets the most test images right?"
            bet = ask("bet", question, titles, on_change=partial(enter_bet, rho))
            revealed = bet is not None and bool(done) and not any(run.active for run in runs)
            render_note(rho, revealed=revealed)
        with right:
            if bet is not None:
                _render_training(rho, runs, done, again if done else st.container())
            aside = _render_views(bet, done if revealed else [], tried)
        with left:
            if bet is not None and revealed:
                _render_answer(bet, done, aside)
    except AnalysisError as error:
        st.error(sentence(error))


def _tried() -> dict[float, list[Run]]:
    """The fine-tunes of this step by ρ, whoever started them; the newest of each kind."""
    newest: dict[RunOptions, Run] = {}
    for run in run_queue().store.runs():  # the newest first
        options, seed = run.options, run.options.recipe.seed
        if options.strategy in BETS and options == bet_options(options.strategy, seed, options.rho):
            newest.setdefault(options, run)
    by_rho: dict[float, list[Run]] = {}
    for options, run in newest.items():
        by_rho.setdefault(options.rho, []).append(run)
    return by_rho


def _missing(rho: float, done: Sequence[Run]) -> list[RunOptions]:
    """What to train next: all strategies with the first seed that not all have trained with."""
    trained = {run.options for run in done}
    for seed in range(SEEDS):
        wanted = [bet_options(name, seed, rho) for name in BETS]
        if missing := [options for options in wanted if options not in trained]:
            return missing
    return []


def _render_views(
    bet: str | None, done: list[Run], tried: Mapping[float, list[Run]]
) -> DeltaGenerator:
    """Draw the choices, or what they reached, and behind tabs the tables, if they have rows.

    Returns
    -------
    DeltaGenerator
        The place below the results.
    """
    rows = _tried_rows(tried)
    bets = run_queue().store.bets()
    names = ["Results" if done else "Choices"]
    if bet is not None:
        names += ["Tried on this computer"] * (len(rows) > 1) + ["Bets by name"] * bool(bets)
    tabs = dict(zip(names, st.tabs(names) if len(names) > 1 else [st.container()], strict=True))
    first = tabs[names[0]]
    with first:
        if bet is not None and done:
            _render_chart(bet, done)
        else:
            entries = {STRATEGIES[name].title: STRATEGIES[name].description for name in BETS}
            st.markdown(bullet_list(entries))
    if "Tried on this computer" in tabs:
        with tabs["Tried on this computer"]:
            _render_tried(rows)
    if "Bets by name" in tabs:
        with tabs["Bets by name"]:
            render_bets(bets, tried)
    return first


def _render_training(rho: float, runs: list[Run], done: list[Run], place: DeltaGenerator) -> None:
    if any(run.active for run in runs):

        def draw() -> bool:
            return _draw_progress(rho)

        poll_until(draw, pending=True, every=_POLL)
        return
    render_action_error()
    for run in runs:
        if run.error and run.result is None:
            st.warning(sentence(run.error))
    if missing := _missing(rho, done):
        label = "Train again with other images" if done else f"Train all {len(BETS)}"
        if len(missing) < len(BETS):  # some failed, or were stopped
            label = "Train the rest"
        place.button(
            label,
            type="secondary" if done else "primary",
            icon=":material/play_arrow:",
            key="bet_train",
            on_click=attempt,
            args=(run_queue().start, missing),
            help=f"{plural(_EPOCHS, 'epoch')} of {_IMAGES} images each, which "
            "takes seconds. The runs go on if you leave, and the page Runs lists them.",
        )


def _render_chart(bet: str, done: list[Run]) -> None:
    table, _ = standings(done)
    accuracies = {STRATEGIES[row.strategy].title: row.accuracies for row in table}
    elsewhere, text = _in_profile()
    st.plotly_chart(
        drawn_once(
            bet_figure(
                accuracies,
                bet,
                elsewhere,
                palette=PALETTES[appearance()],
                height=150 if is_large() else 188,
            )
        ),
        key="bet",
        theme=None,
        config=chart_config("bettiscope-bet"),
        alt="The share of test images that each choice of layers classifies rightly",
    )
    if text:
        st.caption(text)


def _in_profile() -> tuple[dict[str, float], str]:
    """What each choice reached in the stored layer profile, by title, and what to say of it."""
    options = AnalysisOptions()
    try:
        saved = stored_profile(fingerprint(options), options)
    except AnalysisError as error:
        return {}, sentence(error)
    if saved is None or saved.judgement is None:
        return {}, ""
    profile, sets = saved.profile, saved.judgement.sets
    reached = {STRATEGIES[name].title: mean(sets[name].accuracies)
               for name in BETS if name in sets and sets[name].accuracies}  # fmt: skip
    reached[STRATEGIES["head"].title] = mean(profile.head_accuracies)
    best = max(reached, key=lambda title: reached[title])
    came = "that came with BettiScope" if saved.shipped else "of this computer"
    return reached, (
        f"◇ is the layer profile {came}, which trained longer: "
        f"{plural(profile.options.train_samples, 'image')}, "
        f"{plural(profile.options.recipe.epochs, 'epoch')}, {plural(len(profile.seeds), 'seed')}, "
        f"ρ = {saved.judgement.rho:.2f}. Best there: {best}, {share_text(reached[best])} right."
    )


def _render_answer(bet: str, done: list[Run], aside: DeltaGenerator) -> None:
    table, _ = standings(done)
    best = table[0]
    with st.container(key="answer", gap="small"):
        st.metric(
            f"Best over {plural(len(best.seeds), 'seed')} (you bet on {bet})",
            STRATEGIES[best.strategy].title,
            f"{share_text(best.mean)} right",
            delta_color="off",
            delta_arrow="off",
        )
        render_verdict(done, aside=aside)


def _tried_rows(tried: Mapping[float, list[Run]]) -> list[dict[str, object]]:
    """What was tried on this computer, by ρ."""
    lines: list[dict[str, object]] = []
    for rho, runs in sorted(tried.items()):
        table, _ = standings(runs)
        if table:
            best = table[0]
            lines.append(
                {
                    "ρ": rho,
                    "Best": STRATEGIES[best.strategy].title,
                    "Right": share_text(best.mean),
                    "Seeds": len(best.seeds),
                }
            )
    return lines


def _render_tried(rows: list[dict[str, object]]) -> None:
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=table_height(len(rows)),
        column_config={"ρ": st.column_config.NumberColumn(format="%.2f")},
        alt="The best choice of layers for each ρ that was tried",
    )


def _draw_progress(rho: float) -> bool:
    """Say how far the training is; whether it has ended."""
    runs = _tried().get(rho, [])
    active = [run for run in runs if run.active]
    if not active:
        return True
    group = [run for run in runs if run.group in {each.group for each in active}]
    ended = len(group) - len(active)
    text = f"{ended} of {len(group)} trained. You can leave the page: the training goes on."
    st.progress(ended / len(group), text=text)
    return False
