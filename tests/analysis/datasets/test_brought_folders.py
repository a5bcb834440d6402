"""Folders and zips as people bring them: from public reports, and at random."""

from __future__ import annotations

import io
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from analysis.datasets import dataset_spec, folders, import_archive
from analysis.datasets.image_files import is_litter
from analysis.datasets.split_names import looks_like_split, split_folders
from analysis.errors import AnalysisError
from tests.analysis.datasets.picture_files import jpeg_bytes, png_bytes
from tests.analysis.datasets.test_archives import zipped

PNG = [png_bytes(n) for n in range(9)]


@pytest.fixture(autouse=True)
def remembered_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_known", {})


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


GREY = Image.new("L", (6, 6), 99)
# By report: the files, the classes that are right, and how many images.
REPORTS: dict[str, tuple[dict[str, bytes], tuple[str, ...], int]] = {
    "endings in capitals (pytorch/vision#446)": (
        {"a/1.JPEG": jpeg_bytes(), "a/2.PNG": PNG[0], "b/IMG_6003.JPG": jpeg_bytes()}, ("a", "b"), 3
    ),
    "a hidden folder of notebooks (open-mmlab/mmpretrain#507)": (
        {".ipynb_checkpoints/x.png": PNG[0], "a/1.png": PNG[1], "b/1.png": PNG[2]}, ("a", "b"), 2
    ),
    "what macOS leaves (pytorch/vision#79, BiaPy#125)": (
        {".DS_Store": b"x", "a/.DS_Store": b"x", "a/1.png": PNG[1], "b/1.png": PNG[2],
         "__MACOSX/a/._1.png": b"x"}, ("a", "b"), 2
    ),
    "a class without images (pytorch/vision#4925)": (
        {"a/1.png": PNG[1], "b/1.png": PNG[2], "c/notes.txt": b"x"}, ("a", "b"), 2
    ),
    "truncated (pytorch/vision#138)": (
        {"a/1.jpg": jpeg_bytes()[:-99], "a/2.png": PNG[1], "b/1.png": PNG[2]}, ("a", "b"), 2
    ),
    "an empty image (deepfates/memery#13)": (
        {"a/1.jpg": b"", "a/2.png": PNG[1], "b/1.png": PNG[2]}, ("a", "b"), 2
    ),
    "CMYK (matthewwithanm/django-imagekit#17)": (
        {"a/1.jpg": encoded(GREY.convert("CMYK"), "JPEG"), "b/1.png": PNG[2]}, ("a", "b"), 2
    ),
    "a page that was saved as an image (danbooru/autotagger#2)": (
        {"a/1.jpg": b"<html>403</html>", "a/2.png": PNG[1], "b/1.png": PNG[2]}, ("a", "b"), 2
    ),
    "WebP by another name (GabrielePicco/deep-learning-flower-identifier#2)": (
        {"a/1.jpg": encoded(GREY, "WEBP"), "b/1.png": PNG[2]}, ("a", "b"), 2
    ),
    "numbers, in the order of ImageFolder (pytorch/vision#714, CSAILVision/places365#22)": (
        {f"{name}/1.png": PNG[n] for n, name in enumerate(("0", "1", "10", "2"))},
        ("0", "1", "10", "2"), 4
    ),
    "images beside labels (ultralytics/ultralytics#21224)": (
        {f"{split}/images/{n}.png": PNG[n] for split in ("train", "val") for n in range(2)}
        | {f"{split}/labels/{n}.txt": b"0 .5" for split in ("train", "val") for n in range(2)},
        (), 4
    ),
    "one capital and one small letter (ultralytics/hub#17)": (
        {"Images/a/1.png": PNG[1], "Images/b/1.png": PNG[2]}, ("a", "b"), 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("report", REPORTS)
def test_a_reported_folder_and_its_zip_are_read_right(report: str, tmp_path: Path) -> None:
    files, classes, images = REPORTS[report]
    for name, content in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(content)
    archive = zipped(tmp_path / "a.zip", files)
    for imported in (
        import_archive(tmp_path / "root", "root"), import_archive(archive, "a.zip")
    ):  # fmt: skip
        spec = dataset_spec(imported.dataset)
        assert (spec.class_names, spec.size) == (classes, images)


def test_folders_of_masks_are_named_where_they_are_taken_as_classes(tmp_path: Path) -> None:
    """zhixuhao/unet#177: tools that read classes from folders take masks for a class."""
    for name in ("images/1.png", "images/2.png", "masks/1.png", "masks/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG[1])
    (note,) = dataset_spec(f"folder:{tmp_path}").notes
    assert note.startswith("Taken as classes: “images”, “masks”. If these are images and what")


def test_a_zip_with_backslashes_is_read_as_its_maker_meant(tmp_path: Path) -> None:
    """projectkudu/kudu#2842, dotnet/core-setup#3577: .NET on Windows wrote such archives."""
    names = ("pets\\cat\\1.png", "pets\\cat\\2.png", "pets\\dog\\1.png")
    files = {"pets\\": b"", "pets\\cat\\": b""} | dict(zip(names, PNG, strict=False))
    imported = import_archive(zipped(tmp_path / "a.zip", files), "a.zip")
    assert dataset_spec(imported.dataset).class_names == ("cat", "dog")
    assert imported.images == 3
    with pytest.raises(AnalysisError, match="leads out of the dataset's folder"):
        import_archive(zipped(tmp_path / "b.zip", {"..\\a\\1.png": PNG[0]}), "b.zip")


LETTERS = "ab1 ._-'\"*$<&%#@+~`[]()éж中\u0301\U0001f600"
NAME = st.text(LETTERS, min_size=1, max_size=8).map(lambda text: f"q{text}q")
ODD = st.text(LETTERS + "\n\t\\:?\udce9\u202e", min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..")
)


def spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAME, st.integers(1, 3), min_size=2, max_size=4), st.data())
def test_classes_are_those_of_a_plain_walk(counts: dict[str, int], data: st.DataObject) -> None:
    names = sorted({spelling(name): name for name in counts}.values())
    if len(names) < 2 or split_folders(names) or any(map(looks_like_split, names)):
        return
    files = {}
    for name in names:
        for number in range(counts[name]):
            deeper = data.draw(st.sampled_from(["", "", "deep/er/"]))
            files[f"{name}/{deeper}{number}{data.draw(NAME)}.png"] = PNG[number]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        walked = sorted(p.name for p in root.iterdir() if p.is_dir() and not is_litter(p.name))
        spec = dataset_spec(f"folder:{root}")
        assert list(spec.class_names) == walked
        whole = spec.load()
        assert len(whole.images) == len(files)
        assert [walked[label] for label in whole.labels] == [
            name.split("/")[0] for name in sorted(files)
        ]
        imported = import_archive(zipped(Path(folder) / "a.zip", files), "a.zip")
        unpacked = dataset_spec(imported.dataset).class_names
        assert sorted(map(spelling, unpacked)) == sorted(map(spelling, walked))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.lists(ODD, max_size=3), ODD, st.integers(0, 9)), max_size=6))
def test_no_tree_of_files_ends_in_a_traceback(tree: list[tuple[list[str], str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        for parents, name, kind in tree:
            path = root.joinpath(*parents, f"{name}{'.png' if kind < 8 else ''}")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(PNG[kind] if kind < 7 else b"x")
            except OSError:  # another of the files has the name of a folder
                continue
        with suppress(AnalysisError):
            spec = dataset_spec(f"folder:{root}")
            texts = (*spec.class_names, spec.description, *spec.notes)
            "".join(texts).encode()  # a page can show it
            for image in spec.load().images:
                assert image.shape == (3, 6, 6)
