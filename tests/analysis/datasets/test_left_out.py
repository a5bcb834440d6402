"""What is left out of a dataset is counted, by reason and class, and a way to read it is named."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFile

from analysis.commands.options import add_data_options, follow_links, report_left_out
from analysis.datasets import dataset_spec, folders, image_files, import_archive
from analysis.datasets.folders import count_left_out
from analysis.errors import OptionError
from tests.analysis.datasets.picture_files import class_folders, png_bytes
from tests.analysis.datasets.test_archives import zipped


@pytest.fixture(autouse=True)
def remembered_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_known", {})


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pets", {"cat": 4, "dog": 4})


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_counts_name_reason_and_classes() -> None:
    skipped = [(f"{c}/{n}.jpg", "it is empty") for c in "abcde" for n in range(3)]
    skipped += [("a/x.heic", "HEIC"), ("top.txt", "it is not an image")]
    assert count_left_out(skipped)[0] == "15 files: it is empty (a 3, b 3, c 3 and 2 more)"
    assert count_left_out(skipped, example=True) == [
        "15 files, such as a/0.jpg: it is empty (a 3, b 3, c 3 and 2 more)",
        "1 file, a/x.heic: HEIC (a 1)",
        "1 file, top.txt: it is not an image (beside the folders 1)",
    ]
    assert count_left_out([]) == []


def test_a_folder_and_its_zip_leave_out_the_same(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pets / "cat" / "phone.HEIC").write_bytes(b"heic")
    (pets / "cat" / "empty.png").write_bytes(b"")
    (pets / "dog" / "notes.txt").write_text("woof")
    (pets / "dog" / "Thumbs.db").write_text("litter")
    (pets / "readme.md").write_text("pets")
    zipped_pets = import_archive(zipped(tmp_path / "a.zip", files_of(pets)), "a.zip")
    in_place = import_archive(pets, "pets")
    assert sorted(zipped_pets.skipped) == sorted(in_place.skipped)
    assert len(in_place.skipped) == 4
    report_left_out(in_place.dataset)
    printed = capsys.readouterr().err
    (others,) = [line for line in printed.splitlines() if "it is not an image" in line]
    assert others.startswith("note: left out 2 files, such as dog/notes.txt: ")
    assert others.endswith("(dog 1, beside the folders 1)")
    assert "note: left out 1 file, cat/empty.png: it is empty (cat 1)" in printed
    assert printed.count("cat/empty.png") == 1  # each file is counted in one note


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC images are not read here: pip install pillow-"),
        (b"\0\0\0\x18ftypmif1" + bytes(99), "HEIC images are not read here"),
        (b"\n<!DOCTYPE HTML><title>403</title>", "it is a web page, not an image"),
        (b"\0\0\0\x18ftypisom" + bytes(99), "it is damaged, or not in a known image format"),
        (b"", "it is empty"),
    ],
)
def test_the_first_bytes_say_what_a_file_is(pets: Path, content: bytes, words: str) -> None:
    """A phone's picture that was renamed to .jpg is no damaged one."""
    (pets / "dog" / "x.jpg").write_bytes(content)
    ((name, reason),) = dataset_spec(f"folder:{pets}").skipped
    assert name == "dog/x.jpg"
    assert reason.startswith(words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scan.dcm", "DICOM images are not read here: convert them to PNG"),
        ("IMG_1.NEF", "raw images are not read here: convert them to PNG"),
        ("logo.svg", "vector drawings are not read here"),
        ("x.npy", "arrays are not read here"),
    ],
)
def test_images_of_a_kind_that_is_not_read_are_named(pets: Path, name: str, words: str) -> None:
    (pets / "dog" / name).write_bytes(b"x")
    ((left_out, reason),) = dataset_spec(f"folder:{pets}").skipped
    assert (left_out, reason[: len(words)]) == (f"dog/{name}", words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pets.zip", "is a packed file. Unpack it, or upload it on the page"),
        ("pets.tar.gz", "is a packed file. Unpack it"),
        ("data.yaml", "is a list. Give the folder with the images, with one folder for each class"),
        ("cat.png", "is a file. Give the folder that it lies in"),
    ],
)
def test_a_file_instead_of_a_folder_is_refused_with_what_to_give(
    tmp_path: Path, name: str, words: str
) -> None:
    """ultralytics/ultralytics#13789: a list in YAML is right for every task but classification."""
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(OptionError) as error:
        dataset_spec(f"folder:{tmp_path / name}")
    assert str(error.value) == f"`dataset` must be a folder of images: {tmp_path / name} {words}"


