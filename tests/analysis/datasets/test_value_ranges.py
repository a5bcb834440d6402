"""Values beyond 8 bits: one scale for a whole dataset."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.datasets import dataset_spec, folders, load_dataset
from analysis.datasets.value_ranges import Scale, ValueRange, common_scales
from tests.analysis.datasets.picture_files import class_folders


@pytest.fixture(autouse=True)
def remembered_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_known", {})


def folder_of_arrays(root: Path, *arrays: np.ndarray) -> str:
    root.mkdir()
    for k, values in enumerate(arrays):
        Image.fromarray(values).save(root / f"{k}.tif")
    return f"folder:{root}"


def means(name: str) -> list[float]:
    return [float(image.mean()) for image in load_dataset(name).images]


def big_endian_tiff(values: np.ndarray) -> bytes:
    data = values.astype(">u2").tobytes()
    height, width = values.shape
    size, where = len(data), 8
    tags = [
        *((256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1)),
        *((273, 4, where), (277, 3, 1), (278, 3, height), (279, 4, size)),
    ]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + (struct.pack(">I", value) if kind == 4 else struct.pack(">HH", value, 0))
        for tag, kind, value in tags
    )
    return (
        b"MM\0*"
        + struct.pack(">I", where + size)
        + data
        + struct.pack(">H", len(tags))
        + entries
        + struct.pack(">I", 0)
    )


def test_12_bits_in_16_are_as_bright_as_in_8(tmp_path: Path) -> None:
    name = folder_of_arrays(
        tmp_path / "a", *(np.full((4, 4), k * 273, np.uint16) for k in (3, 9, 15))
    )
    assert means(name) == pytest.approx([0.2, 0.6, 1.0])
    note = "One scale for all images beyond 8 bits: integer values from 0 to 4,095 became 0 to 1."
    assert dataset_spec(name).notes == (note,)
    assert note in dataset_spec(name).description


def test_floats_keep_their_brightness_between_images(tmp_path: Path) -> None:
    name = folder_of_arrays(
        tmp_path / "a", *(np.array([[0, k]], np.float32) for k in (100, 200, 400))
    )
    assert means(name) == pytest.approx([0.125, 0.25, 0.5])


def test_big_endian_is_read_as_little_endian(tmp_path: Path) -> None:
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4369
    name = folder_of_arrays(tmp_path / "little", values, values)
    (tmp_path / "big").mkdir()
    for k in range(2):
        (tmp_path / "big" / f"{k}.tif").write_bytes(big_endian_tiff(values))
    little, big = (load_dataset(n).images[0] for n in (name, f"folder:{tmp_path / 'big'}"))
    assert np.array_equal(little, big)
    assert big.max() == 1


@pytest.mark.parametrize(
    ("kind", "least", "most", "scale"),
    [
        ("integer", 0, 1000, (0, 1023)),
        ("integer", 0, 200, (0, 255)),
        ("integer", 0, 65535, (0, 65535)),
        ("integer", 0, 2**31 - 1, (0, 2**31 - 1)),
        ("integer", -1024, 3071, (-1024, 3071)),
        ("float", 0, 0.3, (0, 1)),
        ("float", 0, 1.02, (0, 1.02)),
        ("float", 0, 250, (0, 255)),
        ("float", -1, 1, (-1, 1)),
        ("float", 0, 4000, (0, 4000)),
    ],
)
def test_the_scale_follows_what_is_used(
    kind: str, least: float, most: float, scale: tuple[float, float]
) -> None:
    assert common_scales([ValueRange(kind, least, most)]) == ((kind, Scale(*scale)),)


def test_the_fingerprint_of_8_bits_has_no_scale_and_others_do(tmp_path: Path) -> None:
    plain = dataset_spec(f"folder:{class_folders(tmp_path / 'p', {'a': 2, 'b': 2})}")
    assert plain.fingerprint().count("-") == 1
    assert plain.notes == ()
    deep = dataset_spec(folder_of_arrays(tmp_path / "d", np.full((2, 2), 700, np.uint16)))
    assert deep.fingerprint().endswith("-integer-0-1023")


def test_the_scale_is_remembered_with_the_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = folder_of_arrays(tmp_path / "a", np.full((2, 2), 700, np.uint16))
    before = dataset_spec(name).fingerprint()
    monkeypatch.setattr(folders, "_known", {})
    reports: list[object] = []
    assert dataset_spec(name, reports.append).fingerprint() == before
    assert reports == []
