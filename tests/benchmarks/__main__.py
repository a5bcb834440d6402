"""Measure and print: `python -m tests.benchmarks [--only PART ...] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import (
    click,
    cut,
    findings,
    first_view,
    following,
    forward,
    laboratory,
    large,
    lessons,
    loop,
    memory,
    microscope,
    plan,
    pocket,
    rerun,
    reuse,
    rotation,
    sessions,
    stability,
    strategies,
)
from tests.benchmarks.process import SAME_FOR_ALL
from tests.benchmarks.variants import VARIANTS

BUSY = 0.5  # load per core; above it, times mean little


@dataclass(frozen=True)
class Part:
    """One thing to measure."""

    measure: Callable[[argparse.Namespace], Any]  # returns a dataclass, or a list of them
    show: Callable[[Any], None]


PARTS = {
    "following": Part(lambda _: following.measure(), following.show),
    "forward": Part(
        lambda options: forward.measure(options.models, options.variants, options.repeats, _say),
        forward.show,
    ),
    "rerun": Part(lambda _: rerun.measure(), rerun.show),
    "laboratory": Part(lambda options: laboratory.measure(options.repeats), laboratory.show),
    "pocket": Part(lambda options: pocket.measure(options.repeats), pocket.show),
    "first": Part(lambda options: first_view.measure(options.repeats), first_view.show),
    "memory": Part(lambda _: memory.measure(_say), memory.show),
    "microscope": Part(lambda _: microscope.measure(), microscope.show),
    "loop": Part(lambda _: loop.measure(), loop.show),
    "click": Part(lambda options: click.measure(options.repeats), click.show),
    "cut": Part(lambda _: cut.measure(_say), cut.show),
    "findings": Part(lambda _: findings.measure(_say), findings.show),
    "large": Part(lambda _: large.measure(_say), large.show),
    "lessons": Part(lambda _: lessons.measure(), lessons.show),
    "reuse": Part(lambda _: reuse.measure(), reuse.show),
    "plan": Part(lambda options: plan.measure(options.repeats), plan.show),
    "rotation": Part(lambda _: rotation.measure(_say), rotation.show),
    "sessions": Part(lambda _: sessions.measure(), sessions.show),
    "stability": Part(lambda _: stability.measure(_say), stability.show),
    "strategies": Part(lambda _: strategies.measure(_say), strategies.show),
}


def main() -> None:
    arguments = _parser().parse_args()
    results: dict[str, Any] = {"machine": _machine()}
    print(", ".join(f"{key} {value}" for key, value in results["machine"].items()))
    if os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
        print("The machine is busy with other work: the times and their ratios mean little.")
    for name, part in PARTS.items():
        if name not in arguments.only:
            continue
        _say(name)
        measured = part.measure(arguments)
        several = isinstance(measured, list)
        results[name] = [asdict(result) for result in measured] if several else asdict(measured)
        print()
        part.show(measured)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=[*PARTS])
    parser.add_argument("--models", nargs="+", choices=forward.TARGETS, default=[*forward.TARGETS])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for each number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number here")
    return parser


def _machine() -> dict[str, object]:
    """Everything that the numbers depend on, apart from the code."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **SAME_FOR_ALL,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