class _Heif(ImageFile.ImageFile):
    """A stand-in for the opener of pillow-heif."""

    format = "HEIF"

    def _open(self) -> None:
        assert self.fp is not None
        self._size = (4, 4)
        self._mode = "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, 4, 4), 4, "RGB")]


def test_heic_is_read_where_a_decoder_is_installed(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pets / "cat" / "phone.HEIC").write_bytes(b"heic" + bytes([255, 0, 0] * 16))

    def register_heif_opener() -> None:
        Image.register_open("HEIF", _Heif, lambda start: start.startswith(b"heic"))

    image_files._formats.cache_clear()
    try:
        with monkeypatch.context() as patch:
            package = SimpleNamespace(register_heif_opener=register_heif_opener)
            patch.setitem(sys.modules, "pillow_heif", package)
            spec = dataset_spec(f"folder:{pets}")
            assert (spec.size, spec.skipped) == (9, ())
            assert image_files.is_image_name("a.heif")
            pixels = image_files.decode(pets / "cat" / "phone.HEIC")
            assert np.array_equal(pixels[:, 0, 0], [1, 0, 0])
    finally:
        Image.OPEN.pop("HEIF", None)
        Image.ID[:] = [name for name in Image.ID if name != "HEIF"]
        image_files._formats.cache_clear()
    if find_spec("pillow_heif") is None:
        assert not image_files.is_image_name("a.heif")


def test_a_pointer_of_git_lfs_is_named(pets: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (pets / "dog" / "9.png").write_text(pointer)
    reason = "it is a Git LFS pointer without the image: run “git lfs pull”"
    assert dataset_spec(f"folder:{pets}").skipped == (("dog/9.png", reason),)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Class folders whose images are links into a store elsewhere, one of them not fetched."""
    (tmp_path / "cache").mkdir()
    root = tmp_path / "linked"
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for image in range(4):
            stored = tmp_path / "cache" / f"{number}{image}"
            stored.write_bytes(png_bytes(20 * number + image))
            (root / name / f"{image}.png").symlink_to(stored)
    (root / "dog" / "gone.png").symlink_to(tmp_path / "cache" / "none")
    return root


def test_links_out_are_named_with_the_way_out_and_read_on_request(linked: Path) -> None:
    with pytest.raises(OptionError) as error:
        dataset_spec(f"folder:{linked}")
    assert "8 links out of the folder, as DVC and DataLad make them: use --follow-links" in str(
        error.value
    )
    spec = dataset_spec(f"linked:{linked}")
    assert (spec.class_names, spec.size) == (("cat", "dog"), 8)
    assert spec.skipped == (("dog/gone.png", "it is a link to a missing file"),)
    assert "1 link to missing files: fetch these first, as with “dvc pull”" in spec.notes[-1]
    assert spec.load().images[0].shape == (3, 6, 6)


def test_the_command_line_reads_links_on_request(linked: Path) -> None:
    parser = argparse.ArgumentParser()
    add_data_options(parser.add_argument)
    for flags, kind in (([], "folder"), (["--follow-links"], "linked")):
        arguments = parser.parse_args(["--dataset", str(linked), *flags])
        arguments.dataset = follow_links(arguments, arguments.dataset)
        assert arguments.dataset == f"{kind}:{linked}"


def test_some_links_out_are_noted(linked: Path) -> None:
    (linked / "cat" / "own.png").write_bytes(png_bytes(90))
    assert "8 links out of the folder" in dataset_spec(f"folder:{linked}").notes[0]
    before = dataset_spec(f"linked:{linked}").fingerprint()
    assert dataset_spec(f"linked:{linked}").size == 9
    target = (linked / "cat" / "0.png").resolve()
    target.write_bytes(png_bytes(200, 9))
    assert dataset_spec(f"linked:{linked}").fingerprint() != before


def test_followed_links_to_folders_end(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "root", {"cat": 2})
    other = class_folders(tmp_path / "other", {"dog": 2})
    (root / "dog").symlink_to(other / "dog")
    (root / "again").symlink_to(other / "dog")
    (root / "up").symlink_to(tmp_path)
    (other / "dog" / "back").symlink_to(root)
    (other / "dog" / "self").symlink_to(other)
    spec = dataset_spec(f"linked:{root}")
    assert spec.size == 4
    again = {name for name, reason in spec.skipped if "read already" in reason}
    assert "up" in again
    assert len(again) == 3
