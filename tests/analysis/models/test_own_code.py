"""A network from a file of one's own: built, seeded, and its faults told with their line."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.__main__ import main
from analysis.errors import AnalysisError, ModelError
from analysis.models import (
    MODELS,
    check_head,
    load_model,
    model_problem,
    model_spec,
    prepare_images,
    side_of_input,
    weights_fingerprint,
)
from analysis.models.heads import head_of_network
from analysis.models.loading import empty_network
from analysis.options import AnalysisOptions, RunOptions
from analysis.topology.pipeline import analyze_named
from analysis.training.metrics import Selection
from analysis.training.snippet import snippet

PLAIN = """
import torch
from torch import nn

def build():
    print("a word on stdout")
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10), nn.Softmax(1)
    )
"""
COUNTED = """
from dataclasses import dataclass
from neighbour import WIDTH
from torch import nn

@dataclass
class Settings:
    width: int = WIDTH

class Net(nn.Module):
    input_size = (3, 48, 48)

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3 * 48 * 48, num_classes)  # first here, and last to run
        self.body = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))

def make(num_classes=5):
    return Net(num_classes)
"""


def write(folder: Path, text: str, function: str = "build", file: str = "net.py") -> str:
    (folder / file).write_text(text)
    return f"{folder / file}:{function}"


def test_a_network_is_built_and_seeded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(tmp_path, PLAIN)
    one, again = load_model(name, seed=3), load_model(name, weights="random", seed=3)
    assert torch.equal(one.get_parameter("3.weight"), again.get_parameter("3.weight"))
    other = load_model(name, weights="random", seed=4)
    assert not torch.equal(one.get_parameter("3.weight"), other.get_parameter("3.weight"))
    assert not one.training
    assert capsys.readouterr().out == ""  # stdout may be carrying JSON
    assert side_of_input(name) == 224
    assert side_of_input(name, input_side=40) == 40
    image = np.ones((1, 1, 9, 9), np.float32)
    prepared = prepare_images(name, image, input_side=40)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert prepared.shape == (1, 3, 40, 40)
    assert torch.allclose(prepared[0, :, 20, 20], (1 - mean) / std)


def test_the_last_layer_to_run_is_replaced(tmp_path: Path) -> None:
    name = write(tmp_path, PLAIN)
    model = load_model(name, num_classes=3, seed=1)
    assert head_of_network(model, (3, 32, 32)).name == "3"
    assert model.get_submodule("3").out_features == 3
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 20, 20)).shape == (2, 3)
    assert empty_network(name, 6).get_parameter("3.weight").shape == (6, 4)
    assert empty_network(name, 6).get_parameter("3.weight").is_meta


def test_a_function_that_needs_the_classes_is_analysed_all_the_same(
    tmp_path: Path, home: Path
) -> None:
    name = write(tmp_path, COUNTED.replace("make(num_classes=5)", "make(num_classes)"), "make")
    (tmp_path / "neighbour.py").write_text("WIDTH = 7")
    check_head(name, "head")
    report = analyze_named(AnalysisOptions(model=name, weights="random", samples=4))
    assert report.head == "head"
    assert load_model(name, num_classes=8).get_submodule("head").out_features == 8


def test_a_network_of_one_side_must_state_it(tmp_path: Path) -> None:
    text = "from torch.nn import *\ndef build(): return Sequential(Flatten(), Linear(3072, 10))\n"
    name = write(tmp_path, text)
    with pytest.raises(ModelError, match=r"\(3, 224, 224\).*set the network's attribute `input_"):
        load_model(name, num_classes=3)


def test_a_function_may_take_the_classes_and_a_network_state_its_side(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("WIDTH = 7")
    name = write(tmp_path, COUNTED, "make")
    before = list(sys.path)
    assert load_model(name).get_submodule("head").out_features == 5
    assert load_model(name, num_classes=8).get_submodule("head").out_features == 8
    assert side_of_input(name) == 48
    assert prepare_images(name, np.ones((2, 3, 60, 50), np.float32)).shape == (2, 3, 48, 48)
    assert sys.path == before
    state = load_model(name, num_classes=9, seed=2).state_dict()
    torch.save(state, tmp_path / "mine.pt")
    loaded = load_model(name, weights=f"file:{tmp_path / 'mine.pt'}")
    assert torch.equal(loaded.get_parameter("head.weight"), state["head.weight"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\ny = (2\n", r"net\.py, line 2: SyntaxError: '\(' was never closed"),
        ("import torch\nimport no_such_package\n", r"line 2: ModuleNotFoundError: No module named"),
        ("def build():\n    a = 1\n    return a / 0\n", "line 3: ZeroDivisionError: division by"),
        ("def build():\n    return helper()\ndef helper():\n    return {}['x']\n",
         "line 4: KeyError: 'x'"),
        ("import sys\nsys.exit('stop')\n", "line 2: SystemExit: stop"),
        ("def build(width):\n    return width\n", r"net\.py: TypeError: build\(\) missing 1 req"),
        ("def make():\n    pass\n", r"net\.py has no function `build`"),
        ("build = 3\n", r"net\.py has no function `build`"),
        ("def build():\n    return {}\n", "`build` in .* must return a torch.nn.Module, got dict"),
        ("def build():\n    raise ValueError('one\\ntwo')\n", "line 2: ValueError: one$"),
    ],
)  # fmt: skip
def test_faults_are_one_sentence_with_their_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as error:
        load_model(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_network_without_a_layer_for_the_classes_is_reported(tmp_path: Path) -> None:
    text = "def build(): return Sequential(Flatten(), LazyLinear(1), Flatten(0))"
    name = write(tmp_path, f"from torch.nn import *\n{text}")
    assert load_model(name) is not None
    with pytest.raises(ModelError, match="has no classifier: it gives one number for an image"):
        load_model(name, num_classes=2)


def test_the_fingerprint_is_of_the_file_and_the_seed(tmp_path: Path) -> None:
    name = write(tmp_path, PLAIN)
    first = weights_fingerprint(name, "random", 1)
    assert first == weights_fingerprint(name, "pretrained", 1)
    assert first != weights_fingerprint(name, "random", 2)
    write(tmp_path, PLAIN + "\n# changed\n")
    second = weights_fingerprint(name, "random", 1)
    assert second != first
    (tmp_path / "blocks.py").write_text("WIDTH = 3")  # it may be imported
    third = weights_fingerprint(name, "random", 1)
    (tmp_path / "blocks.py").write_text("WIDTH = 4")
    fourth = weights_fingerprint(name, "random", 1)
    (tmp_path / os.fsdecode(b"\xff.py")).touch()
    assert len({second, third, fourth, weights_fingerprint(name, "random", 1)}) == 4


@pytest.mark.parametrize(
    ("neighbour", "take"),
    [
        ("blocks.py", "import blocks"),
        ("parts/blocks.py", "from parts import blocks"),
        ("parts/__init__.py", "import parts as blocks"),
    ],
)
def test_two_files_of_one_name_do_not_meet(tmp_path: Path, neighbour: str, take: str) -> None:
    text = f"{take}\n{PLAIN.replace('10', 'blocks.CLASSES')}"
    for folder, classes in ((tmp_path / "one", 10), (tmp_path / "two", 11)):
        (folder / neighbour).parent.mkdir(parents=True)
        (folder / neighbour).write_text(f"CLASSES = {classes}")
        assert load_model(write(folder, text)).get_submodule("3").out_features == classes
    assert not {"net", "blocks", "parts", "parts.blocks"} & sys.modules.keys()


def test_packages_of_an_environment_in_the_folder_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed_there.py").touch()
    monkeypatch.syspath_prepend(tmp_path / ".venv")
    load_model(write(tmp_path, "import installed_there\n" + PLAIN))
    assert sys.modules.pop("installed_there")


def test_code_is_not_listed_and_nothing_is_run_by_asking(tmp_path: Path) -> None:
    name = write(tmp_path, f"open({str(tmp_path / 'run')!r}, 'w')\n")
    assert model_problem(name) == []
    assert model_spec(name).source == "code"
    weights_fingerprint(name, "random", 0)
    assert not (tmp_path / "run").exists()
    with pytest.raises(AnalysisError):
        load_model(name)
    assert (tmp_path / "run").exists()
    assert name not in MODELS
    assert "an existing file" in model_problem(f"{tmp_path}/none.py:build")[0]


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    command = ["analyze", "--model", write(tmp_path, PLAIN), "--samples", "4", "--input-side", "32"]
    assert main(command) == 0
    assert "a word on stdout" not in capsys.readouterr().out
    write(tmp_path, "def build():\n    return 1 / 0\n")
    assert main(command) == 2
    assert "net.py, line 2: ZeroDivisionError: division by zero" in capsys.readouterr().err


def test_the_snippet_names_no_head_that_is_not_known(tmp_path: Path) -> None:
    options = RunOptions(AnalysisOptions(model=write(tmp_path, PLAIN)), strategy="bn-bias")
    selection = Selection(("0", "3"), 1, 2, 0.0, 0, False, False, "sgd")
    assert 'a new head ("3") for your classes' in snippet(options, selection)  # listed as they run
    ranked = snippet(replace(options, strategy="adabet"), selection)
    assert "a new head (the classifier) for your classes" in ranked
