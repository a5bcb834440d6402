"""Layer profiles as JSON: those that BettiScope brings, and those made here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from analysis.datasets import dataset_spec
from analysis.errors import StoreError
from analysis.models import weights_fingerprint
from analysis.options import AnalysisOptions
from analysis.selection.leaderboard import Estimate, Leaderboard, Standing
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.judging import BEST_SINGLES, Judgement, SetAccuracy
from analysis.sweeps.layer_profile import LayerProfile, LayerWorth, profile_options
from analysis.system.assets import ASSETS
from analysis.system.home import home, replacing
from analysis.version import __version__

SHIPPED = ASSETS / "profiles"
INTERVALS = "95 %, percentiles of bootstrap draws over seeds and layers"  # low and high
_DIGITS = 5  # significant, of a number in a file


@dataclass(frozen=True)
class SavedProfile:
    """A profile as a file holds it."""

    profile: LayerProfile
    judgement: Judgement | None  # None: criteria were not asked for
    shipped: bool  # whether BettiScope brought it
    version: str  # of BettiScope, that made it


def document(profile: LayerProfile, judgement: Judgement | None = None) -> dict[str, Any]:
    """A profile as JSON holds it: accuracies and gains as shares, memory in bytes."""
    analysis, options = profile.options.analysis, profile.options
    made: dict[str, Any] = {
        "model": analysis.model,
        "dataset": analysis.dataset,
        "seeds": list(profile.seeds),
        "weights": analysis.weights,
        "shift": analysis.shift,
        "severity": analysis.severity if analysis.shift != "none" else None,
        "train_samples": options.train_samples,
        "epochs": options.recipe.epochs,
        "test_images": profile.test_images,
        "head": {"accuracies": _short(profile.head_accuracies), "bytes": profile.head_bytes},
        "layers": [
            {
                "layer": layer.layer,
                "gain": _short(layer.gain),
                "sd": _short(layer.sd),
                "seconds": _short(layer.seconds),
                "bytes": layer.bytes,
                "kind": layer.kind,
                "parameters": layer.parameters,
                "activations": layer.activations,
                "gains": _short(layer.gains),
            }
            for layer in profile.layers
        ],
    }
    if judgement is not None:
        board = judgement.board
        made |= {
            "rho": judgement.rho,
            "set_size": judgement.set_size,
            "best_layers": board.places,
            "hits_by_chance": _short(board.by_chance),
            "agreement_of_seeds": _short(board.agreement),
            "note": board.note,
            "intervals": INTERVALS,
            "criteria": [_criterion(judgement, standing) for standing in board.standings],
            "best_singles": _set(judgement.sets[BEST_SINGLES]),
        }
    return made | {
        "analysis": asdict(analysis),
        "fingerprints": dict(profile.fingerprints),
        "version": __version__,
    }


def _criterion(judgement: Judgement, standing: Standing) -> dict[str, Any]:
    known = STRATEGIES.get(standing.criterion)
    return {
        "criterion": standing.criterion,
        "needs": known.needs if known else None,
        "spearman": _short(standing.spearman.value),
        "low": _short(standing.spearman.low),
        "high": _short(standing.spearman.high),
        "hits": _short(standing.hits),
        **_set(judgement.sets[standing.criterion]),
        "per_byte": {
            "spearman": _short(standing.per_byte.value),
            "low": _short(standing.per_byte.low),
            "high": _short(standing.per_byte.high),
            "hits": _short(standing.hits_per_byte),
        },
        "partial": _short(standing.partial),
        "unscored": standing.unscored,
        "clear": standing.clear,
        "level_with_best": standing.level_with_best,
        "scores": _short(judgement.scores[standing.criterion]),
    }


def _set(reached: SetAccuracy) -> dict[str, Any]:
    return {
        "regret": _short(100 * reached.regret),  # points
        "accuracies": _short(reached.accuracies),
        "accuracy_sd": _short(reached.sd),
    }


def _short(value: Any) -> Any:
    """A number, or several, in few digits; None for one that is not finite."""
    if isinstance(value, tuple | list):
        return [_short(each) for each in value]
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def save_profile(profile: LayerProfile, judgement: Judgement | None) -> Path:
    """Write a profile into BettiScope's folder, where the page Compare finds it.

    A profile without criteria does not replace one that has them.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    path = _path(profile.options.analysis, profile.seeds[0])
    if judgement is None and _is_judged(path):
        return path
    text = json.dumps(document(profile, judgement), allow_nan=False)
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise StoreError(
            f"The layer profile could not be saved in {path.parent} ({error.strerror})."
        ) from error
    return path


def _is_judged(path: Path) -> bool:
    try:
        found = _load(path)
    except StoreError:  # it is damaged
        return False
    return found is not None and found.judgement is not None


