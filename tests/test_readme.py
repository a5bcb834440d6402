"""The commands and the example in README work as written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    \.venv/bin/python -m analysis (.+)$", README, re.MULTILINE)
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_listing_was_read() -> None:
    commands = {command.split()[0] for command in COMMANDS}
    assert commands == {"models", "datasets", "strategies", "analyze", "finetune", "sweep"}
    assert len(PYTHON) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_listing_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    pictures = tmp_path / "pictures"  # what README calls ~/pictures
    words = [word.replace("~/pictures", str(pictures)) for word in shlex.split(command)]
    if str(pictures) in words:
        random = np.random.default_rng(0)
        for kind in ("cats", "dogs"):
            (pictures / kind).mkdir(parents=True)
            for number in range(4):
                pixels = random.integers(256, size=(40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(pictures / kind / f"{number}.png")
    # As written they take too long for a test; the last value of an option counts.
    words += {"finetune": ["--epochs", "1", "--train-samples", "32"], "sweep": ["--list"]}.get(
        words[0], []
    )
    assert main(words) == 0
    written = [Path(word) for word in words if word.endswith((".json", ".csv"))]
    assert all(path.stat().st_size for path in written)


def test_the_python_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PYTHON[0]],
        cwd=ROOT,
        env=os.environ | {"BETTISCOPE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bytes at the peak" in done.stdout
    assert "FinetuneResult(" in done.stdout
