"""What decides a network of the user's own code: the files it read and the weights it had.

Asking for a key must not run the code, so each build leaves these facts in BettiScope's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.util import source_from_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from analysis.errors import AssetError
from analysis.system.downloads import digest_of
from analysis.system.home import home, replacing

if TYPE_CHECKING:
    from torch import nn

_PROGRAM = Path(__file__).resolve().parents[1]
_INSTALLED = {"site-packages", "dist-packages"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class CodeFacts:
    """What the last build of a network read and gave."""

    files: tuple[str, ...] = ()  # imported or opened for reading
    weights: str = ""  # a digest of what a checkpoint would replace
    settings: str = ""  # of all else that the network holds


@dataclass
class _Recording:
    thread: int
    files: set[str] = field(default_factory=set)


_recording: _Recording | None = None
_listening = False  # an audit hook cannot be removed, so there is only ever one
_modules_of_builds: dict[str, str] = {}  # name and file: later builds find them imported
_remembered: dict[Path, CodeFacts] = {}  # where the folder cannot be written to


@contextmanager
def recorded_files() -> Iterator[set[str]]:
    """Collect the files that this thread opens for reading and the modules it imports."""
    global _listening, _recording
    if not _listening:
        sys.addaudithook(_listen)
        _listening = True
    _recording = recording = _Recording(threading.get_ident())
    try:
        yield recording.files
    finally:
        _recording = None


def note_modules(imported: Iterable[str]) -> None:
    """Count modules that a build has just imported among what it read."""
    for name in imported:
        if (file := _file_of(sys.modules[name])) and _is_the_users(file):
            _modules_of_builds[name] = file
    if _recording is not None:
        _recording.files.update(
            file for name, file in _modules_of_builds.items() if name in sys.modules
        )


def save_facts(name: str, seed: int, files: Iterable[str], model: nn.Module) -> None:
    """Remember what a build read and gave."""
    sources = {_source_of(file) for file in files}
    own = sorted(file for file in sources if _is_the_users(file) and Path(file).is_file())
    facts = CodeFacts(tuple(own), *weights_digests(model))
    path = _path(name, seed)
    _remembered[path] = facts
    with suppress(OSError), replacing(path) as file:
        file.write(json.dumps(asdict(facts)).encode())


def code_digest(name: str, seed: int, *, with_weights: bool) -> str:
    """A digest of the file, the Python files beside it, and what its last build read and gave."""
    path = Path(name.rpartition(":")[0])
    beside = sorted(file for file in path.resolve().parent.glob("*.py") if file.is_file())
    listed = [f"{file.name} {file_digest(file)}" for file in beside]
    facts = _load(_path(name, seed))
    for file in map(Path, facts.files):
        if file not in beside:
            listed.append(f"{file} {file_digest(file) if file.is_file() else 'gone'}")
    listed += [facts.settings, *([facts.weights] if with_weights else [])]
    return hashlib.sha256(os.fsencode("\n".join(listed))).hexdigest()


def weights_digests(model: nn.Module) -> tuple[str, str]:
    """Digests of what a checkpoint would replace, and of all else that a network holds.

    The second covers buffers that are not saved, the modules' plain attributes, and the code of
    compiled modules.
    """
    import torch

    weights, settings = hashlib.sha256(), hashlib.sha256()
    saved = set(model.state_dict())
    for name, tensor in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        _add(weights if name in saved else settings, name, tensor)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            _add(settings, name, str(module.inlined_graph))
            continue
        for key, value in sorted(vars(module).items()):
            _add(settings, f"{name}.{key}", value)
    return weights.hexdigest(), settings.hexdigest()


def _add(digest: Any, name: str, value: object) -> None:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        digest.update(f"{name} {value.dtype}".encode())
        with suppress(Exception):  # lazy, on the meta device, sparse or quantised: no plain bytes
            digest.update(f"{tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray):
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    elif _is_plain(value):
        digest.update(f"{name}={value!r}\0".encode(errors="replace"))


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    """Called by Python for everything it does, so it must be quick and never raise."""
    recording = _recording
    if event != "open" or recording is None or recording.thread != threading.get_ident():
        return
    path, mode, flags = arguments
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    reads = not set(mode) & set("wax+") if isinstance(mode, str) else not flags & 3
    if reads:
        recording.files.add(str(Path(os.fsdecode(path)).absolute()))


def _file_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return str(Path(file).absolute()) if isinstance(file, str) else ""


def _source_of(file: str) -> str:
    """The source that a compiled file was made from, if it is there."""
    if file.endswith(".pyc"):
        with suppress(ValueError):
            source = source_from_cache(file)
            return source if Path(source).is_file() else file
    return file


def _is_the_users(file: str) -> bool:
    """Whether it belongs to neither Python, an installed package, nor this program."""
    if file.startswith(("/proc/", "/sys/", "/dev/")):
        return False
    paths = {Path(file), Path(file).resolve()}
    libraries = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
    installed = [_PROGRAM, *map(Path, libraries)]
    places = {place for path in installed for place in (path, path.resolve())}
    return not any(
        places.intersection(path.parents) or _INSTALLED.intersection(path.parts) for path in paths
    )


def _path(name: str, seed: int) -> Path:
    file, _, function = name.rpartition(":")
    identity = f"{Path(file).resolve()}:{function}:{seed}"
    return home() / "code" / f"{hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]}.json"


def _load(path: Path) -> CodeFacts:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(map(str, values["files"]))
        return CodeFacts(files, str(values["weights"]), str(values["settings"]))
    except (OSError, ValueError, KeyError, TypeError):  # never built here, or damaged
        return _remembered.get(path, CodeFacts())


def file_digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises
    ------
    AssetError
        If it cannot be read.
    """
    try:
        return digest_of(path.resolve())
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror}).") from error
