"""Questions and cached answers: the newest first, and no waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.costs.analysis_cost import CostRequest, Probe
from analysis.costs.training_memory import MemoryEstimate, MemoryRequest, estimate
from analysis.instruments.memory_use import MemoryUse
from analysis.jobs.estimates import Answer, Estimates, Question
from analysis.jobs.jobs import Jobs
from analysis.models import load_model
from analysis.options import AnalysisOptions, Recipe
from analysis.system.devices import available_devices
from analysis.training.prediction import predict_peak
from tests.analysis.run_faults import wait_until

HEAD = MemoryRequest("pocket-resnet20", 10, "head", ("fc",), ("fc",))
PATIENCE = 60  # seconds


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    jobs = Jobs()
    yield jobs
    jobs.close()


def wait_for(estimates: Estimates, request: Question[Answer]) -> Answer | str:
    end = time.monotonic() + PATIENCE
    while (answer := estimates.get(request)) is None:
        assert time.monotonic() < end, "no answer came"
        time.sleep(0.02)
    return answer


class FakeJobs:
    """Jobs that are done when they start, and record their requests."""

    warms_later = False

    def __init__(self) -> None:
        self.asked: list[Question[Any]] = []
        self.open = False

    def start(self, request: Question[Any]) -> SimpleNamespace:
        self.asked.append(request)
        while not self.open:
            time.sleep(0.005)
        model = request.model if isinstance(request, MemoryRequest) else ""
        if model == "broken":
            return SimpleNamespace(state="failed", result=None, error="It cannot be.")
        if model == "raising":
            raise OSError("no process")
        return SimpleNamespace(state="done", result=MemoryEstimate(MemoryUse(), 1), error="")


def test_a_worker_gives_the_same_answer_as_the_function(jobs: Jobs) -> None:
    assert wait_for(Estimates(jobs), HEAD) == estimate(HEAD)


def test_more_images_in_a_batch_take_more() -> None:
    small, large = (
        estimate(MemoryRequest("pocket-vgg", 10, "everything", recipe=Recipe(batch_size=n)))
        for n in (8, 16)
    )
    # Only activations and the batch grow; weights, gradients and state stay.
    assert small.peak.activations * 2 == large.peak.activations
    assert small.peak.parameters == large.peak.parameters
    assert small.analytic == large.analytic  # always of a batch of 8


def test_the_newest_question_is_answered_first_and_each_only_once() -> None:
    fake = FakeJobs()
    estimates = Estimates(fake)  # type: ignore[arg-type]
    requests = [MemoryRequest(f"m{i}", 10, "everything") for i in range(4)]
    for request in requests:
        assert estimates.get(request) is None
    fake.open = True
    end = time.monotonic() + PATIENCE
    while len(fake.asked) < len(requests):  # asking again would make a question the newest
        assert time.monotonic() < end
        time.sleep(0.005)
    for request in requests:
        assert isinstance(wait_for(estimates, request), MemoryEstimate)
    assert fake.asked[1:] == [r for r in requests[::-1] if r != fake.asked[0]]
    assert len(set(fake.asked)) == len(fake.asked) == 4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the estimates; `now` sets it."""
    clock = SimpleNamespace(now=0.0, sleep=time.sleep)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("analysis.jobs.estimates.time", clock)
    return clock


def test_a_request_that_nobody_waits_for_is_dropped(clock: SimpleNamespace) -> None:
    fake = FakeJobs()
    estimates = Estimates(fake)  # type: ignore[arg-type]
    begun, silent, waiting = (MemoryRequest(f"m{i}", 10, "everything") for i in range(3))
    assert estimates.get(begun) is None
    wait_until(lambda: fake.asked)
    assert estimates.get(silent) is None
    clock.now += 4
    assert estimates.get(waiting) is None
    clock.now += 4
    fake.open = True
    wait_for(estimates, waiting)
    wait_until(lambda: not estimates._working)
    assert fake.asked == [begun, waiting]
    assert isinstance(estimates.known(begun), MemoryEstimate)


