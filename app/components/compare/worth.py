"""Whether the choice matters: what each layer is worth, and which criteria find the best."""

from __future__ import annotations

from statistics import mean

import pandas as pd
import streamlit as st

from analysis.datasets import dataset_spec
from analysis.errors import AnalysisError
from analysis.selection.export import profile_command
from analysis.selection.strategies import NEEDS, STRATEGIES
from analysis.sweeps.judging import Judgement, answer, answer_about
from analysis.sweeps.layer_profile import (
    TRAIN_SAMPLES,
    LayerProfile,
    profile_grid,
    profile_options,
)
from analysis.sweeps.profile_files import SavedProfile
from analysis.sweeps.profiling import ProfileRequest
from analysis.sweeps.progress import runs_of, time_left
from analysis.text import plural, signed
from app.cache import jobs, run_queue
from app.cache.worth import (
    GAIN,
    PER_BYTE,
    best_singles_regret,
    criteria_chart,
    criteria_table,
    layer_charts,
    layers_table,
    stored_profile,
)
from app.charts.once import drawn_once
from app.components.shared.memory_tile import classes_of
from app.components.shared.time_left import time_left_text
from app.components.shared.work import render_work
from app.literal import sentence
from app.state import Choice, Shown, appearance, choose_clicked
from app.theme import DrawnFigure, chart_config

_STYLE = "<style>.st-key-worth_answer h2 { font-size: 2rem; line-height: 1.25; }</style>"
QUESTION = "Which criterion should I trust here?"
NONE_YET = "No layer profile of this network and these images exists yet."
ONLY_GAINS = "This profile holds no criteria yet. Layers that are done do not train again."
LABEL = "Train every layer"
AGAINST_HELP = (
    "Gain: accuracy over training the classifier alone. Per byte: the same for each byte of "
    "training memory, as AdaBet promises accuracy for its memory."
)
CRITERIA = (
    "Right of the dotted line a criterion ranks layers by their worth, left of it the other way "
    "round. Lines are 95 % intervals over {drawn}."
)
CRITERIA_HELP = (
    "Seeds and layers are drawn again at random (bootstrap), as if layers were independent. Each "
    "line stands for itself; the answer above counts all criteria."
)
COLUMNS = (
    "Above: what training this layer alone gains, ± standard deviation over the seeds. Below: its "
    "score, the mean over the seeds."
)
SCATTER = "A good criterion has its best layers at the top left. Click a layer to mark it."
TABLE = {
    "title": "Criterion",
    "value": "Correlation",
    "low": "from",
    "high": "to",
    "hits": "Best found, %",
    "regret": "Lost, points",
    "partial": "Beyond size",
    "needs": "Needs",
}
FORMATS = {"value": "%.2f", "low": "%.2f", "high": "%.2f", "hits": "%.0f", "regret": "%.1f",
           "partial": "%.2f"}  # fmt: skip
TABLE_HELP = {
    "hits": "Share of the {places} layers worth most that are among its first {places}. Chance "
    "finds {chance:.0f} %.",
    "regret": "What the layers that it selects reach together, less than the best set of all.",
    "partial": "Correlation with the ranks of size and parameters held fixed; empty for these two.",
}


