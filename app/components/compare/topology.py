"""Whether the loops of a layer are more than its covariance gives: the test by rotations."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.text import plural
from analysis.topology.layer_test_store import RotationRequest, made_tests
from analysis.topology.layer_tests import LayerTests
from analysis.topology.rotation import LEVEL, STATISTICS
from app.cache import layer_tests, layer_tests_table
from app.cache.compare import null_chart
from app.components.compare.calibration import render_calibration
from app.components.compare.permuted import counted, render_offer, render_sentence, request_of
from app.components.shared.glossary import linked
from app.components.shared.work import render_work, result_of_work
from app.literal import sentence
from app.state import Choice, Shown, appearance, choose_clicked
from app.theme import chart_config

DRAWS = (199, 999, 4999)

MEANING = (
    "A rejection says that the layer's cloud is not a draw from one Gaussian. Loops are one "
    "possible reason; clusters and rectified activations are others."
)
NO_REJECTION = (
    "Without a rejection, the covariance alone gives as many loops, or as long ones. The layer may "
    "still have loops of its own."
)
DRAWS_HELP = (
    f"Each draw {linked('rotated clouds', 'rotates')} the images of all layers at random, "
    "which keeps their mean and covariance and destroys any other shape. More draws "
    "allow smaller p-values."
)
CHART = (
    "Each point is a layer, each bar what 95 % of its rotated clouds give: b₁ above, which may be "
    "too large or too small, and the longest loop (death / birth) below. Filled points pass after "
    "Holm's correction for all layers, hollow ones only by themselves. A dash is the mean b₁ of "
    "pure noise: as many points, with as many independent numbers each."
)
PERMUTED_CHART = " A line is what 95 % of the clouds with permuted features give, about their mean."
PERMUTED_TABLE = " Permuted: the mean b₁ once features are permuted, and between which 95 % lie."


def render_topology(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    key = shown.fingerprint
    st.caption(f"{MEANING} {NO_REJECTION}")
    made = made_tests(key)
    least = made.draws if made and made.draws in DRAWS else DRAWS[0]
    draws = st.segmented_control(
        "Random rotations",
        DRAWS,
        default=least,
        required=True,
        key="draws",
        bind="query-params",
        help=DRAWS_HELP,
    )
    request = RotationRequest(key, int(draws or least), shown.options.seed)
    tests = layer_tests(request) or _result_of_job(request)
    if tests is None:
        render_work("tests", request, label="Test the loops", icon=":material/science:")
    else:
        _render_tests(request, tests, shown, layer)
    render_calibration()


def _result_of_job(request: RotationRequest) -> LayerTests | None:
    """What could not be saved is shown until the page is left."""
    result = result_of_work("tests", request)
    return result if isinstance(result, LayerTests) else None


def _render_tests(request: RotationRequest, tests: LayerTests, shown: Shown, layer: str) -> None:
    for note in tests.notes:
        st.warning(sentence(note))
    table = layer_tests_table(request, tests)
    st.markdown(_verdict(table, tests) + _against_noise(table))
    if text := tests.sentence():
        st.info(text)
    permuted = counted(shown)
    if permuted is not None:
        table = table.join(permuted.by_layer().drop(columns="b1"))
        render_sentence(permuted)
    of_chart = None if permuted is None else request_of(shown)
    figure = null_chart(request, of_chart, layer, appearance(), table)
    st.caption(CHART + ("" if permuted is None else PERMUTED_CHART) + _clouds(tests))
    st.plotly_chart(
        figure,
        key="null",
        on_select=lambda: choose_clicked("null"),
        selection_mode="points",
        theme=None,
        config=chart_config("bettiscope-null"),
        alt="b₁ and the longest loop of each layer, with what rotated clouds give",
    )
    _render_table(table, tests, layer)
    if permuted is None:
        render_offer(shown)


def _clouds(tests: LayerTests) -> str:
    if tests.groups == 1:
        return ""
    return (
        f" Tested are {plural(tests.groups, 'group')} of {tests.size} images that share none; b₁ "
        "is their mean, and the longest loop that of all."
    )


def _verdict(table: pd.DataFrame, tests: LayerTests) -> str:
    """How many layers are rejected, by themselves and after the correction."""
    of = plural(len(table), "layer")

    def count(statistic: str) -> str:
        alone = int((table[f"p {statistic}"] <= LEVEL).sum())
        passes = int((table[f"p_holm {statistic}"] <= LEVEL).sum())
        return f"in **{alone}** ({passes} after Holm's correction)"

    chance = LEVEL * len(table)
    return (
        f"Of {of}, b₁ is larger than in rotated clouds {count('b1-more')} and smaller "
        f"{count('b1-fewer')}; the longest loop is longer {count('longest-loop')}. By chance alone "
        f"each would be at most about {chance:.0f} at p ≤ {LEVEL:g}."
    )


def _against_noise(table: pd.DataFrame) -> str:
    """Where b₁ is beside that of noise, which has nothing of a layer but its dimension."""
    if table["noise_mean"].isna().any():
        return ""
    more = int((table["b1"] > table["noise_high"]).sum())
    fewer = int((table["b1"] < table["noise_low"]).sum())
    return (
        f" Against pure noise with as many numbers per image, b₁ is larger in **{more}** layers "
        f"and smaller in **{fewer}**."
    )


def _render_table(table: pd.DataFrame, tests: LayerTests, layer: str) -> None:
    """Draw every number, and the published test beside."""
    with st.expander("All numbers, and the published test", key="null_numbers"):
        columns = {
            "b1": "b₁", "b1_mean": "rotated", "b1_z": "z", "long_bars": "long loops",
            "longest": "longest", "draws": "draws", "noise_mean": "noise",
            "permuted_mean": "permuted", "permuted_low": "permuted from", "permuted_high": "to",
            "p_more": "p more than permuted", "p_fewer": "p fewer than permuted",
        }  # fmt: skip
        columns = {name: title for name, title in columns.items() if name in table}
        shown = table[list(columns)].rename(columns=columns)
        for name in STATISTICS:
            words = name.replace("b1", "b₁").replace("-", " ")
            shown[f"p {words}"] = table[f"p {name}"]
            shown[f"Holm {words}"] = table[f"p_holm {name}"]
        st.dataframe(
            shown.round(3).reset_index(),
            hide_index=True,
            alt="Each layer's statistics, p-values and corrected p-values",
        )
        st.caption(
            "z: b₁ less its mean over rotated clouds, in their standard deviations. Long loops: "
            f"loops that pass by themselves at {LEVEL:g}, with all loops of their layer accounted "
            "for. A layer is given up after fewer draws once no p-value of it can be small. Noise: "
            "the mean b₁ of points that are alike in all directions."
            + (PERMUTED_TABLE if "permuted_mean" in table else "")
        )
        st.caption(
            "Bobrowski and Skraba's test (2023) needs no draws, but very many images. It finds a "
            f"loop in {tests.asymptotic_layers} of {plural(len(table), 'layer')}, and in "
            f"{100 * tests.asymptotic_errors:.1f} % of the rotated clouds, where an exact test "
            f"would in {100 * LEVEL:.0f} %."
        )
