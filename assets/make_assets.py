"""Make everything in assets/: pre-train the pocket zoo and cut the bundled Fashion-MNIST sample.

Run from the repository root: `python -m assets.make_assets`. After an interruption it continues
after the last finished epoch (assets/.work). It skips a model whose file and recipe match the
manifest. Accuracies are measured once, after the last epoch, on the 10,000 test images.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from analysis.models.pocket import POCKET_BUILDERS
from analysis.models.preparation import MEAN, PADDING, STD
from analysis.system.torchvision_guard import torchvision

ASSETS = Path(__file__).resolve().parent
WORK = ASSETS / ".work"
MANIFEST = ASSETS / "manifest.json"
DEBIAN_DATA = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_PER_CLASS = 300
SEED = 0


@dataclass(frozen=True)
class Recipe:
    epochs: int
    optimizer: str  # "sgd" (Nesterov momentum 0.9) or "adamw"
    learning_rate: float  # peak of a linear warm-up (one epoch) and cosine decay
    weight_decay: float
    bfloat16: bool  # autocast; the file holds float32
    batch_size: int = 128
    label_smoothing: float = 0.05
    seed: int = SEED


RECIPES = {
    "pocket-resnet20": Recipe(12, "sgd", 0.2, 5e-4, bfloat16=True),
    "pocket-vgg": Recipe(16, "adamw", 2e-3, 5e-2, bfloat16=True),
    "pocket-mobilenetv2": Recipe(9, "sgd", 0.15, 1e-4, bfloat16=True),
    "pocket-vit": Recipe(12, "adamw", 2e-3, 5e-2, bfloat16=False),
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fashion_folder() -> Path:
    """The folder of the four IDX files: from Debian's package, or without apt from torchvision."""
    if not DEBIAN_DATA.exists() and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", "dataset-fashion-mnist"], check=False)
    if DEBIAN_DATA.exists():
        return DEBIAN_DATA
    torchvision.datasets.FashionMNIST(str(WORK), download=True)
    return WORK / "FashionMNIST" / "raw"


def read_idx(path: Path) -> Tensor:
    """Read one IDX file of unsigned bytes, the format that LeCun's MNIST page defines."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int)
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).copy()).reshape(
        *shape
    )


def load_split(folder: Path, stem: str) -> tuple[Tensor, Tensor]:
    images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
    return images, read_idx(folder / f"{stem}-labels-idx1-ubyte.gz").long()


def network_input(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) to float32 (N, 3, 32, 32), as `analysis.models` prepares images too."""
    scaled = nn.functional.pad(images.float() / 255, (PADDING,) * 4)
    return ((scaled - MEAN) / STD)[:, None].expand(-1, 3, -1, -1)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each 28 x 28 image by up to two pixels and mirror half of them."""
    n, side = len(images), images.shape[-1]
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    offsets = torch.randint(0, 5, (2, n, 1), generator=generator) + torch.arange(side)
    shifted = padded[torch.arange(n)[:, None, None], offsets[0][:, :, None], offsets[1][:, None]]
    mirror = torch.rand(n, generator=generator) < 0.5
    return torch.where(mirror[:, None, None], shifted.flip(-1), shifted)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(images), 500):
            logits = model(network_input(images[start : start + 500]))
            hits += int((logits.argmax(1) == labels[start : start + 500]).sum())
    return hits / len(images)


def train(name: str, recipe: Recipe, images: Tensor, labels: Tensor) -> nn.Module:
    torch.manual_seed(recipe.seed)
    model: nn.Module = POCKET_BUILDERS[name](num_classes=10)
    if recipe.bfloat16:
        model = model.to(memory_format=torch.channels_last)
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            model.parameters(), momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
    else:
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    checkpoint = WORK / f"{name}.pt"
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["recipe"] == asdict(recipe):
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            first = state["epoch"] + 1
    steps = math.ceil(len(images) / recipe.batch_size)
    for epoch in range(first, recipe.epochs):
        started, total = time.monotonic(), 0.0
        generator = torch.Generator().manual_seed(1000 * recipe.seed + epoch)
        torch.manual_seed(1000 * recipe.seed + epoch)  # dropout: the same after a resume
        model.train()
        for step, batch in enumerate(
            torch.randperm(len(images), generator=generator).split(recipe.batch_size)
        ):
            progress = epoch + step / steps
            warm = min(1.0, (progress + 1 / steps))
            cosine = 0.5 * (1 + math.cos(math.pi * progress / recipe.epochs))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * warm * cosine
            inputs = network_input(augment(images[batch], generator))
            if recipe.bfloat16:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                logits = model(inputs)
            loss = nn.functional.cross_entropy(
                logits.float(), labels[batch], label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"epoch": epoch, "recipe": asdict(recipe)}
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
        seconds = time.monotonic() - started
        print(f"{name} epoch {epoch + 1}/{recipe.epochs} loss {total / steps:.4f} {seconds:.0f} s")
    return model


def read_manifest() -> dict[str, dict[str, Any]]:
    return json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}


def record(name: str, entry: dict[str, Any]) -> None:
    manifest = read_manifest() | {name: entry}
    part = MANIFEST.with_suffix(".part")
    part.write_text(json.dumps(dict(sorted(manifest.items())), indent=2) + "\n")
    part.replace(MANIFEST)


def make_model(name: str, folder: Path) -> None:
    recipe, path = RECIPES[name], ASSETS / f"{name}.safetensors"
    done = read_manifest().get(name)
    if (
        done
        and path.exists()
        and done["sha256"] == sha256(path)
        and done["recipe"] == asdict(recipe)
    ):
        print(f"{name} is up to date")
        return
    model = train(name, recipe, *load_split(folder, "train"))
    # Read the file back: the reported accuracy is that of the file, not of the network in memory.
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, path, metadata={"trained_on": "Fashion-MNIST", "model": name})
    model = POCKET_BUILDERS[name](num_classes=10)
    model.load_state_dict(load_file(path))
    measured = accuracy(model, *load_split(folder, "t10k"))
    entry: dict[str, object] = {
        "file": path.name,
        "sha256": sha256(path),
        "test_accuracy": measured,
    }
    record(name, entry | {"recipe": asdict(recipe)})
    print(f"{name} test accuracy {measured:.4f}")


def make_sample(folder: Path) -> None:
    """The first 300 test images of each class: the networks never saw them."""
    images, labels = load_split(folder, "t10k")
    chosen = torch.cat([(labels == k).nonzero()[:SAMPLE_PER_CLASS, 0] for k in range(10)])
    chosen = chosen.sort().values
    path = ASSETS / "fashion.npz"
    arrays = {"images": images[chosen].numpy(), "labels": labels[chosen].to(torch.uint8).numpy()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    record("fashion", {"file": path.name, "sha256": sha256(path)})


def readme(manifest: dict[str, dict[str, Any]]) -> str:
    """assets/README.md, from the manifest."""
    models = [(name, entry) for name, entry in manifest.items() if "recipe" in entry]
    accuracies = "\n".join(
        f"| `{entry['file']}` | {100 * entry['test_accuracy']:.2f} % | "
        f"{entry['recipe']['optimizer']}, {entry['recipe']['epochs']} epochs, learning rate "
        f"{entry['recipe']['learning_rate']:g}, weight decay {entry['recipe']['weight_decay']:g}"
        f"{', bfloat16 autocast' if entry['recipe']['bfloat16'] else ''} |"
        for name, entry in models
    )
    sums = "\n".join(f"| `{e['file']}` | `{e['sha256']}` |" for e in manifest.values())
    return README.format(accuracies=accuracies, sums=sums)


README = """\
# Bundled models and data

