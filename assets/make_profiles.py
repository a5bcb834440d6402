"""Make the layer profiles in assets/profiles/: what each layer of the pocket models is worth.

Run from the repository root: `python -m assets.make_profiles`. It trains for about an hour on two
cores. After an interruption it continues after the last finished run.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from analysis.__main__ import main as run
from analysis.options import AnalysisOptions
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.judging import BEST_SINGLES, Judgement, smallest_gain
from analysis.sweeps.layer_profile import SEEDS, LayerProfile
from analysis.sweeps.profile_files import SHIPPED, from_document, shipped_path
from analysis.text import signed
from assets.make_assets import RECIPES

DATA = (("digits", "none"), ("digits", "noise"), ("fashion", "none"))
SEVERITY = 3
SHOWN = ("adabet", "size", "parameters", "stable-rank", "fisher", "random")  # in the tables


def shorten(path: Path) -> None:
    """Write each layer and each criterion on a line of its own."""
    text = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    path.write_text(text.replace('},{"', '},\n{"') + "\n")


def tables() -> str:
    """What the shipped profiles say, as two tables of Markdown; see docs/findings.md."""
    saved = [
        (name, from_document(json.loads(path.read_text())))
        for name, path in ((f"{m}, {_words(d, s)}", _path(m, d, s)) for (d, s), m in _subjects())
        if path.exists()
    ]
    judged = [(name, each.profile, each.judgement) for name, each in saved if each.judgement]
    titles = [STRATEGIES[name].title for name in SHOWN]
    head = ["Model and images", "seeds", "they agree", *titles, "comes first"]
    ranks, sets = [head], [["Model and images", *titles, "best singles"]]
    for name, profile, judgement in judged:
        board = {standing.criterion: standing for standing in judgement.board.standings}
        row = [name, str(len(profile.seeds)), _number(judgement.board.agreement)]
        row += [_number(board[each].spearman.value, board[each].clear) for each in SHOWN]
        ranks.append([*row, _first(profile, judgement)])
        lost = [100 * judgement.sets[each].regret for each in (*SHOWN, BEST_SINGLES)]
        sets.append([name, *(f"{points:.1f}" for points in lost)])
    return f"{_markdown(ranks)}\n\n{_markdown(sets)}"


def _first(profile: LayerProfile, judgement: Judgement) -> str:
    """The criterion that comes first, if any is better than chance and any layer gains."""
    first = judgement.board.standings[0]
    if max(layer.gain for layer in profile.layers) < smallest_gain(profile):
        return "no layer gains"
    return STRATEGIES[first.criterion].title if first.clear else "none"


def _number(value: float, clear: bool = False) -> str:
    if math.isnan(value):
        return "–"
    text = signed(round(value, 2) + 0.0, 2)  # no −0.00
    return f"**{text}**" if clear else text


def _markdown(rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def _subjects() -> Iterator[tuple[tuple[str, str], str]]:
    return product(DATA, RECIPES)


def _words(dataset: str, shift: str) -> str:
    return dataset if shift == "none" else f"{dataset} with {shift} {SEVERITY}"


def _path(model: str, dataset: str, shift: str) -> Path:
    return shipped_path(AnalysisOptions(model, dataset, shift=shift, severity=SEVERITY))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="Default: %(default)s.")
    parser.add_argument("--only", default="", help="Only files whose name contains this.")
    parser.add_argument("--table", action="store_true", help="Print what the files say.")
    arguments = parser.parse_args()
    if arguments.table:
        print(tables())
        return 0
    SHIPPED.mkdir(exist_ok=True)
    codes = []
    for (dataset, shift), model in _subjects():
        path = _path(model, dataset, shift)
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
