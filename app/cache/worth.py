"""What Compare shows of the worth of layers: a stored profile, its tables and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from analysis.selection.ranking import select
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.judging import BEST_SINGLES, Judgement
from analysis.sweeps.layer_profile import LayerProfile
from analysis.sweeps.profile_files import SavedProfile, find_profile, profiles_folder
from app.charts.worth import criteria_figure, scatter_figure, worth_figure
from app.state import Shown
from app.theme import PALETTES, DrawnFigure

GAIN, PER_BYTE = "Gain", "Gain per byte"


def stored_profile(key: str, options: AnalysisOptions) -> SavedProfile | None:
    """The layer profile of an analysis' network and images; `key` is its fingerprint.

    Raises
    ------
    StoreError
        If the file is damaged or cannot be read.
    """
    folder = profiles_folder()
    changed = folder.stat().st_mtime_ns if folder.exists() else 0
    return _stored_profile(key, folder, changed, options)


@st.cache_resource(max_entries=32, show_spinner=False)
def _stored_profile(
    key: str, folder: Path, changed: int, _options: AnalysisOptions
) -> SavedProfile | None:
    return find_profile(_options)


def layer_gains(shown: Shown) -> dict[str, float]:
    """What training each layer alone gains, in points; empty if no profile can be read."""
    try:
        saved = stored_profile(shown.fingerprint, shown.options)
    except AnalysisError:  # Compare says why
        return {}
    return {layer.layer: 100 * layer.gain for layer in saved.profile.layers} if saved else {}


def criteria_table(judgement: Judgement, against: str) -> pd.DataFrame:
    """The criteria by their correlation with the gain, or the gain per byte, the best first.

    Returns
    -------
    DataFrame
        Index criterion; title, value, low, high, clear, hits and regret (shares), partial, needs.
    """
    rows = {}
    for standing in judgement.board.standings:
        per_byte = against == PER_BYTE
        estimate = standing.per_byte if per_byte else standing.spearman
        known = STRATEGIES[standing.criterion]
        rows[standing.criterion] = {
            "title": known.title,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "clear": estimate.low > 0,
            "hits": standing.hits_per_byte if per_byte else standing.hits,
            "regret": judgement.sets[standing.criterion].regret,
            "partial": standing.partial,
            "needs": known.needs,
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.sort_values("value", ascending=False, kind="stable", na_position="last")


def layers_table(
    profile: LayerProfile, judgement: Judgement, criterion: str, against: str
) -> pd.DataFrame:
    """Each layer's gain and its score by a criterion.

    Returns
    -------
    DataFrame
        Index layer, in execution order; gain and sd in points (per MB, if `against` says so),
        score, selected and best (bool), seconds, bytes, parameters.
    """
    layers = profile.layers
    size = profile.costs / 1e6 if against == PER_BYTE else np.ones(len(layers))
    gain = pd.Series([100 * layer.gain for layer in layers]) / size
    spread = pd.Series([np.nan if layer.sd is None else 100 * layer.sd for layer in layers]) / size
    index = pd.Index([layer.layer for layer in layers], name="layer")
    score = pd.Series(judgement.scores[criterion], index=index, dtype=float)
    best = gain.rank(ascending=False, method="first") <= judgement.board.places
    return pd.DataFrame(
        {
            "gain": gain.to_numpy(),
            "sd": spread.to_numpy(dtype=float),
            "score": score,
            "selected": index.isin(select(score, rho=judgement.rho)),
            "best": best.to_numpy(),
            "seconds": [layer.seconds for layer in layers],
            "bytes": [layer.bytes for layer in layers],
            "parameters": [layer.parameters for layer in layers],
        },
        index=index,
    )


def best_singles_regret(judgement: Judgement) -> float:
    """What the layers that gained most alone lose together, in accuracy."""
    return judgement.sets[BEST_SINGLES].regret


def criteria_chart(judgement: Judgement, against: str, marked: str, appearance: str) -> DrawnFigure:
    """The correlation of each criterion with what layers are worth."""
    unit = "gain" if against == GAIN else "gain per byte"
    figure = criteria_figure(
        criteria_table(judgement, against),
        marked=marked,
        title=f"rank correlation with the {unit}",
        palette=PALETTES[appearance],
    )
    return DrawnFigure(figure.to_dict())


def layer_charts(
    table: pd.DataFrame, criterion: str, opened: str, appearance: str
) -> tuple[DrawnFigure, DrawnFigure]:
    """Gain and score of each layer in the network's order, and one against the other."""
    title, palette = STRATEGIES[criterion].title, PALETTES[appearance]
    columns, scatter = (
        draw(table, criterion=title, opened=opened, palette=palette)
        for draw in (worth_figure, scatter_figure)
    )
    return DrawnFigure(columns.to_dict()), DrawnFigure(scatter.to_dict())
