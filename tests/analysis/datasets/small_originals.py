"""Small archives laid out exactly as the originals, and a server that has them."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat


def jpeg(level: int) -> bytes:
    """A photograph of one grey, of a size of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (20 + level, 30), (level,) * 3).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def matlab(**variables: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def pets() -> dict[str, bytes]:
    """37 breeds are numbered; here are the first, the third and the last."""
    breeds = {1: "Abyssinian", 3: "american_pit_bull_terrier", 37: "yorkshire_terrier"}
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    images, level = {"images/Abyssinian_1.mat": b"of the original, too"}, 0
    for split, count in (("trainval", 5), ("test", 2)):
        for label, breed in breeds.items():
            for k in range(count):
                name = f"{breed}_{len(lines[split])}{split[:2]}"
                images[f"images/{name}.jpg"] = jpeg(level)
                lines[split].append(f"{name} {label} {1 if label == 1 else 2} {k + 1}")
                level += 1
    notes = {
        f"annotations/{split}.txt": "\n".join(a).encode() + b"\n" for split, a in lines.items()
    }
    notes["annotations/README"] = b"hello"
    return {"images.tar.gz": tarred(images), "annotations.tar.gz": tarred(notes)}


def flowers() -> dict[str, bytes]:
    """Twelve images of the kinds 1 and 102; the official splits are not in order."""
    labels = np.array([[1, 102] * 6], np.uint8)
    images = {f"jpg/image_{k:05d}.jpg": jpeg(k) for k in range(1, 13)}
    splits = {"trnid": [[11, 12]], "valid": [[1, 4]], "tstid": [[2, 3, 5, 6, 7, 8, 9, 10]]}
    return {
        "102flowers.tgz": tarred(images),
        "imagelabels.mat": matlab(labels=labels),
        "setid.mat": matlab(**{k: np.array(v, np.uint16) for k, v in splits.items()}),
    }


def dogs() -> dict[str, bytes]:
    folders = {1: "n02085620-Chihuahua", 120: "n02116738-African_hunting_dog"}
    images, lists, level = {}, {}, 0
    for split, count in (("train", 5), ("test", 2)):
        names, labels = [], []
        for label, folder in folders.items():
            for k in range(count):
                names.append(f"{folder}/{folder[:9]}_{level}{k}.jpg")
                labels.append(label)
                images[f"Images/{names[-1]}"] = jpeg(level)
                level += 1
        cells = np.array([[name] for name in names], dtype=object)
        lists[f"{split}_list.mat"] = matlab(
            file_list=cells, annotation_list=cells, labels=np.array(labels, np.uint8)[:, None]
        )
    lists["file_list.mat"] = b""
    return {"images.tar": tarred(images, "w"), "lists.tar": tarred(lists, "w")}


def cub() -> dict[str, bytes]:
    """Training and test images alternate in the original's lists, as here."""
    folders = {1: "001.Black_footed_Albatross", 200: "200.Common_Yellowthroat"}
    files, names, labels, trained = {"attributes.txt": b"1 has_bill_shape::curved\n"}, [], [], []
    for label, folder in folders.items():
        for k in range(7):
            names.append(f"{folder}/{folder[4:]}_{k:04d}_7{k}.jpg")
            labels.append(label)
            trained.append(int(k % 3 != 1))  # five of seven
            files[f"CUB_200_2011/images/{names[-1]}"] = jpeg(len(names) - 1)
    tables = {
        "images.txt": names,
        "image_class_labels.txt": labels,
        "train_test_split.txt": trained,
    }
    for name, column in tables.items():
        lines = (f"{k} {value}\n" for k, value in enumerate(column, 1))
        files[f"CUB_200_2011/{name}"] = "".join(lines).encode()
    lines = (f"{k} {folder}\n" for k, folder in folders.items())
    files["CUB_200_2011/classes.txt"] = "".join(lines).encode()
    return {"CUB_200_2011.tgz": tarred(files)}


def cifar_rows(first: int, count: int) -> np.ndarray:
    """Images whose red, green and blue are their number, plus one, plus two."""
    levels = np.arange(first, first + count, dtype=np.uint8)[:, None]
    return np.repeat(np.concatenate([levels, levels + 1, levels + 2], axis=1), 1024, axis=1)


def cifar10() -> dict[str, bytes]:
    names = {f"data_batch_{k + 1}": (4 * k, [0, 9, 0, 9]) for k in range(5)}
    names["test_batch"] = (20, [9, 0, 9])
    files = {
        name: pickle.dumps({"data": cifar_rows(first, len(labels)), "labels": labels})
        for name, (first, labels) in names.items()
    }
    files["batches.meta"] = pickle.dumps({"label_names": ["airplane"]})
    archive = tarred({f"cifar-10-batches-py/{name}": data for name, data in files.items()})
    return {"cifar-10-python.tar.gz": archive} | files


def cifar100() -> dict[str, bytes]:
    names = {"train": (0, [0, 99] * 10), "test": (20, [99, 0, 99])}
    files = {
        name: pickle.dumps(
            {"data": cifar_rows(first, len(labels)), "fine_labels": labels, "coarse_labels": []}
        )
        for name, (first, labels) in names.items()
    }
    files["meta"] = pickle.dumps({"fine_label_names": ["apple"]})
    archive = tarred({f"cifar-100-python/{name}": data for name, data in files.items()})
    return {"cifar-100-python.tar.gz": archive} | files


def fashion() -> dict[str, bytes]:
    files = {}
    for split, first, labels in (("train", 0, [0, 9] * 10), ("t10k", 20, [9, 0, 9])):
        pixels = np.arange(first, first + len(labels), dtype=np.uint8).repeat(784).tobytes()
        header = struct.pack(">IIII", 0x803, len(labels), 28, 28)
        files[f"{split}-images-idx3-ubyte.gz"] = gzip.compress(header + pixels)
        header = struct.pack(">II", 0x801, len(labels))
        files[f"{split}-labels-idx1-ubyte.gz"] = gzip.compress(header + bytes(labels))
    return files


# Made once: the time stands in some of the formats.
ORIGINALS = {
    "pets": cache(pets),
    "flowers": cache(flowers),
    "dogs": cache(dogs),
    "cub": cache(cub),
    "cifar10": cache(cifar10),
    "cifar100": cache(cifar100),
    "fashion-mnist": cache(fashion),
}


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of a folder's files: its address, and the paths that it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
