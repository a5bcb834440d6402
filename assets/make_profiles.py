"""Make the layer profiles in assets/profiles/: what each layer of the pocket models is worth.

Run from the repository root: `python -m assets.make_profiles`. It trains for about an hour on two
cores. After an interruption it continues after the last finished run.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path

from analysis.__main__ import main as run
from analysis.options import AnalysisOptions
from analysis.sweeps.layer_profile import SEEDS
from analysis.sweeps.profile_files import SHIPPED, shipped_path
from assets.make_assets import RECIPES

DATA = (("digits", "none"), ("digits", "noise"), ("fashion", "none"))
SEVERITY = 3


def shorten(path: Path) -> None:
    """Write each layer and each criterion on a line of its own."""
    text = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    path.write_text(text.replace('},{"', '},\n{"') + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="Default: %(default)s.")
    parser.add_argument("--only", default="", help="Only files whose name contains this.")
    arguments = parser.parse_args()
    SHIPPED.mkdir(exist_ok=True)
    codes = []
    for (dataset, shift), model in product(DATA, RECIPES):
        path = shipped_path(AnalysisOptions(model, dataset, shift=shift, severity=SEVERITY))
        if arguments.only not in path.name:
            continue
        print(path.name, file=sys.stderr, flush=True)
        words = ["profile", "--model", model, "--dataset", dataset, "--shift", shift]
        words += ["--severity", str(SEVERITY), "--seeds", str(arguments.seeds), "--criteria"]
        codes.append(run([*words, "--json", str(path)]))
        shorten(path)
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
