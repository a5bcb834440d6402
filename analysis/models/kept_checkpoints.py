"""Checkpoints that the user has uploaded. Listing them needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from analysis.errors import OptionError, StoreError
from analysis.models.names import FILE, model_spec
from analysis.progress import Progress, ProgressCallback
from analysis.system.downloads import digest_of
from analysis.system.home import home


@dataclass(frozen=True)
class CheckpointRequest:
    """A file to check against an architecture and, if it fits, to keep."""

    path: Path  # of the uploaded file, which is only read
    name: str  # the user's name for it
    model: str  # a name that `model_spec` knows
    key: str = ""  # which set of weights to keep if there are several


@dataclass(frozen=True)
class Checkpoint:
    """A stored checkpoint."""

    weights: str  # for `load_model`: "file:" and a path
    classes: int
    notes: tuple[str, ...] = ()  # sentences for the user
    keys: tuple[str, ...] = ()  # the sets of weights in the file, the usual one first


def keep_checkpoint(
    request: CheckpointRequest, progress: ProgressCallback | None = None
) -> Checkpoint:
    """Check a file, then keep its weights as safetensors. Needs torch: call it in a worker.

    Raises
    ------
    AssetError
        If the file is refused, with the reason; then nothing is kept.
    OptionError, ModelError
        If there is no such model.
    StoreError
        If it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from analysis.models.loading import fit_checkpoint

    if progress is not None:
        progress(Progress("Reading", request.name, 0, 2))
    spec = model_spec(request.model)
    weights = fit_checkpoint(spec, request.path, called=request.name, key=request.key).weights
    if progress is not None:
        progress(Progress("Keeping", request.name, 1, 2))
    folder = _folder(request.model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch, "part")
            save_file(weights.state, part, metadata={"model": request.model})
            path = folder / f"{_slug(request.name)}-{digest_of(part)[:12]}.safetensors"
            part.replace(path)
            path.chmod(0o644)
    except (OSError, SafetensorError) as error:  # the latter also of a full disk
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"The checkpoint could not be saved in {folder} ({reason}).") from error
    return Checkpoint(FILE + str(path.resolve()), weights.classes, weights.notes, weights.keys)


def own_checkpoints(model: str) -> list[str]:
    """Values of `weights` that `keep_checkpoint` made for a model, newest first."""
    try:
        files = [path for path in _folder(model).glob("*.safetensors") if path.is_file()]
        files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError:  # deleted in the meantime
        return []
    return [FILE + str(path.resolve()) for path in files]


def remove_checkpoint(weights: str) -> None:
    """Delete a stored checkpoint. If it is already deleted, nothing happens.

    Raises
    ------
    OptionError
        If `weights` is not a stored checkpoint: no other file is ever deleted.
    StoreError
        If it cannot be deleted.
    """
    path = Path(weights.removeprefix(FILE))
    root = _root().resolve()
    if not weights.startswith(FILE) or path.resolve().parent.parent != root:
        raise OptionError(f"`weights` must be a checkpoint in {root}, got {weights!r}")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} could not be deleted ({error.strerror}).") from error


def _root() -> Path:
    return home() / "checkpoints"


def _folder(model: str) -> Path:
    # timm's names contain a slash.
    return _root() / quote(model, safe="")


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(name).stem).strip("-.")[:60] or "checkpoint"
