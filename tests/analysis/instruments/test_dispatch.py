"""Dispatch modes see every operation, and leave torch's compiler alone until it is there."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.instruments.dispatch import FlopMode


def run(program: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    return result.stdout.splitlines()


def test_an_analysis_does_not_import_the_compiler() -> None:
    assert run("""
        import sys
        import torch
        from torch import nn
        from analysis import analyze
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        print(len(analyze(network, torch.rand(8, 1, 8, 8)).layers))
        print("torch._dynamo" in sys.modules)
    """) == ["2", "False"]


def test_the_compiler_is_kept_out_of_a_mode_once_it_is_there() -> None:
    assert run("""
        import sys
        import torch
        from analysis.instruments.dispatch import DispatchMode

        class Watch(DispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                frame, names = sys._getframe(), []
                while frame is not None:
                    names.append(frame.f_globals["__name__"])
                    frame = frame.f_back
                print(function.__name__, "torch._dynamo.eval_frame" in names)
                return function(*args, **(kwargs or {}))

        with Watch():
            torch.ones(1).neg()
        import torch._dynamo
        with Watch():
            torch.ones(1).neg()
    """) == ["ones.default False", "neg.default False", "ones.default True", "neg.default True"]


def test_flops_are_those_of_torch() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    images = torch.rand(2, 1, 8, 8)
    with FlopCounterMode(display=False) as counter:
        network(images)
    with FlopMode() as mode:
        network(images)
    assert mode.flops == counter.get_total_flops() > 0
