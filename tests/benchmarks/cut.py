"""Prefix and rest of a cut network against the whole: torchvision's classifiers, and some of timm.

`python -m tests.benchmarks.cut NAME ...` examines only these. The weights are random, and
drawn so that every layer matters: many networks begin with a head, a scale or a norm of zeros.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from analysis.instruments.behaviour import kept_buffers, seeded
from analysis.models import load_model
from analysis.models.catalogue import MODELS
from analysis.models.input_side import built_side
from analysis.models.loading import Bare, torchvision_network
from analysis.models.names import TIMM, model_spec
from analysis.options import Recipe
from analysis.training.freezing import freeze, owner_of, training_mode
from analysis.training.reuse import Batch, Passes, plan_passes
from analysis.training.splits import TensorImages
from tests.benchmarks.table import show_markdown, show_table, verdict

# One of each family, small ones.
TIMM_MODELS = (
    "cait_xxs24_224", "coat_lite_tiny", "convnextv2_atto",
    "crossvit_tiny_240", "cspresnet50", "davit_tiny", "deit_tiny_patch16_224", "dla34",
    "dpn48b", "edgenext_xx_small", "efficientformer_l1", "efficientvit_b0", "ese_vovnet19b_dw",
    "eva02_tiny_patch14_224", "fastvit_t8", "focalnet_tiny_srf", "ghostnet_050", "hiera_tiny_224",
    "hrnet_w18_small", "inception_next_atto", "levit_128s", "mambaout_femto", "mixer_s32_224",
    "mobilenetv4_conv_small", "mobilevit_xxs", "nf_resnet26", "poolformer_s12", "pvt_v2_b0",
    "repvgg_a0", "res2net50_14w_8s", "resmlp_12_224", "skresnet18", "twins_svt_small",
    "xcit_nano_12_p16_224",
)  # fmt: skip
SIDE = 32  # pixels, if a network accepts so few
COUNT, FIRST = 8, 5  # images, and those of them that are stored in the first batch
MIXED = (6, 0, 3, 7, 1, 5, 2, 4)  # the order in which the stored ones are read
TRAINED = 0.2  # of the layers with parameters, from the last on
SAME, SAME_GRADIENT = 1e-5, 1e-3
ROUNDING = 4  # times what other last digits of the images change, where that is more
CLASSES = 10


@dataclass(frozen=True)
class CutResult:
    """One network; differences are the largest as a share of the largest value."""

    model: str
    parameters: int
    side: int  # pixels
    trains_from: str  # the earliest trained layer
    why_plain: str  # why the frozen part runs in every epoch; empty if the network is cut
    logits: float = math.nan  # in training and in eval mode
    gradients: float = math.nan  # of all trained parameters together
    # Of the whole's logits and gradients, where the images have other last digits.
    rounding: tuple[float, float] = (math.nan, math.nan)
    saved: float = math.nan  # share of the floating-point operations of a forward pass


def measure(say: Callable[[str], None]) -> list[CutResult]:
    """Examine one network after the other in this process, small ones first."""
    specs = sorted(MODELS.values(), key=lambda spec: spec.parameters)
    torchvisions = [spec.name for spec in specs if spec.source == "torchvision"]
    return examine([*torchvisions, *(TIMM + name for name in TIMM_MODELS)], say)


def examine(names: list[str], say: Callable[[str], None]) -> list[CutResult]:
    results = []
    for name in names:
        results.append(_examine(name))
        say(f"{len(results)}/{len(names)} {' '.join(_row(results[-1]))}")
        gc.collect()
    return results


def show(results: list[CutResult]) -> None:
    """Print a table as text, then those of each kind that are cut, then the others in Markdown."""
    show_table(
        [
            "model",
            "parameters",
            "side",
            "trains from",
            "logits",
            "gradients",
            "rounding",
            "saved",
            "",
        ],
        [_row(result) for result in results],
    )
    print(
        f"The last {100 * TRAINED:.0f} % of the layers train. {COUNT} random images; the frozen "
        f"part ran on {FIRST} and {COUNT - FIRST} of them, the rest on all in another order. "
        "Largest differences from the whole network, as shares of the largest value; 'saved' is a "
        f"share of the operations of a pass. Targets: ≤ {SAME:g} of the logits, ≤ "
        f"{SAME_GRADIENT:g} of the gradients, or {ROUNDING} × what other last digits of the "
        "images change ('rounding')."
    )
    for kind, group in (
        ("torchvision", [r for r in results if not r.model.startswith(TIMM)]),
        ("timm", [r for r in results if r.model.startswith(TIMM)]),
    ):
        cut = [result for result in group if not result.why_plain]
        if cut:
            print(
                f"{kind}: {len(cut)} of {len(group)} are cut; they differ by at most "
                f"{max(r.logits for r in cut):.0e} (logits), {max(r.gradients for r in cut):.0e} "
                f"(gradients). {verdict(all(map(_is_same, cut)))}"
            )
    plain = [[result.model, result.why_plain] for result in results if result.why_plain]
    if plain:
        print()
        show_markdown(["runs in every epoch", "because"], plain)


def _row(result: CutResult) -> list[str]:
    start = [result.model, f"{result.parameters / 1e6:.1f} M", str(result.side), result.trains_from]
    if result.why_plain:
        return [*start, "", "", "", "", result.why_plain]
    numbers = [f"{x:.0e}" for x in (result.logits, result.gradients)]
    rounding = " ".join(f"{x:.0e}" for x in result.rounding)
    return [*start, *numbers, rounding, f"{100 * result.saved:.0f} %", verdict(_is_same(result))]


def _is_same(result: CutResult) -> bool:
    logits, gradients = (ROUNDING * rounding for rounding in result.rounding)
    return result.logits <= max(SAME, logits) and result.gradients <= max(SAME_GRADIENT, gradients)


def _examine(name: str) -> CutResult:
    network, side = _network(name)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(COUNT, 3, side, side, generator=generator)
    _fill(network, generator)
    _set_statistics(network, images)
    names = [name for name, _ in network.named_parameters()]
    layers = list(dict.fromkeys(map(owner_of, names)))
    trained = layers[-max(1, int(TRAINED * len(layers))) :]
    freeze(network, [name for name in names if owner_of(name) in trained])
    data = TensorImages(images, torch.arange(COUNT) % CLASSES)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    facts = (name, parameters, side, trained[0])
    with seeded(0, images.device):
        passes = plan_passes(network, data, data, Recipe())
    if passes.why_plain:
        return CutResult(*facts, passes.why_plain)
    try:
        evaluated, *_ = _difference(network, passes, images, training=False)
        logits, gradients, rounding = _difference(network, passes, images, training=True)
        saved = _saved(network, passes, images)
    finally:
        passes.close()
    return CutResult(*facts, "", max(evaluated, logits), gradients, rounding, saved)


def _network(name: str) -> tuple[nn.Module, int]:
    """A network whose parameters may be empty, and the side of its images."""
    spec = model_spec(name)
    if spec.source == "timm":
        network = load_model(name, weights="random", num_classes=CLASSES)
        return network, SIDE if _accepts(network, SIDE) else built_side(spec)
    side = max(SIDE, spec.smallest_side)
    if spec.fixed_side:
        vit = name.startswith("vit_")  # whose side is a choice
        side = 2 * int(name.rpartition("_")[2]) if vit else spec.input_side
    with Bare():
        return torchvision_network(name, CLASSES, side, initialize=False).eval(), side


def _accepts(network: nn.Module, side: int) -> bool:
    try:
        with torch.no_grad():
            network(torch.zeros(2, 3, side, side))
    except Exception:  # a network's own code raises what it likes
        return False
    return True


def _fill(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter anew; shared ones stay shared."""
    drawn: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for key, old in module._parameters.items():
            if old is None:
                continue
            if id(old) not in drawn:
                new = torch.empty(old.shape)
                if new.dim() > 1:
                    new.normal_(0, (2 / new[0].numel()) ** 0.5, generator=generator)
                elif key == "weight":
                    new.uniform_(0.5, 1.5, generator=generator)
                else:
                    new.normal_(0, 0.1, generator=generator)
                drawn[id(old)] = nn.Parameter(new)
            module._parameters[key] = drawn[id(old)]