[make_assets.py](make_assets.py) makes these files and writes this page. `make assets` makes them
again, in one or two hours on two cores; after an interruption it continues. BettiScope checks each
file against its checksum in [manifest.json](manifest.json) before it uses it.

## The pocket zoo

Four small members of the paper's four families for 3 × 32 × 32 images, trained here from scratch
on the 60,000 training images of Fashion-MNIST (28 × 28 grey pixels, padded to 32 × 32, repeated
to three channels, normalised with mean 0.286 and standard deviation 0.353). All use seed 0,
batches of 128, one epoch of warm-up and cosine decay, label smoothing 0.05, images mirrored and
shifted by up to two pixels. The accuracy is that of the file, measured once, after the last
epoch, on the 10,000 test images.

| File | Test accuracy | Recipe |
| --- | --- | --- |
{accuracies}

Architectures: [analysis/models/pocket.py](../analysis/models/pocket.py). The weights are under
this project's MIT licence.

## Fashion-MNIST

`fashion.npz` holds 3,000 of the 10,000 test images of Fashion-MNIST, the first 300 of each class,
with their labels; the pocket models were not trained on them. © 2017 Zalando SE, MIT licence:

> Permission is hereby granted, free of charge, to any person obtaining a copy of this software
> and associated documentation files (the "Software"), to deal in the Software without
> restriction, including without limitation the rights to use, copy, modify, merge, publish,
> distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
> Software is furnished to do so, subject to the following conditions:
>
> The above copyright notice and this permission notice shall be included in all copies or
> substantial portions of the Software.
>
> THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
> BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
> NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
> DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
> OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

Source: H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms*, arXiv:1708.07747 (2017); the full set is in Debian's package
`dataset-fashion-mnist`; torchvision downloads it too.

## Layer profiles

`profiles/` holds what each layer of the pocket models is worth on digits and, as far as they are
made, on digits with noise of severity 3 and on fashion, and how well each criterion finds the best.
[make_profiles.py](make_profiles.py) makes them; `make profiles` makes them again, in an hour or two
on two cores, and continues after an interruption. Each file says how many seeds it has; its
times come from a busy machine.

## Checksums (SHA-256)

| File | SHA-256 |
| --- | --- |
{sums}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(RECIPES), help="make only this model")
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    folder = fashion_folder()
    if not arguments.only:
        make_sample(folder)
    for name in [arguments.only] if arguments.only else RECIPES:
        make_model(name, folder)
    (ASSETS / "README.md").write_text(readme(read_manifest()), encoding="utf-8")


if __name__ == "__main__":
    main()
