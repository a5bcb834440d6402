"""Networks as people bring them, from public reports: analysed and trained as PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis.errors import ModelError, TrainingError
from analysis.instruments.output_flow import Head
from analysis.instruments.wrappers import remove_wrappers
from analysis.models.heads import give_classes
from analysis.models.own_code import code_network
from analysis.options import Recipe
from analysis.topology.pipeline import analyze
from analysis.training.freezing import freeze, trained_names
from analysis.training.loop import finetune
from analysis.training.metrics import StepMetrics
from analysis.training.prediction import predict_peak
from analysis.training.splits import TensorImages
from tests.factories import hooks_left, same_bits, state_of

WIDTH, SIDE, CLASSES = 4, 5, 3
IMAGES = torch.randn(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % CLASSES


class Net(nn.Module):
    """A convolution, a part that a rule runs, and a linear head."""

    def __init__(self, rule: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        for name, part in parts.items():
            self.add_module(name, part)
        self.rule, self.fc = rule, nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rule(self, self.stem(x))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def conv() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1)


def closure() -> nn.Module:
    model = Net(lambda net, x: net.a(x), a=conv())
    forward = model.forward
    model.forward = lambda x: forward(x.clone())  # type: ignore[assignment]
    return model


def compiled_forward() -> nn.Module:
    model = Net(lambda net, x: net.a(x), a=conv())
    model.forward = torch.compile(model.forward, backend="eager")  # type: ignore[method-assign]
    return model


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(torch.randn(WIDTH, WIDTH, 1, 1))])
        self.more = nn.ParameterDict({"b": nn.Parameter(torch.randn(WIDTH))})

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.w[0], self.more["b"])


class Experts(nn.Module):
    """Each expert gets the images that are routed to it: here the last one gets all."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([conv(), conv()])

    def forward(self, x: Tensor) -> Tensor:
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            chosen = torch.full((len(x),), number == 1)
            result[chosen] = expert(x[chosen])
        return result


class Observed(nn.Module):
    """As the observers of torch.ao.quantization: its buffers are empty until the first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()
        self.register_buffer("least", torch.tensor([]))

    def forward(self, x: Tensor) -> Tensor:
        self.least.resize_(WIDTH).copy_(x.detach().amin((0, 2, 3)))
        return self.conv(x)  # type: ignore[no-any-return]


class Whole(nn.Module):
    """Its own parameters, beside layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(WIDTH, WIDTH)), nn.Parameter(torch.randn(WIDTH))
        self.inner = conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.einsum("nchw,cd->ndhw", x, self.a) + self.b[:, None, None])  # type: ignore[no-any-return]


class Pair(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight, self.count = nn.Parameter(torch.randn(WIDTH, 1, 1)), count

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x * self.weight, x > 0)[: self.count]


REPORTS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "forward is a closure (huggingface/accelerate#1835, facebookresearch/fairscale#816)": (
        closure, ("stem", "a", "fc")
    ),
    "forward is compiled (karpathy/nanoGPT#325)": (compiled_forward, ("stem", "a", "fc")),
    "all is compiled (DLR-RM/stable-baselines3#2137)": (
        lambda: torch.compile(  # type: ignore[return-value]
            Net(lambda net, x: net.a(x), a=conv()), backend="eager"
        ), ("stem", "a", "fc")
    ),
    "a part in DataParallel (antoinebrl/torchextractor#1, cipriancorneanu/dnn-topology#3)": (
        lambda: nn.DataParallel(Net(lambda net, x: net.a(x), a=nn.DataParallel(conv()))),
        ("stem", "a", "fc"),
    ),
    "lists of parameters (TylerYep/torchinfo#190)": (
        lambda: Net(lambda net, x: net.a(x), a=Lists()), ("stem", "a", "fc")
    ),
    "bare parameters (TylerYep/torchinfo#84)": (
        lambda: Net(lambda net, x: net.a(x), a=Whole()), ("stem", "a.inner", "a", "fc")
    ),
    "an expert without images (bytedance/xpu-perf#188)": (
        lambda: Net(lambda net, x: net.a(x), a=Experts()), ("stem", "a.experts.1", "fc")
    ),
    "buffers that grow (pytorch/pytorch#33626)": (
        lambda: Net(lambda net, x: net.a(x), a=Observed()), ("stem", "a.conv", "fc")
    ),
    "a layer of two outputs (frgfm/torch-scan#80)": (
        lambda: Net(lambda net, x: net.a(x)[0], a=Pair(2)), ("stem", "a", "fc")
    ),
    "a tuple of one output (meta-pytorch/captum#195)": (
        lambda: Net(lambda net, x: net.a(x)[0], a=Pair(1)), ("stem", "a", "fc")
    ),
    "forward called directly (numenta/nupic.torch#51)": (
        lambda: Net(lambda net, x: net.a.forward(x), a=conv()), ("stem", "fc")
    ),
    "one value per channel (pytorch/pytorch#4534)": (
        lambda: Net(lambda net, x: net.a(x.mean((2, 3), keepdim=True)), a=nn.BatchNorm2d(WIDTH)),
        ("stem", "a", "fc"),
    ),
}  # fmt: skip


