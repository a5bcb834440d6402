"""Checkpoints that a person handed over, kept for later. Listing them needs no torch."""

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

    path: Path  # where the file lies for now; it is only read
    name: str  # as the person calls it: its ending says what it is
    model: str  # a name that `model_spec` knows


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is kept."""

    weights: str  # for `load_model`: "file:" and a path
    classes: int
    notes: tuple[str, ...] = ()  # sentences for the person


def keep_checkpoint(
    request: CheckpointRequest, progress: ProgressCallback | None = None
) -> Checkpoint:
    """Check a file, then keep its weights as safetensors. Needs torch: call it in a worker.

    Raises
    ------
    AssetError
        If the file is refused, with the reason; nothing is kept then.
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
    found = fit_checkpoint(spec, request.path, called=request.name).fitted
    if progress is not None:
        progress(Progress("Keeping", request.name, 1, 2))
    folder = _folder(request.model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch, "part")
            save_file(found.state, part, metadata={"model": request.model})
            path = folder / f"{_readable(request.name)}-{digest_of(part)[:12]}.safetensors"
            part.replace(path)
            path.chmod(0o644)
    except (OSError, SafetensorError) as error:  # the latter also of a full disk
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"The checkpoint could not be kept in {folder} ({reason}).") from error
    return Checkpoint(FILE + str(path.resolve()), found.classes, found.notes)


def own_checkpoints(model: str) -> list[str]:
    """Values of `weights` that `keep_checkpoint` made for a model, the newest first."""
    try:
        files = [path for path in _folder(model).glob("*.safetensors") if path.is_file()]
        files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError:  # removed in between
        return []
    return [FILE + str(path.resolve()) for path in files]


def remove_checkpoint(weights: str) -> None:
    """Delete a checkpoint that is kept; one that is gone already is no error.

    Raises
    ------
    OptionError
        If `weights` is no checkpoint that is kept: nobody else's file is deleted.
    StoreError
        If it cannot be deleted.
    """
    path = Path(weights.removeprefix(FILE))
    kept = _root().resolve()
    if not weights.startswith(FILE) or path.resolve().parent.parent != kept:
        raise OptionError(f"`weights` must be a checkpoint kept in {kept}, got {weights!r}")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} could not be deleted ({error.strerror}).") from error


def _root() -> Path:
    return home() / "checkpoints"


def _folder(model: str) -> Path:
    # timm's names hold a slash.
    return _root() / quote(model, safe="")


def _readable(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(name).stem).strip("-.")[:60] or "checkpoint"