def profiles_folder() -> Path:
    """Where profiles that were made here are kept."""
    return home() / "profiles"


def find_profile(analysis: AnalysisOptions) -> SavedProfile | None:
    """The profile of a network and its images: one made here, else one that was shipped.

    One that holds criteria comes before one that does not.

    Raises
    ------
    StoreError
        If a file is damaged or cannot be read.
    """
    known = []
    for path in (_path(analysis, 0), shipped_path(analysis)):
        found = _load(path)
        if found is not None and _is_of(found.profile, analysis):
            known.append(replace(found, shipped=path.parent == SHIPPED))
    return next((each for each in known if each.judgement is not None), next(iter(known), None))


def shipped_path(analysis: AnalysisOptions) -> Path:
    """Where the profile of these would be shipped; only its name says so."""
    data = analysis.dataset
    if analysis.shift != "none":
        data += f"-{analysis.shift}-{analysis.severity}"
    name = f"{analysis.model}-{data}".replace("/", "_")
    return SHIPPED / f"{name}.json"


def _load(path: Path) -> SavedProfile | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.parent == SHIPPED:  # a name that no file can have
            return None
        raise StoreError(f"{path} cannot be read ({error.strerror}).") from error
    try:
        return from_document(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        remedy = (
            "Restore it with git." if path.parent == SHIPPED else "Delete it, and run it again."
        )
        raise StoreError(f"The layer profile {path} is damaged. {remedy}") from error


def from_document(made: Mapping[str, Any]) -> SavedProfile:
    """Read what `document` writes.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        If it is none.
    """
    analysis = AnalysisOptions(**made["analysis"])
    options = profile_options(analysis, train_samples=made["train_samples"], epochs=made["epochs"])
    layers = tuple(
        LayerWorth(
            layer["layer"], layer["kind"], layer["parameters"], layer["activations"],
            tuple(layer["gains"]), layer["seconds"], layer["bytes"],
        )
        for layer in made["layers"]
    )  # fmt: skip
    profile = LayerProfile(
        options=options,
        seeds=tuple(made["seeds"]),
        layers=layers,
        head_accuracies=tuple(made["head"]["accuracies"]),
        head_bytes=made["head"]["bytes"],
        test_images=made["test_images"],
        fingerprints=made["fingerprints"],
    )
    judgement = _judgement(made) if "criteria" in made else None
    return SavedProfile(profile, judgement, False, made["version"])


def _judgement(made: Mapping[str, Any]) -> Judgement:
    criteria = made["criteria"]
    return Judgement(
        board=Leaderboard(
            standings=tuple(map(_standing, criteria)),
            places=made["best_layers"],
            by_chance=made["hits_by_chance"],
            agreement=_long(made["agreement_of_seeds"]),
            note=made["note"],
        ),
        scores={each["criterion"]: tuple(map(_long, each["scores"])) for each in criteria},
        sets={each["criterion"]: _reached(each) for each in criteria}
        | {BEST_SINGLES: _reached(made["best_singles"])},
        rho=made["rho"],
        set_size=made["set_size"],
    )


def _standing(each: Mapping[str, Any]) -> Standing:
    per_byte = each["per_byte"]
    return Standing(
        criterion=each["criterion"],
        spearman=_estimate(each),
        hits=_long(each["hits"]),
        per_byte=_estimate(per_byte),
        hits_per_byte=_long(per_byte["hits"]),
        partial=_long(each["partial"]),
        unscored=each["unscored"],
        clear=each["clear"],
        level_with_best=each["level_with_best"],
    )


def _estimate(each: Mapping[str, Any]) -> Estimate:
    return Estimate(*(_long(each[name]) for name in ("spearman", "low", "high")))


def _reached(each: Mapping[str, Any]) -> SetAccuracy:
    return SetAccuracy(tuple(each["accuracies"]), _long(each["regret"]) / 100)


def _long(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _path(analysis: AnalysisOptions, seed: int) -> Path:
    subject = asdict(_subject(analysis)) | _fingerprints(analysis, seed)
    digest = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
    return profiles_folder() / f"{digest[:32]}.json"


def _subject(analysis: AnalysisOptions) -> AnalysisOptions:
    """What a profile is of: the network and the images, however many and whichever are drawn."""
    return profile_options(replace(analysis, device="auto")).analysis.deciding()


def _fingerprints(analysis: AnalysisOptions, seed: int) -> dict[str, str]:
    model = weights_fingerprint(analysis.model, analysis.weights, seed)
    return {"model": model, "data": dataset_spec(analysis.dataset).fingerprint()}


def _is_of(profile: LayerProfile, analysis: AnalysisOptions) -> bool:
    return _subject(profile.options.analysis) == _subject(analysis) and (
        dict(profile.fingerprints) == _fingerprints(analysis, profile.seeds[0])
    )