def built(report: str) -> nn.Module:
    torch.manual_seed(0)
    return remove_wrappers(REPORTS[report][0]())


def hooked_clouds(model: nn.Module, names: tuple[str, ...]) -> dict[str, Tensor]:
    clouds: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            clouds[name] = first.flatten(1).double().clone()

        return hook

    for name in names:
        model.get_submodule(name).register_forward_hook(keep(name))
    with torch.no_grad():
        model.eval()(IMAGES.clone())
    return clouds


def plain_losses(model: nn.Module) -> list[float]:
    """Of two steps with all images."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2)
    losses = []
    for _ in range(2):
        loss = functional.cross_entropy(model.train()(IMAGES), LABELS)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    return losses


RECIPE = Recipe(
    epochs=2, batch_size=6, learning_rate=0.05, momentum=0.9, weight_decay=0.0, optimizer="sgd"
)


def losses_of(model: nn.Module, labels: Tensor = LABELS) -> list[float]:
    """Of two epochs of one batch, after the memory was predicted, as for every run."""
    with suppress(ModelError):
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        predict_peak(model, (3, SIDE, SIDE), trained=trained, recipe=RECIPE)
    data = TensorImages(IMAGES, labels)
    items = list(finetune(model, data, data, data, recipe=RECIPE))
    return [item.loss for item in items if isinstance(item, StepMetrics)]


@pytest.mark.parametrize("report", REPORTS)
def test_a_reported_network_is_analysed_and_trained_as_torch_does(report: str) -> None:
    layers = REPORTS[report][1]
    model = built(report)
    before = state_of(model)
    analysis = analyze(model, IMAGES)
    assert tuple(analysis.names) == layers
    assert analysis.head == "fc"
    clouds = hooked_clouds(built(report), layers)
    for layer in analysis.layers:
        right = torch.cdist(clouds[layer.name], clouds[layer.name]).numpy()
        np.testing.assert_allclose(layer.distances, right, atol=1e-4 * right.max(), rtol=1e-4)
    assert all(same_bits(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert losses_of(model) == pytest.approx(plain_losses(built(report)), rel=1e-5)
    assert hooks_left(model) == []


def test_the_parameters_in_a_list_train_with_their_layer() -> None:
    model = built("lists of parameters (TylerYep/torchinfo#190)")
    layers = analyze(model, IMAGES).layers
    assert [layer.parameters for layer in layers] == [112, WIDTH * WIDTH + WIDTH, 15]
    trained = trained_names(model, "layers", ["a"], known=["stem", "a", "fc"])
    assert trained == {"a.w.0", "a.more.b"}


def test_frozen_norms_keep_their_statistics() -> None:
    """pytorch/pytorch#86590, pgniewko/gt-pyg#112: they go on moving in training mode."""
    torch.manual_seed(0)
    model = Net(lambda net, x: net.a(x), a=nn.Sequential(conv(), nn.BatchNorm2d(WIDTH)))
    before = state_of(model)
    freeze(model, {"fc.weight", "fc.bias"})
    losses_of(model)
    changed = [n for n, t in model.state_dict().items() if not same_bits(t, before[n])]
    assert changed == ["fc.weight", "fc.bias"]


class Getter(nn.ModuleDict):
    """Runs what it has, in order, and keeps one output."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = {}
        for name, module in self.items():
            x = outputs[name] = module(x)
        return {"feature": outputs["a"]}


@pytest.mark.parametrize("kind", [Getter, lambda parts: nn.Sequential(*parts.values())])
def test_networks_that_run_whatever_they_have_get_a_head(kind: Any) -> None:
    """pytorch/vision#1895: IntermediateLayerGetter, and timm's networks of features."""

    def backbone() -> nn.Module:
        torch.manual_seed(0)
        return kind({"stem": nn.Conv2d(3, WIDTH, 3), "a": conv()})  # type: ignore[no-any-return]

    model, plain = backbone(), backbone()
    give_classes(model, Head(None, features=WIDTH), CLASSES)
    head = nn.Linear(WIDTH, CLASSES)
    head.load_state_dict(model.get_submodule("new_classifier").state_dict())

    class Behind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.head = plain, head

        def forward(self, x: Tensor) -> Tensor:
            y = self.plain(x)
            return self.head((y["feature"] if isinstance(y, dict) else y).mean((2, 3)))  # type: ignore[no-any-return]

    assert losses_of(model) == pytest.approx(plain_losses(Behind()), rel=1e-5)
    with pytest.raises(RuntimeError):
        model(IMAGES[:, :2])
    assert model.get_submodule("new_classifier") is not None  # also after an error