def _set_statistics(network: nn.Module, images: Tensor) -> None:
    """Give batch norms the averages of the images, or eval mode would drown them in biases."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # a plain average
        norm.reset_running_stats()
    with seeded(0, images.device), torch.no_grad():
        network(images)
    network.eval()


def _difference(
    network: nn.Module, passes: Passes, images: Tensor, *, training: bool
) -> tuple[float, float, tuple[float, float]]:
    """The largest difference of logits, of gradients if in training, and of both by rounding."""
    mixed = torch.tensor(MIXED)
    training_mode(network) if training else network.eval()
    split, parts = (
        (passes.train, passes.network) if training else (passes.validation, passes.evaluated)
    )
    for batch in mixed.sort().values.split(FIRST):
        with _undisturbed(network), torch.no_grad():
            parts(split.images(batch))
    stored = split.images(mixed)
    assert isinstance(stored, Batch)
    assert stored.images is None, "the frozen part has run on all images"
    with _undisturbed(network):
        logits = network(images[mixed])
        expected = _gradients(network, logits) if training else []
    with _undisturbed(network):
        others = parts(stored)
        found = _gradients(network, others) if training else []
    flat = logits.detach()
    if not flat.isfinite().all() or flat.std(0).max() < 1e-3 * flat.abs().max():
        # The logits say nothing of the images: not shown to be the same.
        return math.nan, math.nan, (math.nan, math.nan)
    with _undisturbed(network):
        rounded = network(torch.nextafter(images, images.flip(0))[mixed])
        moved = _gradients(network, rounded) if training else []
    gradients, rounding = (_share(_joined(expected), _joined(other)) for other in (found, moved))
    return _share(flat, others.detach()), gradients, (_share(flat, rounded.detach()), rounding)


def _gradients(network: nn.Module, logits: Tensor) -> list[Tensor]:
    loss = cross_entropy(logits, torch.arange(len(logits)) % CLASSES)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return list(torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True))


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors]) if tensors else torch.zeros(1)


def _share(one: Tensor, other: Tensor) -> float:
    largest = float(one.abs().max())
    return float((one - other).abs().max()) / largest if largest else 0.0


def _saved(network: nn.Module, passes: Passes, images: Tensor) -> float:
    training_mode(network)  # in eval mode, attention's fast path is not counted
    stored = passes.train.images(torch.arange(len(images)))
    operations = []
    for run in (lambda: network(images), lambda: passes.network(stored)):
        with _undisturbed(network), torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
        operations.append(counter.get_total_flops())
    return 1 - operations[1] / operations[0]


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    with kept_buffers(network), seeded(0, torch.device("cpu")):
        yield


if __name__ == "__main__":
    show(examine(sys.argv[1:], lambda text: print(text, file=sys.stderr, flush=True)))
