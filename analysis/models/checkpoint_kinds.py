"""Recognise files that are no checkpoint of PyTorch, by their content, and say what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

_BEGINNING = 512  # bytes that are looked at
_TORCH_ZIP, _TORCHSCRIPT, _KERAS = "data.pkl", "constants.pkl", "model.weights.h5"
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch.save wrote first

_SAVE = "save only the weights, with torch.save(model.state_dict(), …)."
_COPY = "Copy the weights into the PyTorch network and " + _SAVE
_PACKED = "is a packed file: unpack it and give the checkpoint inside."

_STARTS = {
    b"GGUF": f"is a GGUF file, which PyTorch does not read. {_COPY}",
    b"\x89HDF\r\n\x1a\n": f"is an HDF5 file, such as Keras writes. {_COPY}",
    b"version https://git-lfs": "is only Git LFS's pointer to a file: run `git lfs pull` to get "
    "the file itself.",
    b"\x93NUMPY": f"is one NumPy array, not weights by name. {_COPY}",
    b"\x1f\x8b": _PACKED,
    b"BZh": _PACKED,
    b"\xfd7zXZ": _PACKED,
    b"7z\xbc\xaf\x27\x1c": _PACKED,
    b"Rar!": _PACKED,
    b"\x28\xb5\x2f\xfd": _PACKED,
}
_MIDDLES = {
    (4, b"TFL3"): f"is a TensorFlow Lite model. {_COPY}",
    (257, b"ustar"): _PACKED,
}


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors files do: a length and a JSON header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def foreign_kind(path: Path) -> str:
    """What a file is that PyTorch does not read as a checkpoint, with what to do; or ""."""
    with path.open("rb") as file:
        start = file.read(_BEGINNING)
    for begin, sentence in _STARTS.items():
        if start.startswith(begin):
            return sentence
    for (place, middle), sentence in _MIDDLES.items():
        if start[place : place + len(middle)] == middle:
            return sentence
    if _is_onnx(start):
        return f"is an ONNX model, which PyTorch does not read as weights. {_COPY}"
    if start.startswith(b"\x80") and not start.startswith(_OLD_TORCH):
        return (
            "is a plain pickle, which runs code when it is read. Open it where it was made, and "
            + _SAVE
        )
    if start.isascii() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        return "is a text file, not a checkpoint. Download or save it again."
    return _zip_kind(path) if start.startswith(b"PK") else ""


def _is_onnx(start: bytes) -> bool:
    """A protocol buffer whose first field is ONNX's version, before the name of what wrote it."""
    return (
        len(start) > 3 and start[0] == 8 and 0 < start[1] < 32 and start[2] in b"\x12\x1a\x3a\x42"
    )


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return ""  # damaged, as reading it reports
    names = {Path(entry.filename).name for entry in entries}
    if _TORCHSCRIPT in names:
        return (
            "is a TorchScript archive, which contains code. Open it with torch.jit.load and "
            + _SAVE
        )
    if _KERAS in names:
        return f"is a Keras model. {_COPY}"
    if any(name.endswith(".npy") for name in names) and _TORCH_ZIP not in names:
        return f"is an archive of NumPy arrays. {_COPY}"
    if _TORCH_ZIP not in names:
        return "is a zip archive that torch.save did not write. Unpack it and give the file inside."
    # torch.save never compresses; a few compressed megabytes may expand to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return (
            "is a compressed archive, which torch.save does not write. Read it with torch.load "
            "and " + _SAVE
        )
    return ""
