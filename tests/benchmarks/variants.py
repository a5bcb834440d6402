"""One measurement: `python -m tests.benchmarks.variants MODEL VARIANT` prints it as JSON.

Every variant imports the same modules before anything is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from collections.abc import Callable

import torch
from ripser import ripser
from torch import Tensor, nn

from analysis import analyze
from analysis.system.torchvision_guard import torchvision
from tests.benchmarks.process import forget_peak, peak_resident_bytes, resident_bytes

IMAGES, SIDE, BATCH = 40, 224, 8
SEED = 0

Betti = dict[str, float]  # layer name to b₁


def bare(model: nn.Module, images: Tensor) -> Betti:
    """A forward pass in batches without using its outputs."""
    with torch.inference_mode():
        for batch in images.split(BATCH):
            model(batch)
    return {}


def plain(model: nn.Module, images: Tensor) -> Betti:
    """The plain recipe: hooks keep every activation, then Ripser takes each layer's cloud.

    The copy is needed: an in-place ReLU writes into the tensor that the hook received.
    """
    activations: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            assert isinstance(tensor, Tensor)
            activations.setdefault(name, []).append(tensor.flatten(1).clone())

        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        # The network as a whole is no layer, though a vision transformer owns its class token.
        if name and next(module.parameters(recurse=False), None) is not None
    ]
    bare(model, images)
    for handle in handles:
        handle.remove()
    betti = {}
    for name, parts in activations.items():
        cloud = torch.cat(parts).numpy()
        births_and_deaths = ripser(cloud, maxdim=1)["dgms"][1]
        betti[name] = float((births_and_deaths[:, 1] > births_and_deaths[:, 0]).sum())
    return betti


def ours(model: nn.Module, images: Tensor) -> Betti:
    """BettiScope as a user calls it: b₁, diagrams and clusters of every layer."""
    return {layer.name: layer.b1 for layer in analyze(model, images).layers}


VARIANTS = {"bare": bare, "plain": plain, "ours": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--least", type=float, default=0.0, help="seconds of passes in a row")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    torch.manual_seed(SEED)
    model = torchvision.models.get_model(arguments.model, weights=None).eval()
    images = torch.randn(IMAGES, 3, SIDE, SIDE)
    gc.collect()
    forget_peak()
    before = resident_bytes()
    bare(model, images[:1])  # warm-up, the same for every variant: threads and kernels
    start = time.perf_counter()
    passes, passed = 0, 0.0
    while not passes or passed < arguments.least:
        betti = VARIANTS[arguments.variant](model, images)
        passes, passed = passes + 1, time.perf_counter() - start
    added = peak_resident_bytes() - before
    print(json.dumps({"seconds": passed / passes, "added_bytes": added, "betti": betti}))


if __name__ == "__main__":
    main()
