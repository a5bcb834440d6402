"""The ledger against hand counts, and against torch's own record of its allocator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer
from torch.profiler import ProfilerActivity, profile

from analysis.instruments.ledger import Ledger
from analysis.instruments.memory_use import MemoryUse
from analysis.system.memory import allocator_peak, resident_bytes
from analysis.training.loop import training_step
from tests.factories import hooks_left

FLOAT, LONG = 4, 8  # bytes


def two_layers(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def tracked_step(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> Ledger:
    with Ledger(model, optimizer, (images, labels)) as ledger:
        training_step(model, optimizer, images, labels)
    return ledger


def tracked_steps(model: nn.Module, images: Tensor, classes: int) -> Iterator[MemoryUse]:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = SGD(trained, lr=0.1, momentum=0.9)
    labels = torch.arange(len(images)) % classes
    for _ in range(2):
        yield tracked_step(model, optimizer, images, labels).peak


def test_large_weights_by_hand() -> None:
    """With large weights the peak is where all gradients and all momentum exist."""
    n, i, h, c = 2, 50, 40, 10
    weights = FLOAT * (i * h + h + h * c + c)
    batch = FLOAT * n * i + LONG * n
    results = FLOAT * n * c + FLOAT  # the logits and the loss, which the loop gives back
    first, second = tracked_steps(two_layers(i, h, c), torch.ones(n, i), c)
    # The first step makes the momentum after the backward pass, whose graph is freed by then.
    assert first == MemoryUse(weights, weights, weights, 0, batch + results)
    # The second has it from the start, so its peak is the end of the backward pass: the last
    # gradient made (of the first bias) meets that of the ReLU's input, of which it is the sum,
    # and the 1 that the backward pass began with. Nothing kept is left: the ReLU is done.
    last = FLOAT * n * h + FLOAT
    assert second == MemoryUse(weights, weights, weights, 0, batch + results + last)
    assert second.total == 3 * weights + batch + results + last


def test_large_activations_by_hand() -> None:
    """With large activations the peak is in the backward pass of the ReLU."""
    n, i, h, c = 64, 4, 256, 3
    first_layer, last_layer = FLOAT * (i * h + h), FLOAT * (h * c + c)
    weights = first_layer + last_layer
    activation = FLOAT * n * h
    batch = FLOAT * n * i + LONG * n
    # The loss, the 1 that the backward pass begins with, and the logits.
    results = FLOAT + FLOAT + FLOAT * n * c
    # By then the last layer is done: it has its gradients, and the log-softmax is freed. The
    # ReLU has its output kept, the gradient of that given, and makes the gradient of its input.
    use = {
        "parameters": weights,
        "gradients": last_layer,
        "activations": activation,
        "other": batch + results + 2 * activation,
    }
    first, second = tracked_steps(two_layers(i, h, c), torch.ones(n, i), c)
    assert first == MemoryUse(**use, optimizer=0)
    assert second == MemoryUse(**use, optimizer=weights)
    assert second.total == first.total + weights


def test_a_frozen_first_layer_by_hand() -> None:
    """No gradient goes through the ReLU: the peak is in its forward pass or in the loss."""
    n, i, h, c = 64, 4, 256, 3
    model = two_layers(i, h, c)
    model[0].requires_grad_(False)
    weights, last_layer = FLOAT * (i * h + h + h * c + c), FLOAT * (h * c + c)
    activation, batch = FLOAT * n * h, FLOAT * n * i + LONG * n
    # The ReLU's input, for a moment, and its output, which the last layer keeps for its weight.
    use = {"parameters": weights, "activations": activation, "other": batch + activation}
    first, second = tracked_steps(model, torch.ones(n, i), c)
    assert first == MemoryUse(**use)
    assert second == MemoryUse(**use, optimizer=last_layer)


def test_many_classes_by_hand() -> None:
    """With many classes the peak is where the gradient of the logits is made."""
    n, i, c = 64, 2, 100
    model = nn.Sequential(nn.Linear(i, c))
    weights, batch = FLOAT * (i * c + c), FLOAT * n * i + LONG * n
    logits = FLOAT * n * c
    # Logits, the gradient of the log-softmax and that of the logits; the log-softmax itself is
    # the one thing still kept. Beside them the loss and the 1 the backward pass begins with.
    other = batch + 3 * logits + 2 * FLOAT
    first, second = tracked_steps(model, torch.ones(n, i), c)
    assert first == MemoryUse(parameters=weights, activations=logits, other=other)
    assert second == MemoryUse(weights, 0, weights, logits, other)


class ConvNet(nn.Module):
    """A residual block with batch norm and ReLU in place; its buffers are of two types."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)) + x)
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