def render_worth(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    try:
        saved = stored_profile(shown.fingerprint, shown.options)
    except AnalysisError as error:
        st.warning(sentence(error))
        saved = None
    if saved is None:
        _render_request(shown, choice, NONE_YET)
        return
    if saved.judgement is None:
        _render_request(shown, choice, ONLY_GAINS)
        _render_facts(saved)
        return
    _render_answer(saved, saved.judgement)
    _render_criteria(saved.profile, saved.judgement, layer)


def _render_request(shown: Shown, choice: Choice, text: str) -> None:
    """Say what a profile costs, and offer to make it here or by a command."""
    options = shown.options
    if not classes_of(options.dataset):
        st.info("The images are gone or have changed. Analyse again before you train.")
        return
    if untrainable := dataset_spec(options.dataset).why_untrainable:
        st.info(sentence(untrainable))
        return
    st.info(text)
    images = min(TRAIN_SAMPLES, dataset_spec(options.dataset).sizes["train"])
    asked = profile_options(options, train_samples=images)
    request = ProfileRequest(asked, rho=choice.rho)
    if not jobs().is_running(request):
        _render_cost(shown, request)
    render_work("profile", request, label=LABEL, icon=":material/fitness_center:")
    st.caption("Or on the command line, on several processes or a cluster:")
    st.code(profile_command(options), language="shell", wrap_lines=True)


def _render_cost(shown: Shown, request: ProfileRequest) -> None:
    names = [layer.name for layer in shown.report.layers if layer.name != shown.report.head]
    runs = run_queue().store.runs()
    cells = profile_grid(request.options, names, request.seeds).cells()
    run_of = runs_of(cells, runs)
    missing = [cell for cell in cells if cell not in run_of or run_of[cell].state != "done"]
    time = time_left_text(time_left(missing, runs), len(missing)) if missing else "all are done"
    st.caption(
        f"This trains {plural(len(cells), 'run')} with {plural(len(request.seeds), 'seed')} "
        f"({time}), then the layers that each criterion selects. You can stop and continue later."
    )


def _render_answer(saved: SavedProfile, judgement: Judgement) -> None:
    """Answer the question in the largest type of the section, and say what the answer rests on."""
    st.html(_STYLE)
    st.markdown(f"**{QUESTION}**")
    with st.container(key="worth_answer"):
        st.header(sentence(answer(saved.profile, judgement)), anchor=False)
    about = answer_about(judgement, "adabet")
    if about:
        st.markdown(sentence(about))
    _render_facts(saved)


def _render_facts(saved: SavedProfile) -> None:
    """Say how the profile was made, and how sure it can be."""
    profile = saved.profile
    head, one = 100 * mean(profile.head_accuracies), 100 / max(1, profile.test_images)
    options, seeds = profile.options, plural(len(profile.seeds), "seed")
    facts = (
        f"Measured with {seeds}, {plural(options.train_samples, 'training image')} and "
        f"{plural(options.recipe.epochs, 'epoch')}; the classifier alone reaches {head:.1f} % of "
        f"{plural(profile.test_images, 'test image')}, one of which is {one:.2g} points."
    )
    came = "; this profile came with BettiScope" if saved.shipped else ""
    if len(profile.seeds) == 1:
        facts += f" One seed is not evidence{came}."
    elif saved.judgement is not None:
        alike = signed(saved.judgement.board.agreement, 2)
        facts += f" Two seeds rank the layers alike with a correlation of {alike}{came}."
    st.caption(sentence(facts))


def _render_criteria(profile: LayerProfile, judgement: Judgement, layer: str) -> None:
    against, criterion = _choose(judgement)
    table = layers_table(profile, judgement, criterion, against)
    columns, scatter = layer_charts(table, criterion, layer, appearance())
    left, right = st.columns([5, 6], gap="medium")
    with left:
        st.markdown("**Which criteria find the layers worth training**", help=CRITERIA_HELP)
        several = len(profile.seeds) > 1
        st.caption(CRITERIA.format(drawn="seeds and layers" if several else "the layers"))
        st.plotly_chart(
            drawn_once(criteria_chart(judgement, against, criterion, appearance())),
            key="worth_criteria",
            theme=None,
            config=chart_config("bettiscope-criteria"),
            alt="Rank correlation of each criterion with the gain of the layers",
        )
    with right:
        _render_layers("Worth against choice", SCATTER, scatter, "worth_scatter")
    _render_layers("Each layer", COLUMNS, columns, "worth_layers")
    _render_tables(judgement, table, against)


def _render_layers(title: str, text: str, figure: DrawnFigure, key: str) -> None:
    st.markdown(f"**{title}**")
    st.caption(text)
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: choose_clicked(key),
        selection_mode="points",
        theme=None,
        config=chart_config(f"bettiscope-{key.replace('_', '-')}"),
        alt=f"{title}. {text}",
    )


def _choose(judgement: Judgement) -> tuple[str, str]:
    names = [standing.criterion for standing in judgement.board.standings]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        against = st.segmented_control(
            "Worth as",
            [GAIN, PER_BYTE],
            default=GAIN,
            required=True,
            key="worth_against",
            bind="query-params",
            help=AGAINST_HELP,
        )
        criterion = st.selectbox(
            "Criterion to hold against it",
            names,
            index=names.index("adabet") if "adabet" in names else 0,
            key="worth_criterion",
            bind="query-params",
            format_func=lambda name: STRATEGIES[name].title,
            help="Whose scores stand beside the gains.",
            width=260,
        )
    return against or GAIN, criterion or names[0]


def _render_tables(judgement: Judgement, layers: pd.DataFrame, against: str) -> None:
    board = judgement.board
    lost = 100 * best_singles_regret(judgement)
    st.markdown("**Sets of layers**")
    st.caption(
        f"Each criterion also trained the {plural(judgement.set_size, 'layer')} that it selects. "
        f"The layers that gain most alone, trained together, lose {lost:.1f} points against the "
        "best of these sets."
    )
    table = criteria_table(judgement, against)[list(TABLE)]
    table[["hits", "regret"]] *= 100
    table["needs"] = table["needs"].map(NEEDS)
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        height="content",
        column_config={
            name: st.column_config.NumberColumn(
                title,
                help=TABLE_HELP[name].format(places=board.places, chance=100 * board.by_chance)
                if name in TABLE_HELP
                else None,
                format=FORMATS[name],
            )
            if name in FORMATS
            else st.column_config.Column(title)
            for name, title in TABLE.items()
        },
        alt="How well each criterion finds the layers worth training",
    )
    with st.expander("All layers", key="worth_numbers"):
        st.dataframe(layers.round(3), placeholder="–", alt="Gain, score and cost of each layer")
