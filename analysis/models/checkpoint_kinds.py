"""Recognise files that are not a checkpoint of PyTorch, by their content, and say what to do."""

from __future__ import annotations

import re
import zipfile
from codecs import getincrementaldecoder
from collections.abc import Iterable
from pathlib import Path

_BEGINNING = 512  # bytes that are looked at
_TORCH_ZIP, _TORCHSCRIPT, _KERAS = "data.pkl", "constants.pkl", "model.weights.h5"
# The number that torch.save wrote first, before it wrote zips: in bytes, or in words by protocol 0.
_OLD_TORCH = (b"l\xfc\x9cF\xf9 j\xa8P\x19", b"L119547037146038801333356L")
_EXPORTED = "archive_format"

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
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.")  # as Hugging Face's libraries name them
# Names that only an unfinished form of a network's weights has, and what finishes it.
_UNFINISHED = {
    r"\b_?flat_param": "These are shards that FSDP flattened: save a full state dict instead, with "
    "torch.distributed.checkpoint.state_dict.get_model_state_dict and full_state_dict=True.",
    r"fp32_flat_groups": "These are shards of DeepSpeed: join them with zero_to_fp32.py, which "
    "DeepSpeed puts beside them.",
    r"\blora_[AB]\b": "These are LoRA's additions to a network: merge them into it, with "
    "merge_and_unload() for PEFT, and save its weights.",
    r"^state\.\d+\.(exp_avg|momentum_buffer|step)": "This is the state of an "
    "optimiser: give the file of the weights.",
}


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors files do: a length and a JSON header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def old_torch_protocol(path: Path) -> int | None:
    """The pickle protocol of a file of torch.save that is not a zip, 0 for 0 and 1; else None."""
    with path.open("rb") as file:
        return _old_torch_protocol(file.read(_BEGINNING))


def _old_torch_protocol(start: bytes) -> int | None:
    if not any(number in start[:40] for number in _OLD_TORCH):
        return None
    return start[1] if start.startswith(b"\x80") else 0


def folder_kind(path: Path) -> str:
    """What a folder is that was given as a checkpoint, with what to do."""
    if (path / ".metadata").is_file():
        return _distributed("is a distributed checkpoint. Join it", path.name)
    endings = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
    files = sorted(file.name for file in path.iterdir() if file.suffix in endings)
    found = f", such as {files[0]}" if files else ""
    return f"is a folder, not a checkpoint. Give the file with the weights{found}."


def _distributed(what: str, folder: str) -> str:
    command = f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} FILE"
    return f"{what} into one file, with `{command}`, and give that."


def why_unfinished(names: Iterable[str], called: str) -> str:
    """What to do with a file that is only a part or another form of a network's weights; or ""."""
    if shard := _SHARD.search(called):
        return (
            f"It is one of {int(shard[1])} files: load them all where they were made, and {_SAVE}"
        )
    names = list(names)
    for pattern, remedy in _UNFINISHED.items():
        if any(re.search(pattern, name) for name in names):
            return remedy
    return ""


def foreign_kind(path: Path) -> str:
    """What a file is that PyTorch does not read as a checkpoint, with what to do; or ""."""
    if path.suffix == ".distcp" or path.name == ".metadata":
        return _distributed("is a part of a distributed checkpoint. Join its folder", "FOLDER")
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
    if _old_torch_protocol(start) is not None:
        return ""
    if start.startswith(b"\x80"):
        return (
            "is a plain pickle, which runs code when it is read. Open it where it was made, and "
            + _SAVE
        )
    if _is_text(start):
        return _text_kind(start.decode("utf-8", "ignore"))
    return _zip_kind(path) if start.startswith(b"PK") else ""


def _is_text(start: bytes) -> bool:
    """Whether a file begins with readable text; its last character may be cut."""
    try:
        getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)


def _text_kind(text: str) -> str:
    beginning = text.lstrip("\ufeff \t\r\n").lower()
    if beginning.startswith(("<!doctype html", "<html", "<head", "<!--")):
        return (
            "is a web page, not a checkpoint: the download was refused, or asks you to confirm it. "
            "Download it in a browser."
        )
    if '"weight_map"' in text or '"total_size"' in text:
        return (
            "lists files of weights, and has none itself. Load them where they were made, and "
            + _SAVE
        )
    return "is a text file, not a checkpoint. Download or save it again."


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
    if _EXPORTED in names:
        return (
            "is a program of torch.export, which contains code. Open it with torch.export.load and "
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
