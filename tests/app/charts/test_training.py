"""The live curves by known answers: what stands where, and what holds still."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.selection.strategies import STRATEGIES
from analysis.training.metrics import EpochMetrics, StepMetrics
from app.charts.strategy_looks import strategy_look
from app.charts.training import (
    MOST_STEPS,
    NO_POINT,
    TRAINING_EPOCH,
    TRAINING_STEP,
    VALIDATION,
    Curve,
    accuracy_figure,
    loss_figure,
    smooth,
)
from app.theme import PALETTES

LIGHT, DARK = PALETTES["light"], PALETTES["dark"]
# Four steps an epoch, two epochs and a half.
RUN = Curve(
    "adabet",
    "adabet",
    step_x=np.arange(1, 11) / 4,
    step_loss=np.linspace(2.4, 0.6, 10),
    step_accuracy=np.linspace(0.1, 0.9, 10),
    epoch_x=[1, 2],
    train_loss=[2.1, 1.3],
    val_loss=[1.8, 1.0],
    val_accuracy=[0.4, 0.75],
)
BOTH = pytest.mark.parametrize("draw", [accuracy_figure, loss_figure])


def many(count: int) -> list[Curve]:
    return [
        Curve(
            f"run {i}",
            list(STRATEGIES)[i],
            [0.25],
            [2.0],
            [0.2],
            epoch_x=[1],
            train_loss=[1.5],
            val_loss=[1.2],
            val_accuracy=[0.5],
        )
        for i in range(count)
    ]


def drawn(figure):
    """The traces that hold points, by name."""
    return {t.name: t for t in figure.data if t.x[0] is not None}


def test_validation_accuracy_is_solid_in_percent_at_the_end_of_its_epoch():
    line = drawn(accuracy_figure([RUN], epochs=8, palette=LIGHT))["adabet"]
    assert list(line.x) == [1, 2]
    assert list(line.y) == [40, 75]
    assert line.mode == "lines+markers"
    assert line.line.dash in (None, "solid")
    assert list(line.hovertext) == [
        "<b>adabet</b><br>epoch 1<br>validation accuracy 40.0 %",
        "<b>adabet</b><br>epoch 2<br>validation accuracy 75.0 %",
    ]


def test_training_accuracy_is_a_thin_faint_smoothed_line_without_hover():
    traces = drawn(accuracy_figure([RUN], epochs=8, palette=LIGHT))
    steps = traces[f"adabet, {TRAINING_STEP}"]
    assert list(steps.x) == list(RUN.step_x)
    raw = 100 * np.asarray(RUN.step_accuracy)
    # Half an epoch is two steps.
    np.testing.assert_allclose(steps.y, [raw[0], *(raw[1:] + raw[:-1]) / 2])
    assert steps.line.width < traces["adabet"].line.width
    assert steps.line.color == "rgba(15,118,110,0.6)"
    assert (steps.hoverinfo, steps.showlegend, steps.mode) == ("skip", False, "lines")


def test_losses_by_epoch_differ_in_more_than_colour():
    traces = drawn(loss_figure([RUN], epochs=8, palette=LIGHT))
    assert set(traces) == {"adabet", f"adabet, {TRAINING_EPOCH}", f"adabet, {TRAINING_STEP}"}
    validation, training = traces["adabet"], traces[f"adabet, {TRAINING_EPOCH}"]
    assert (list(validation.x), list(validation.y)) == ([1, 2], [1.8, 1.0])
    assert (list(training.x), list(training.y)) == ([1, 2], [2.1, 1.3])
    assert training.line.dash == "dot"
    assert validation.line.dash != training.line.dash
    assert training.marker.color == LIGHT.surface
    assert training.hovertext[1] == "<b>adabet</b><br>epoch 2<br>training loss 1.300 nats"
    assert validation.hovertext[0] == "<b>adabet</b><br>epoch 1<br>validation loss 1.800 nats"


@BOTH
@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_run_has_one_colour_whatever_is_beside_it(draw, palette):
    runs = many(3)
    for shown in (runs, runs[2:]):
        traces = drawn(draw(shown, epochs=8, palette=palette))
        its = strategy_look(palette, runs[2].strategy)
        assert traces["run 2"].line.color == traces["run 2"].marker.color == its.color
        assert traces["run 2"].marker.symbol == its.mark


@BOTH
def test_twelve_runs_look_different(draw):
    traces = drawn(draw(many(12), epochs=8, palette=LIGHT))
    looks = {(traces[f"run {i}"].line.color, traces[f"run {i}"].marker.symbol) for i in range(12)}
    assert len(looks) == 12
    assert draw(many(12), epochs=8, palette=LIGHT).layout.height > 300
    assert draw(many(2), epochs=8, palette=LIGHT).layout.height == 300


def test_with_many_runs_training_loss_is_drawn_by_step_only():
    few, more = (loss_figure(many(count), epochs=8, palette=LIGHT) for count in (4, 5))
    assert sum(TRAINING_EPOCH in t.name for t in few.data) == 4 + 1  # the last is in the legend
    assert not any(TRAINING_EPOCH in t.name for t in more.data)
    assert f"run 4, {TRAINING_STEP}" in drawn(more)


@BOTH
def test_the_epochs_are_there_from_the_start_and_stay(draw):
    for runs in ([], [Curve("adabet", "adabet")], [RUN]):
        axis = draw(runs, epochs=8, palette=LIGHT).layout.xaxis
        assert list(axis.range) == [0, 8]
        assert (axis.tick0, axis.dtick, axis.title.text) == (0, 1, "Epoch")
    assert list(draw([RUN], epochs=1, palette=LIGHT).layout.xaxis.range) == [0, 2.5]


def test_accuracy_is_always_from_0_to_100_percent():
    for runs in ([], [RUN]):
        axis = accuracy_figure(runs, epochs=8, palette=LIGHT).layout.yaxis
        assert (list(axis.range), axis.ticksuffix) == ([0, 100], " %")
        assert axis.title.text == "Accuracy"


@BOTH
def test_without_points_a_note_says_when_they_come(draw):
    for runs in ([], [Curve("adabet", "adabet")]):
        figure = draw(runs, epochs=8, palette=LIGHT)
        assert [a.text for a in figure.layout.annotations] == [NO_POINT]
        assert not drawn(figure)
    assert not draw([RUN], epochs=8, palette=LIGHT).layout.annotations


@BOTH
def test_the_legend_has_waiting_runs_too(draw):
    figure = draw([RUN, Curve("head", "head")], epochs=8, palette=LIGHT)
    legend = [t.name for t in figure.data if t.showlegend is not False]
    assert legend[:2] == ["adabet", "head"]
    assert {VALIDATION, TRAINING_STEP} <= set(legend[2:])
    assert figure.layout.showlegend
    keys = [t for t in figure.data if t.name in legend[2:]]
    assert all(t.line.color == LIGHT.secondary for t in keys)


@BOTH
def test_the_legend_does_not_change_when_the_first_point_comes(draw):
    before, after = (
        [t.name for t in draw([run], epochs=8, palette=LIGHT).data if t.showlegend is not False]
        for run in (Curve("adabet", "adabet"), RUN)
    )
    assert before == after


def test_the_legend_shows_each_kind_of_line_as_it_is_drawn():
    traces = {t.name: t for t in loss_figure([RUN], epochs=8, palette=LIGHT).data}
    for key, name in (
        (VALIDATION, "adabet"),
        (TRAINING_EPOCH, f"adabet, {TRAINING_EPOCH}"),
        (TRAINING_STEP, f"adabet, {TRAINING_STEP}"),
    ):
        shown, meant = traces[key], traces[name]
        assert shown.mode == meant.mode
        assert (shown.line.width, shown.line.dash) == (meant.line.width, meant.line.dash)


@BOTH
def test_one_step_is_a_dot_since_a_line_would_not_show(draw):
    first = Curve("adabet", "adabet", [1 / 16], [2.4], [0.1])
    figure = draw([first], epochs=8, palette=LIGHT)
    (dot,) = drawn(figure).values()
    assert dot.mode == "markers"
    assert list(dot.x) == [1 / 16]
    assert not figure.layout.annotations


@BOTH
def test_of_many_steps_enough_are_drawn_with_the_first_and_the_last(draw):
    x = np.arange(1, 10_001) / 1000
    run = Curve("adabet", "adabet", x, np.ones(len(x)), np.ones(len(x)))
    steps = drawn(draw([run], epochs=10, palette=LIGHT))[f"adabet, {TRAINING_STEP}"]
    assert len(steps.x) == MOST_STEPS
    assert (steps.x[0], steps.x[-1]) == (x[0], x[-1])


def test_the_loss_axis_starts_at_0_and_holds_every_curve():
    axis = loss_figure([RUN], epochs=8, palette=LIGHT).layout.yaxis
    assert axis.range[0] == 0
    assert 2.4 < axis.range[1] < 2.6
    assert axis.title.text == "Loss (nats)"
    assert list(loss_figure([], epochs=8, palette=LIGHT).layout.yaxis.range) == [0, 1]


def test_a_logarithmic_loss_axis_has_plain_numbers_for_ticks():
    axis = loss_figure([RUN], epochs=8, palette=LIGHT, log=True).layout.yaxis
    assert axis.type == "log"
    low, high = axis.range
    assert 10**low < 0.7  # the last step's mean over two is 0.7
    assert 10**high > 2.4
    shown = [
        text
        for tick, text in zip(axis.tickvals, axis.ticktext, strict=True)
        if low <= np.log10(tick) <= high
    ]
    assert shown == ["1", "2"]


def test_a_loss_of_0_or_none_at_all_does_not_break_a_logarithmic_axis():
    zero = Curve(
        "a", "adabet", epoch_x=[1, 2], train_loss=[1, 0], val_loss=[1, 0], val_accuracy=[1, 1]
    )
    for runs in ([], [zero]):
        low, high = loss_figure(runs, epochs=8, palette=LIGHT, log=True).layout.yaxis.range
        assert np.isfinite([low, high]).all()
        assert low < high


def test_a_run_that_diverges_leaves_a_gap_and_a_readable_axis():
    lost = Curve("a", "adabet", [1, 2, 3], [2.0, np.inf, np.nan], [0.1] * 3)
    figure = loss_figure([lost], epochs=8, palette=LIGHT)
    (steps,) = drawn(figure).values()
    np.testing.assert_array_equal(steps.y, [2.0, np.nan, np.nan])
    assert list(figure.layout.yaxis.range) == [0, pytest.approx(2.1)]


def test_smoothing_looks_back_only():
    x, y = [0.25, 0.5, 0.75, 1.0], [4.0, 2.0, 0.0, 10.0]
    np.testing.assert_allclose(smooth(x, y, over=0.5), [4, 3, 1, 5])
    np.testing.assert_allclose(smooth(x[:3], y[:3], over=0.5), [4, 3, 1])
    np.testing.assert_allclose(smooth(x, y, over=9), [4, 3, 2, 4])
    np.testing.assert_allclose(smooth(x, y, over=0.1), y)
    assert smooth([], []).shape == (0,)


def test_smoothing_recovers_after_a_huge_loss():
    x = np.arange(1, 7) / 4
    np.testing.assert_array_equal(
        smooth(x, [2, np.inf, 2, 2, 1e20, 4], over=0.25), [2, np.nan, 2, 2, 1e20, 4]
    )
    assert smooth(x, [1e20, 2, 2, 2, 2, 2], over=0.5)[3] == 2


@pytest.mark.parametrize("count", [7, 16, 31])
def test_rounding_does_not_change_how_many_steps_are_averaged(count):
    x = np.arange(1, 4 * count + 1) / count
    sizes = 1 / smooth(x, np.eye(len(x))[-1], over=1.0)[-1]
    assert sizes == pytest.approx(count)


def test_the_metrics_of_a_run_become_its_curve():
    steps = [StepMetrics(n, 1 + n // 4, 2.0 / n, n / 10, 0.1, 32, 0.1 * n, False) for n in (1, 2)]
    epochs = [EpochMetrics(1, 1.5, 0.3, 1.2, 0.45, 2.0)]
    curve = Curve.of("adabet", "last", steps, epochs, steps_per_epoch=4)
    assert (curve.name, curve.strategy) == ("adabet", "last")
    assert (curve.step_x, curve.step_loss) == ([0.25, 0.5], [2.0, 1.0])
    assert curve.step_accuracy == [0.1, 0.2]
    assert (curve.epoch_x, curve.train_loss) == ([1], [1.5])
    assert (curve.val_loss, curve.val_accuracy) == ([1.2], [0.45])


def test_lengths_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="`step_accuracy` must have 2 entries, got 1"):
        Curve("a", "adabet", [1, 2], [1, 1], [1])
    with pytest.raises(ValueError, match="`val_loss` must have 1 entries, got 0"):
        Curve("a", "adabet", epoch_x=[1], train_loss=[1], val_accuracy=[1])


@BOTH
def test_there_is_no_run_without_an_epoch(draw):
    with pytest.raises(ValueError, match="`epochs` must be at least 1, got 0"):
        draw([], epochs=0, palette=LIGHT)
    with pytest.raises(ValueError, match="`steps_per_epoch` must be at least 1, got 0"):
        Curve.of("a", "adabet", [], [], steps_per_epoch=0)


@BOTH
def test_a_hidden_run_stays_hidden_when_points_come(draw):
    revisions = {draw(runs, epochs=8, palette=LIGHT).layout.uirevision for runs in ([], [RUN])}
    assert revisions == {"training"}