def test_a_network_with_too_few_classes_says_so() -> None:
    """aws/studio-lab-examples#236, ultralytics/ultralytics#4514: Target is out of bounds."""
    torch.manual_seed(0)
    with pytest.raises(
        TrainingError, match=r"^The network gives 3 numbers for an image, but there are 6 classes. "
    ):
        losses_of(Net(lambda net, x: x), torch.arange(6))


def test_a_network_that_halves_by_itself_says_so() -> None:
    """eckertzhang/HumanRef#3, zai-org/CogVLM#282: its weights are float32 here."""
    model = Net(lambda net, x: net.a(x.half()).float(), a=conv())
    with pytest.raises(ModelError, match=r"^The network computes in half precision by itself, "):
        analyze(model, IMAGES)


def test_tensors_that_stay_on_another_device_are_named() -> None:
    """wingedsheep/transformer#4, zyw-stu/CPA-Enhancer#3: attributes that `to` does not move."""
    table = torch.ones(WIDTH, 1, 1, device="meta")
    model = Net(lambda net, x: net.a(x) + table, a=conv())
    sentence = "^The network uses tensors on another device than the images. Register them with reg"
    with pytest.raises(ModelError, match=sentence):
        analyze(model, IMAGES)
    with pytest.raises(TrainingError, match=sentence):
        losses_of(model)


def test_a_network_without_a_forward_pass_says_so() -> None:
    """sobamchan/pytorch-lightning-transformers#1: its parts are called in `training_step`."""

    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = conv()

        def training_step(self, x: Tensor) -> Tensor:
            return self.model(x)  # type: ignore[no-any-return]

    sentence = "^The module Trained has no forward pass, but is called. Give it a method `forward`"
    with pytest.raises(ModelError, match=sentence):
        analyze(Trained(), IMAGES)
    with pytest.raises(TrainingError, match=sentence):
        losses_of(Trained())


def test_a_part_that_is_a_list_of_modules_is_named() -> None:
    """chenziwenhaoshuai/Vision-KAN#3, yuval-alaluf/Attend-and-Excite#5: it was called."""
    model = Net(lambda net, x: net.a(x), a=nn.ModuleList([conv()]))
    sentence = "^The module ModuleList has no forward pass, but is called.*, or call what it con"
    with pytest.raises(ModelError, match=sentence):
        analyze(model, IMAGES)


def test_outputs_beside_the_logits_in_training_are_named() -> None:
    """pytorch/vision#302, NVIDIA/apex#27: Inception's, as many networks copy it."""

    class Beside(Net):
        def forward(self, x: Tensor) -> Any:
            logits = super().forward(x)
            return (logits, logits) if self.training else logits

    model = Beside(lambda net, x: net.a(x), a=conv())
    assert analyze(model, IMAGES).head == "fc"
    sentence = r"This one returns tuple for 6 images in training mode: let its forward pass return"
    with pytest.raises(TrainingError, match=sentence):
        losses_of(model)


@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_weights_of_another_number_format_are_named(kind: str) -> None:
    """cabooster/SRDTrans#16, fshnkarimi/LungTumor-Segmentation#1: images are float32."""
    model: nn.Module = Net(lambda net, x: net.a(x), a=conv())
    if kind == "linear":
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, CLASSES))
    assert len(analyze(model.double(), IMAGES).layers) == (3 if kind == "convolution" else 1)
    with pytest.raises(TrainingError, match=r"^The network's weights are of another number format"):
        losses_of(model)
    losses_of(model.float())


def test_numbers_taken_from_a_gpu_are_named() -> None:
    """xiaxin1998/DHCN#14, WenjieDu/PyPOTS#21: `numpy` in forward works on the CPU alone."""

    def convert(net: Net, x: Tensor) -> Tensor:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")

    with pytest.raises(ModelError, match="tensors on another device than the images"):
        analyze(Net(convert), IMAGES)


def test_a_network_that_chooses_its_device_is_looked_at_on_the_cpu(tmp_path: Path) -> None:
    """sksq96/pytorch-summary#36: its code calls `cuda`, and the first images are on the CPU."""
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Away(nn.Parameter):\n    device = torch.device('cuda')\n"  # it only says so
        "class Net(nn.Module):\n    moved = ()\n    def __init__(self):\n"
        "        super().__init__()\n        self.scale = Away(torch.ones(1))\n"
        "    def to(self, *where):\n        self.moved = where\n        return self\n"
    )
    model, _ = code_network(f"{tmp_path / 'net.py'}:Net", None)
    assert model.moved == ("cpu",)


def test_a_classifier_without_a_layer_is_named_as_its_maker_did(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\nclass Cosine(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Parameter(torch.randn(3, 75))\n        self.a = nn.Conv2d(3, 3, 1)\n"
        "    def forward(self, x):\n        return self.a(x).flatten(1) @ self.fc.t()\n"
    )
    model, _ = code_network(f"{tmp_path / 'net.py'}:Cosine", None)
    assert "as a layer: it is Cosine. Make it a linear layer" in analyze(model, IMAGES).remarks[0]
