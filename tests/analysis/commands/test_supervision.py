"""Networks that print, or that end the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.commands.supervision import supervise

pytestmark = pytest.mark.usefixtures("home")

NETWORK = """
import atexit, os, signal, sys
from torch import nn

class Net(nn.Sequential):
    input_size = 2
    def forward(self, x):
        {forward}
        return super().forward(x)

def build(num_classes=10):
    {build}
    return Net(nn.Flatten(), nn.Linear(12, num_classes))
"""


def command(
    folder: Path, *, forward: str = "pass", build: str = "pass", name: str = "analyze"
) -> list[str]:
    (folder / "net.py").write_text(NETWORK.format(forward=forward, build=build))
    few = ["--samples", "4"]
    short = ["--train-samples", "4", "--epochs", "1", "--strategy", "head", "--samples", "4"]
    model = f"{folder / 'net.py'}:build"
    return [name, "--model", model, *(few if name == "analyze" else short)]


@pytest.mark.parametrize("name", ["analyze", "finetune"])
@pytest.mark.parametrize(
    "words",
    ["print('hello there')", "os.write(1, b'hello there')", "os.system('echo hello there')"],
)
def test_what_a_network_prints_is_not_in_the_result(
    name: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, forward=words, build=words, name=name)) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["layers"]
    assert captured.err.count("hello there") > 1


@pytest.mark.parametrize("name", ["analyze", "finetune"])
@pytest.mark.parametrize("words", ["sys.exit(0)", "raise KeyboardInterrupt"])
def test_a_network_that_ends_the_command_gives_one_sentence(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A shell's background jobs ignore it, and then nobody can tell who raised the error.
    handler = signal.default_int_handler
    signal.signal(signal.SIGINT, handler)
    assert main(command(tmp_path, forward=words, name=name)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    if "exit" in words:  # in the pass, as any error of the network
        assert last == "error: The model could not run on images of shape (3, 2, 2): SystemExit: 0"
    else:
        assert last.startswith("error: The network's own code ended the command with ")
        assert "net.py, line 8." in last
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_is_no_error_of_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pressed = "os.kill(os.getpid(), signal.SIGINT)"
    assert main(command(tmp_path, forward=pressed)) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"


@pytest.mark.parametrize(
    ("ends", "code", "sentence"),
    [
        ("os._exit(0)", 2, "(exit code 0)"),
        ("os._exit(3)", 2, "(exit code 3)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 2, "(signal SIGSEGV)"),
        ("os.kill(os.getpid(), signal.SIGABRT)", 2, "(signal SIGABRT)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 2, "most often because memory ran out"),
        ("Path(os.environ['BETTISCOPE_ENDING']).write_text('7')", 7, ""),
        # What happens after the result does not matter.
        ("Path(os.environ['BETTISCOPE_ENDING']).write_text('0'); os._exit(9)", 0, ""),
    ],
)
def test_a_process_that_ends_too_early_gives_one_sentence(
    ends: str,
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With another command line in the place of ours, as that takes seconds to start."""
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__main__.py").write_text(
        f"import os, signal\nfrom pathlib import Path\n{ends}\n"
    )
    monkeypatch.chdir(tmp_path)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert supervise(main, ["analyze", "--model", "net.py:build"]) == code
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    errors = [e for e in capsys.readouterr().err.splitlines() if e.startswith("error: ")]
    assert len(errors) == bool(sentence)
    assert all(sentence in e and "The network's own code ended the process" in e for e in errors)


def test_the_whole_command_line(tmp_path: Path) -> None:
    """The child's result and code arrive; what is printed at its end is not in the result."""
    arguments = command(tmp_path, build="atexit.register(print, 'goodbye')", name="finetune")
    done = subprocess.run(
        [sys.executable, "-m", "analysis", *arguments],
        capture_output=True, text=True, env=os.environ, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["layers"]
    assert "goodbye" in done.stderr
