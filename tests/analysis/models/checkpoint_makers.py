"""Checkpoints as they come: good, bad and hostile. Each writes one real file."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

State = dict[str, torch.Tensor]


def same(model: torch.nn.Module, state: State) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


class Harm:
    """Pickled, it asks the reader to run a command that makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def recompressed(source: Path, to: Path) -> None:
    """The same archive, but compressed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))


def safetensors_bytes(header: dict[str, Any], data: bytes) -> bytes:
    """A file with whatever header."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def claimed(shape: list[int], begin: int, end: int, kind: str = "F32") -> dict[str, Any]:
    """What a header says of one tensor."""
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