def handed_out(step: Callable[[], object], path: Path) -> int:
    """The most bytes that torch's CPU allocator gave out during a call, beyond those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    recorded.export_chrome_trace(str(path))
    events = [e for e in json.loads(path.read_text())["traceEvents"] if e["name"] == "[memory]"]
    sizes = [e["args"]["Bytes"] for e in sorted(events, key=lambda event: float(event["ts"]))]
    assert len(sizes) > 20
    return max(accumulate(sizes))


# What a kernel takes for a moment inside itself, which the ledger says it does not see: a batch
# norm's scale and shift of 8 channels.
SCALE_AND_SHIFT = 2 * 8 * FLOAT


@pytest.mark.parametrize(
    ("trained", "inside"),
    [
        ("conv1", SCALE_AND_SHIFT),  # the peak is in a batch norm's forward pass
        ("conv2", SCALE_AND_SHIFT),
        ("bn2", 0),  # it is in the backward pass
        ("fc", SCALE_AND_SHIFT),
    ],
)
def test_the_peak_is_that_of_torchs_allocator(trained: str, inside: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ConvNet()
    names = ["conv1", "bn1", "conv2", "bn2", "fc"]
    for name in names[: names.index(trained)]:
        model.get_submodule(name).requires_grad_(False).eval()
    tensors = [p for p in model.parameters() if p.requires_grad]
    optimizer = SGD(tensors, lr=0.1, momentum=0.9)
    images, labels = torch.randn(16, 3, 12, 12), torch.arange(16) % 5

    # oneDNN's convolutions copy into layouts of their own, and how depends on the processor.
    with torch.backends.mkldnn.flags(enabled=False):
        training_step(model, optimizer, images, labels)  # now the momentum is there
        peak = handed_out(
            lambda: training_step(model, optimizer, images, labels), tmp_path / "trace.json"
        )
        tracked = tracked_step(model, optimizer, images, labels).peak.total
    there = [*model.parameters(), *model.buffers(), *tensors, images, labels]  # kept: the momentum
    assert tracked == sum(t.numel() * t.element_size() for t in there) + peak - inside


def test_kinds_of_tensors_that_exist_before_the_step() -> None:
    model = ConvNet()
    model.fc.weight.grad = torch.zeros_like(model.fc.weight)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.state[model.fc.weight]["momentum_buffer"] = torch.zeros_like(model.fc.weight)
    optimizer.state[model.fc.bias]["momentum_buffer"] = None  # as SGD leaves it before a step
    images = torch.zeros(4, 3, 12, 12)
    weights = 3 * 8 * 9 + 8 + 8 * 8 * 9 + 4 * 8 + 8 * 5 + 5
    # Two norms: mean and variance of 8 channels, and the number of batches (int64).
    buffers = 2 * (2 * 8 * FLOAT + LONG)
    tracked = Ledger(model, optimizer, (images,)).peak
    assert tracked == MemoryUse(
        parameters=FLOAT * weights,
        gradients=FLOAT * 8 * 5,
        optimizer=FLOAT * 8 * 5,
        other=buffers + FLOAT * images.numel(),
    )


def test_views_and_operations_in_place_cost_nothing() -> None:
    model = nn.Linear(1, 1, bias=False)
    with Ledger(model) as ledger:
        vector = torch.ones(100)
        assert ledger.bytes == 4 + 400
        view = vector.view(10, 10).t()[2:]
        view.add_(1).relu_()
        vector.mul_(2)
        assert ledger.bytes == 4 + 400
        del vector  # the view holds it still
        assert ledger.bytes == 4 + 400
        del view
        assert ledger.bytes == 4
        other = torch.ones(10)
        assert ledger.bytes == 4 + 40
        del other
    assert ledger.peak.total == 4 + 400
    assert ledger.bytes == 4


def test_the_peak_counts_only_tensors_that_live_at_the_same_moment() -> None:
    model = nn.Linear(1, 1, bias=False)
    with Ledger(model) as ledger:
        early = torch.ones(50)
        del early
        a, b = torch.ones(100), torch.ones(200)
        del a
        later = torch.ones(90)
    assert ledger.peak == MemoryUse(parameters=4, other=400 + 800)
    assert ledger.bytes == 4 + b.nbytes + later.nbytes


def test_a_weight_that_the_backward_pass_keeps_is_a_parameter() -> None:
    model = nn.Linear(30, 20, bias=False)
    images = torch.ones(2, 30, requires_grad=True)  # so that the weight is kept
    with Ledger(model, batch=(images,)) as ledger:
        output = model(images)
    assert ledger.peak == MemoryUse(parameters=FLOAT * 600, other=FLOAT * 60 + output.nbytes)


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False))
    model[1].weight = model[0].weight
    assert Ledger(model).peak == MemoryUse(parameters=FLOAT * 25)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_error_in_the_step_leaves_nothing_behind(where: str) -> None:
    model = two_layers(4, 8, 3)
    optimizer = SGD(model.parameters(), lr=0.1)

    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    target = model[1] if where == "forward" else model[0].weight
    handle = (
        target.register_forward_hook(fail) if where == "forward" else target.register_hook(fail)
    )
    with pytest.raises(RuntimeError, match="on purpose"):
        tracked_step(model, optimizer, torch.ones(2, 4), torch.tensor([0, 1]))
    handle.remove()
    assert hooks_left(model) == []
    assert not optimizer._optimizer_step_post_hooks


def test_a_tracked_step_leaves_nothing_behind_and_changes_no_number() -> None:
    models = [two_layers(4, 8, 3), two_layers(4, 8, 3)]
    optimizers = [SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    images, labels = torch.randn(6, 4), torch.arange(6) % 3
    for _ in range(3):
        tracked_step(models[0], optimizers[0], images, labels)
        cross_entropy(models[1](images), labels).backward()
        optimizers[1].step()
        optimizers[1].zero_grad()
    for tracked, plain in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(tracked, plain)
    assert hooks_left(models[0]) == []
    assert not optimizers[0]._optimizer_step_post_hooks


def test_gradients_kept_after_the_step_are_still_counted() -> None:
    model = nn.Linear(30, 20, bias=False)
    images = torch.ones(2, 30)
    with Ledger(model, batch=(images,)) as ledger:
        model(images).sum().backward()
        assert ledger.bytes == 2 * FLOAT * 600 + images.nbytes
        model.weight.grad = None
        assert ledger.bytes == FLOAT * 600 + images.nbytes
    assert ledger.peak.gradients == FLOAT * 600


def test_an_unused_graph_is_freed() -> None:
    """A ReLU keeps its own output: if the ledger held that, it would hold itself."""
    model = nn.Linear(30, 20, bias=False)
    with Ledger(model) as ledger:
        output = torch.relu(model(torch.ones(2, 30)))
        assert ledger.bytes > FLOAT * 600
        del output  # and no backward pass
        assert ledger.bytes == FLOAT * 600


def test_memory_of_the_process_and_of_no_gpu() -> None:
    assert resident_bytes() > 50 * 2**20  # torch alone is larger
    assert allocator_peak(torch.device("cpu")) is None