def test_no_question_is_asked_while_a_worker_is_to_start_later(clock: SimpleNamespace) -> None:
    fake = FakeJobs()
    fake.open = fake.warms_later = True
    estimates = Estimates(fake)  # type: ignore[arg-type]
    left, waiting = (MemoryRequest(f"m{i}", 10, "everything") for i in range(2))
    assert estimates.get(left) is None
    clock.now += 4
    assert estimates.get(waiting) is None
    clock.now += 4
    time.sleep(0.1)  # for several looks
    assert estimates._working
    assert not fake.asked
    fake.warms_later = False
    wait_for(estimates, waiting)
    wait_until(lambda: not estimates._working)
    assert fake.asked == [waiting]


def test_only_answers_that_depend_on_free_memory_expire(
    clock: SimpleNamespace,
) -> None:
    fake = FakeJobs()
    fake.open = True
    estimates = Estimates(fake)  # type: ignore[arg-type]
    cost = CostRequest(AnalysisOptions())
    for request in (cost, HEAD):
        wait_for(estimates, request)
    clock.now += CostRequest.kept_for
    assert estimates.known(HEAD) is not None
    assert estimates.known(cost) is None
    assert estimates.get(cost) is None
    wait_for(estimates, cost)
    assert fake.asked == [cost, HEAD, cost]


@pytest.mark.parametrize(
    ("model", "sentence"), [("broken", "cannot be"), ("raising", "no process")]
)
def test_a_failure_is_reported_and_the_next_question_answered(model: str, sentence: str) -> None:
    fake = FakeJobs()
    fake.open = True
    estimates = Estimates(fake)  # type: ignore[arg-type]
    answer = wait_for(estimates, MemoryRequest(model, 10, "everything"))
    assert isinstance(answer, str)
    assert sentence in answer
    assert isinstance(wait_for(estimates, HEAD), MemoryEstimate)


def test_seed_and_epochs_do_not_change_a_question() -> None:
    one, other = (
        MemoryRequest("pocket-vgg", 10, "everything", recipe=recipe)
        for recipe in (Recipe(), Recipe(epochs=3, seed=7, learning_rate=0.5))
    )
    assert one == other
    assert one != MemoryRequest("pocket-vgg", 10, "everything", recipe=Recipe(momentum=0))


def test_the_size_of_the_images_is_the_weights_own_or_the_chosen_one() -> None:
    recipe = Recipe(batch_size=2)
    network = load_model("squeezenet1_1", weights="random", num_classes=10)
    everything = {name for name, _ in network.named_parameters()}
    for requested, side in ((0, 224), (112, 112)):
        request = MemoryRequest(
            "squeezenet1_1", 10, "everything", recipe=recipe, input_side=requested
        )
        by_hand = predict_peak(network, (3, side, side), trained=everything, recipe=recipe)
        assert estimate(request).peak == by_hand


def test_random_weights_ask_the_same_question_as_pretrained_ones() -> None:
    requests = [MemoryRequest("vit_b_32", 10, "head", weights=w) for w in ("pretrained", "random")]
    assert requests[0] == requests[1]
    assert requests[0] != MemoryRequest("vit_b_32", 10, "head", weights="file:/mine.pt")


def test_other_answers_are_cached_as_well(jobs: Jobs) -> None:
    estimates = Estimates(jobs)
    request = CostRequest(AnalysisOptions(model="pocket-vgg"))
    measured = wait_for(estimates, request)
    assert isinstance(measured, Probe)
    assert measured.footprint.layers == 10
    # Another number of images is no other question.
    assert estimates.known(CostRequest(AnalysisOptions(model="pocket-vgg", samples=99))) is measured
    assert estimates.known(CostRequest(AnalysisOptions(model="pocket-vit"))) is None


def test_a_missing_device_is_reported(jobs: Jobs) -> None:
    if len(available_devices()) > 1:
        pytest.skip("there is a GPU")
    request = CostRequest(AnalysisOptions(model="pocket-vgg", device="cuda"))
    sentence = str(wait_for(Estimates(jobs), request))
    assert "`device` must be " in sentence
    assert "got 'cuda'" in sentence
