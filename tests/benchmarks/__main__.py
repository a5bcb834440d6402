"""Measure and print: `python -m tests.benchmarks [--only PART ...] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import first_view, forward, pocket, rerun
from tests.benchmarks.process import SAME_FOR_ALL
from tests.benchmarks.variants import BATCH, IMAGES, SIDE, VARIANTS

PARTS = ("forward", "rerun", "pocket", "first")
BUSY = 0.5  # load for each core, from which on times mean little


def main() -> None:
    arguments = _parser().parse_args()
    results: dict[str, Any] = {"machine": _machine()}
    print(", ".join(f"{key} {value}" for key, value in results["machine"].items()))
    if os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
        print("The machine is busy with other work: the times and their ratios mean little.")
    print()
    if "forward" in arguments.only:
        print(f"{IMAGES} images of {SIDE}², random weights; bare pass in batches of {BATCH}.\n")
        measured = forward.measure(arguments.models, arguments.variants, arguments.repeats, _say)
        results["forward"] = forward.as_json(measured)
        forward.show(measured)
        print()
    if "rerun" in arguments.only:
        _say("rerun of Explore")
        reruns = rerun.measure()
        results["rerun"] = asdict(reruns)
        rerun.show(reruns)
        print()
    if "pocket" in arguments.only:
        _say("pocket-resnet20 with 400 images")
        pockets = pocket.measure(arguments.repeats)
        results["pocket"] = asdict(pockets)
        pocket.show(pockets)
        print()
    if "first" in arguments.only:
        _say("first visit")
        visits = first_view.measure(arguments.repeats)
        results["first"] = asdict(visits)
        first_view.show(visits)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--models", nargs="+", choices=forward.TARGETS, default=[*forward.TARGETS])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for each number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number here")
    return parser


def _machine() -> dict[str, object]:
    """What the numbers depend on, besides the code."""
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
