"""Folders of images as datasets: layout, faults, changes, and what is remembered."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.datasets import (
    FileImages,
    dataset_problem,
    dataset_spec,
    folders,
    load_dataset,
    needs_look,
)
from analysis.datasets.image_files import is_image_name
from analysis.errors import AssetError, OptionError
from analysis.options import SPLITS, AnalysisOptions, RunOptions
from analysis.progress import Progress
from tests.analysis.datasets.picture_files import class_folders, level_of, png_bytes


@pytest.fixture(autouse=True)
def remembered_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_known", {})


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pets", {"cat": 10, "dog": 5})


def name_of(root: Path) -> str:
    return f"folder:{root}"


def looks(name: str) -> list[Progress]:
    """Every image that had to be decoded to describe a dataset."""
    reports: list[Progress] = []
    dataset_spec(name, reports.append)
    return reports


def test_class_folders_are_a_labelled_dataset(pets: Path) -> None:
    spec = dataset_spec(name_of(pets))
    assert spec.class_names == ("cat", "dog")
    assert spec.sizes == {"train": 9, "validation": 3, "test": 3}
    assert spec.image_shape is None
    assert spec.title == "pets"
    assert spec.description == "15 images in 2 classes."
    assert (spec.why_untrainable, spec.skipped) == ("", ())
    for split in SPLITS:
        data = load_dataset(name_of(pets), split=split)
        assert isinstance(data.images, FileImages)
        assert len(data) == spec.sizes[split]
        assert [level_of(image) for image in data.images] == data.indices.tolist()
        assert np.array_equal(data.labels, data.indices >= 10)


def test_images_may_be_at_any_depth(tmp_path: Path) -> None:
    class_folders(tmp_path / "a", {"x/1/2": 4, "x/0": 1, "y": 4})
    spec = dataset_spec(name_of(tmp_path / "a"))
    assert spec.class_names == ("x", "y")
    assert spec.size == 9


@pytest.mark.parametrize("name", ["val", "Test"])
def test_folders_named_after_splits_are_no_classes(name: str, tmp_path: Path) -> None:
    root = class_folders(
        tmp_path / "a", {"train/cat": 10, "train/dog": 5, f"{name}/cat": 2, f"{name}/dog": 1}
    )
    (root / "stray.png").write_bytes(png_bytes(99))
    (root / "train" / "stray.png").write_bytes(png_bytes(98))
    spec = dataset_spec(name_of(root))
    assert spec.class_names == ("cat", "dog")
    assert spec.sizes == {"train": 12, "validation": 3, "test": 3}
    assert spec.why_untrainable == ""
    assert spec.skipped == (
        ("stray.png", "it lies beside the folders of the splits"),
        ("train/stray.png", "it lies beside the class folders"),
    )
    description = "18 images in 2 classes, in splits of their own (12 train, 3 validation, 3 test)"
    assert description in spec.description
    tested = load_dataset(name_of(root), split="test")
    assert isinstance(tested.images, FileImages)
    assert {name.split("/")[0] for name in tested.images.names} == {name}
    assert tested.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("within", "classes"),
    [
        (("cat", "dog"), ("cat", "dog")),
        (("train/cat", "train/dog", "test/cat", "test/dog"), ("cat", "dog")),
        (("cat",), ("cat",)),
        (("in/another/cat", "in/another/dog"), ("cat", "dog")),
        (("train/in/cat", "train/in/dog", "test/in/cat", "test/in/dog"), ("cat", "dog")),
    ],
)
def test_a_folder_around_everything_is_passed_through(
    within: tuple[str, ...], classes: tuple[str, ...], tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "a", {f"pics/{name}": 4 for name in within})
    spec = dataset_spec(name_of(root))
    assert (spec.class_names, spec.size) == (classes, 4 * len(within))
    assert ("splits of their own" in spec.description) is (len(within) == 4)
    assert [level_of(image) for image in load_dataset(name_of(root)).images]


@pytest.mark.parametrize("within", [("cat", "dog"), ("train/a", "train/b", "test/a", "test/b")])
def test_an_image_beside_them_changes_nothing(within: tuple[str, ...], tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {f"pics/{name}": 4 for name in within})
    (root / "pics" / "stray.png").write_bytes(png_bytes(99))
    spec = dataset_spec(name_of(root))
    assert len(spec.class_names) == 2
    assert [name for name, _ in spec.skipped] == ["pics/stray.png"]


@pytest.mark.parametrize(
    "names", ["training testing", "TRAIN dev", "train valid", "train validation testing"]
)
def test_splits_have_several_names(names: str, tmp_path: Path) -> None:
    counts = {f"{split}/{name}": 4 for split in names.split() for name in "ab"}
    spec = dataset_spec(name_of(class_folders(tmp_path / "a", counts)))
    assert spec.class_names == ("a", "b")
    assert spec.sizes["test"] == 8


def test_no_image_is_in_two_splits(tmp_path: Path) -> None:
    counts = {"train": 6, "val/cat": 5, "val/dog": 5, "test/cat": 5, "test/dog": 5}
    root = class_folders(tmp_path / "a", counts)  # of which the train images have no class
    spec = dataset_spec(name_of(root))
    assert spec.size == sum(spec.sizes.values()) == 20
    drawn = [load_dataset(name_of(root), split=split).indices for split in SPLITS]
    assert sorted(np.concatenate(drawn)) == list(range(20))


def test_a_train_folder_too_small_to_be_divided_is_reported(tmp_path: Path) -> None:
    counts = {"train/cat": 3, "train/dog": 9, "test/cat": 4, "test/dog": 4}
    spec = dataset_spec(name_of(class_folders(tmp_path / "a", counts)))
    reason = "“cat” (3) has too few images to train on in the train folder: each class needs 4."
    assert spec.why_untrainable.startswith(reason)


def test_a_train_folder_too_small_to_analyse_is_not_alone(tmp_path: Path) -> None:
    counts = {"train/cat": 1, "train/dog": 2, "test/cat": 30, "test/dog": 30}
    spec = dataset_spec(name_of(class_folders(tmp_path / "a", counts)))
    assert spec.sizes == {"train": 63, "validation": 0, "test": 0}
    assert spec.description == "63 images in 2 classes."


def test_one_folder_of_images_is_a_class(tmp_path: Path) -> None:
    assert dataset_spec(name_of(class_folders(tmp_path / "a", {"dog": 4}))).class_names == ("dog",)


def test_all_three_splits_may_be_folders(tmp_path: Path) -> None:
    counts = {f"{split}/{name}": 2 for split in ("train", "valid", "test") for name in "ab"}
    spec = dataset_spec(name_of(class_folders(tmp_path / "x", counts)))
    assert spec.sizes == {"train": 4, "validation": 4, "test": 4}
    assert spec.why_untrainable == ""
    few = class_folders(tmp_path / "y", counts | {"train/c": 1, "test/c": 9})
    assert "“c” (1) has too few images" in dataset_spec(name_of(few)).why_untrainable


def test_splits_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {"train": 6, "test": 4})
    spec = dataset_spec(name_of(root))
    assert spec.class_names == ()
    assert spec.sizes == {"train": 6, "validation": 0, "test": 4}
    assert "have no labels" in spec.why_untrainable
    with pytest.raises(
        OptionError, match=r"`split` must be train or test for .*, got 'validation'"
    ):
        load_dataset(name_of(root), split="validation")


def test_a_test_folder_without_labels_is_left_out(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {"train/cat": 5, "train/dog": 5, "test": 2})
    spec = dataset_spec(name_of(root))
    assert spec.class_names == ("cat", "dog")
    assert spec.sizes == {"train": 6, "validation": 2, "test": 2}
    assert [name for name, _ in spec.skipped] == ["test/0.png", "test/1.png"]


@pytest.mark.parametrize("names", ["train plane", "train test plane", "train training", "val test"])
def test_a_class_may_be_called_like_a_split(names: str, tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", dict.fromkeys(names.split(), 4))
    assert dataset_spec(name_of(root)).class_names == tuple(sorted(names.split()))


def test_names_may_be_of_any_script_and_their_suffixes_large(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "фото", {"кошка": 4, "犬 1": 4})
    (root / "кошка" / "0.png").rename(root / "кошка" / "Ä.PNG")
    spec = dataset_spec(name_of(root))
    assert spec.class_names == ("кошка", "犬 1")
    assert spec.size == 8


def test_a_name_that_is_not_text_is_shown_with_substitutes(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {"cat": 4})
    odd = os.fsencode(root) + b"/\xff"
    Path(os.fsdecode(odd)).mkdir()
    (Path(os.fsdecode(odd)) / "a.png").write_bytes(png_bytes(200))
    (Path(os.fsdecode(odd)) / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    spec = dataset_spec(name_of(root))
    assert spec.class_names == ("cat", "�")
    assert spec.skipped == (("�/�.png", "it is empty"),)
    "".join(spec.class_names).encode()  # a page sends it as UTF-8
    folders._known.clear()
    assert dataset_spec(name_of(root)).size == 5
    images = load_dataset(name_of(root)).images
    assert 200 in [level_of(image) for image in images]
    (Path(os.fsdecode(odd)) / "a.png").unlink()
    with pytest.raises(
        AssetError, match=r"The image �/a\.png in .* \(it no longer exists\)\. Restore the file"
    ):
        list(images)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {"flat": 6}) / "flat"
    spec = dataset_spec(name_of(root))
    assert spec.class_names == ()
    assert spec.sizes == {"train": 6, "validation": 0, "test": 0}
    assert spec.description == "6 images without labels."
    assert "have no labels" in spec.why_untrainable
    assert load_dataset(name_of(root)).sample(4, seed=0).labels.tolist() == [0] * 4
    with pytest.raises(OptionError, match=r"`split` must be train for folder:.*, got 'test'"):
        load_dataset(name_of(root), split="test")


def test_images_beside_class_folders_are_left_out_and_named(pets: Path) -> None:
    (pets / "stray.png").write_bytes(png_bytes(99))
    spec = dataset_spec(name_of(pets))
    assert spec.class_names == ("cat", "dog")
    assert spec.size == 15
    assert spec.skipped == (("stray.png", "it lies beside the class folders"),)
    assert "left out: stray.png (it lies beside the class folders)" in spec.description


def test_images_beside_one_folder_are_all_taken_without_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "a", {"best": 3})
    (root / "one.png").write_bytes(png_bytes(99))
    spec = dataset_spec(name_of(root))
    assert (spec.class_names, spec.size, spec.skipped) == ((), 4, ())


def test_broken_images_are_named_and_others_counted(pets: Path) -> None:
    (pets / "cat" / "empty.jpg").write_bytes(b"")
    (pets / "dog" / "cut.png").write_bytes(png_bytes(3, 40)[:-30])
    (pets / "notes.txt").write_text("hello", encoding="utf-8")
    (pets / "dog" / "labels.csv").write_text("0", encoding="utf-8")
    (pets / ".hidden.png").write_bytes(b"")
    (pets / ".trash").mkdir()
    (pets / ".trash" / "a.png").write_bytes(png_bytes())
    spec = dataset_spec(name_of(pets))
    assert spec.size == 15
    assert [name for name, _ in spec.skipped] == ["cat/empty.jpg", "dog/cut.png"]
    assert spec.skipped[0][1] == "it is empty"
    assert spec.skipped[1][1].startswith("it is damaged")
    assert spec.description.endswith("; 2 other files ignored.")


def test_a_class_whose_images_are_all_broken_is_none(pets: Path) -> None:
    (pets / "fox").mkdir()
    (pets / "fox" / "a.png").write_bytes(b"x")
    (pets / "empty").mkdir()
    spec = dataset_spec(name_of(pets))
    assert spec.class_names == ("cat", "dog")
    assert len(spec.skipped) == 1


def test_links_that_leave_the_folder_are_not_followed(pets: Path, tmp_path: Path) -> None:
    outside = class_folders(tmp_path / "outside", {"secret": 3})
    (pets / "cat" / "out.png").symlink_to(outside / "secret" / "0.png")
    (pets / "outside").symlink_to(outside)
    (pets / "cat" / "in.png").symlink_to(pets / "dog" / "0.png")
    (pets / "again").symlink_to(pets / "cat")
    (pets / "cat" / "gone.png").symlink_to(tmp_path / "nothing")
    (pets / "loop").symlink_to(pets / "loop")
    spec = dataset_spec(name_of(pets))
    assert dict(spec.skipped) == {
        "again": "it is a link to a folder",
        "cat/gone.png": "it is a link to a missing file",
        "cat/out.png": "it is a link out of the folder",
        "loop": "it is a link to a missing file",
        "outside": "it is a link out of the folder",
    }
    assert spec.size == 16  # the link inside is an image


@pytest.mark.parametrize(("inside", "size"), [("", 14), ("cat", 9)])
def test_an_image_deleted_during_the_listing_is_left_out(
    pets: Path, inside: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleted(name: str) -> bool:
        if name == "7.png":
            (pets / "cat" / name).unlink()
        return is_image_name(name)

    monkeypatch.setattr(folders, "is_image_name", deleted)
    assert dataset_spec(name_of(pets / inside)).size == size


def test_the_folder_may_itself_be_reached_by_a_link(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pets)
    assert dataset_spec(name_of(tmp_path / "link")).size == 15
    assert load_dataset(name_of(tmp_path / "link")).images[0].shape == (3, 6, 6)


def test_special_files_are_not_opened(pets: Path) -> None:
    os.mkfifo(pets / "cat" / "pipe.png")  # opening it would wait for ever
    assert dataset_spec(name_of(pets)).size == 15


def test_nothing_in_the_folder_is_changed(pets: Path) -> None:
    def state() -> dict[Path, tuple[bytes | None, int]]:
        paths = [pets, *pets.rglob("*")]
        return {p: (None if p.is_dir() else p.read_bytes(), p.stat().st_mtime_ns) for p in paths}

    before = state()
    list(load_dataset(name_of(pets), shift="noise").images)
    assert state() == before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder:/nowhere/at/all", "/nowhere/at/all does not exist"),
        ("folder:cats", '"folder:" and an absolute path'),
        ("folder:", '"folder:" and an absolute path'),
        (f"folder:/{'a' * 300}", "cannot be opened (File name too long)"),
        ("folder:/a\0b", '"folder:" and an absolute path'),
        ("own:nothing-1234", "there is no upload 'own:nothing-1234'"),
        ("own:../../etc", "there is no upload"),
        ("own:", "there is no upload"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, sentence: str) -> None:
    (problem,) = dataset_problem(name)
    assert sentence in problem
    with pytest.raises(OptionError, match="`dataset`"):
        dataset_spec(name)
    with pytest.raises(OptionError, match=r"`dataset`.*`severity` must be"):
        load_dataset(name, severity=9)
    assert not needs_look(name)


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "contains none (it is empty)" in dataset_problem(name_of(tmp_path / "a"))[0]
    (tmp_path / "a" / "b.txt").write_text("", encoding="utf-8")
    assert "contains none (only 1 other file)" in dataset_problem(name_of(tmp_path / "a"))[0]
    for k in range(5):
        (tmp_path / "a" / f"{k}.png").write_bytes(b"")
    assert dataset_problem(name_of(tmp_path / "a"))[0].endswith(
        "can be read: 0.png, 1.png, 2.png (it is empty) and 2 more"
    )
    assert "is a file" in dataset_problem(name_of(tmp_path / "a" / "0.png"))[0]


def test_a_folder_is_looked_through_once(pets: Path, home: Path) -> None:
    assert needs_look(name_of(pets))
    reports = looks(name_of(pets))
    assert [(p.done, p.total) for p in reports] == [(k, 15) for k in range(1, 16)]
    assert reports[0].layer == "cat/0.png"
    assert not needs_look(name_of(pets))
    folders._known.clear()  # as in another process
    assert looks(name_of(pets)) == []
    (memory,) = (home / "folders").iterdir()
    memory.write_text("{", encoding="utf-8")
    folders._known.clear()
    assert needs_look(name_of(pets))
    assert len(looks(name_of(pets))) == 15


def test_the_same_description_is_given_until_the_folder_changes(pets: Path) -> None:
    first = dataset_spec(name_of(pets))
    assert dataset_spec(name_of(pets)) is first


def test_a_new_image_is_seen_and_only_that_is_decoded(pets: Path) -> None:
    before = dataset_spec(name_of(pets)).fingerprint()
    (pets / "dog" / "new.png").write_bytes(png_bytes(77))
    assert needs_look(name_of(pets))
    assert [p.layer for p in looks(name_of(pets))] == ["dog/new.png"]
    after = dataset_spec(name_of(pets))
    assert after.size == 16
    assert after.fingerprint() != before
    (pets / "dog" / "new.png").unlink()
    assert dataset_spec(name_of(pets)).size == 15
    assert dataset_spec(name_of(pets)).fingerprint() == before


def test_a_change_right_after_a_look_is_seen(pets: Path) -> None:
    assert dataset_spec(name_of(pets)).size == 15
    then = (pets / "cat").stat()
    (pets / "cat" / "new.png").write_bytes(png_bytes(77))
    os.utime(pets / "cat", ns=(then.st_atime_ns, then.st_mtime_ns))  # as on a coarse clock
    assert dataset_spec(name_of(pets)).size == 16


def test_a_changed_image_has_another_fingerprint(pets: Path) -> None:
    for folder in (pets, pets / "cat", pets / "dog"):
        os.utime(folder, (1, 1))  # which a change within a file leaves as it is
    spec = dataset_spec(name_of(pets))
    before, path = spec.fingerprint(), pets / "cat" / "0.png"
    assert spec.fingerprint() == before
    then = path.stat().st_mtime_ns
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, ns=(then, then + 10**9))
    assert spec.fingerprint() != before
    assert dataset_spec(name_of(pets)).skipped[0][0] == "cat/0.png"


def test_an_old_folder_is_not_listed_again(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (pets, pets / "cat", pets / "dog"):
        os.utime(path, (1, 1))
    first = dataset_spec(name_of(pets))
    monkeypatch.setattr(folders, "_list_folder", None)  # would fail if it were called
    assert dataset_spec(name_of(pets)) is first
    assert not needs_look(name_of(pets))
    os.utime(pets / "dog", (2, 2))
    with pytest.raises(TypeError):
        dataset_spec(name_of(pets))


def test_a_missing_folder_is_reported(pets: Path) -> None:
    spec = dataset_spec(name_of(pets))
    data = load_dataset(name_of(pets))
    shutil.rmtree(pets)
    assert "does not exist" in dataset_problem(name_of(pets))[0]
    with pytest.raises(OptionError, match="does not exist"):
        spec.fingerprint()
    with pytest.raises(AssetError, match="it no longer exists"):
        data.images[0]


def test_a_moved_folder_keeps_its_fingerprint(pets: Path, tmp_path: Path) -> None:
    before = dataset_spec(name_of(pets)).fingerprint()
    pets.rename(tmp_path / "elsewhere")
    assert dataset_spec(name_of(tmp_path / "elsewhere")).fingerprint() == before


def test_a_folder_that_cannot_be_remembered_is_read_again(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "file"))
    assert dataset_spec(name_of(pets)).size == 15
    folders._known.clear()
    assert len(looks(name_of(pets))) == 15


def test_a_stop_ends_the_look(pets: Path) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset_spec(name_of(pets), stop)
    assert needs_look(name_of(pets))


def test_a_draw_decodes_nothing(pets: Path) -> None:
    data = load_dataset(name_of(pets), shift="blur")
    for path in pets.rglob("*.png"):
        path.unlink()
    drawn = data.sample(5, seed=1)
    assert isinstance(drawn.images, FileImages)
    assert len(drawn.images) == 5


@pytest.mark.parametrize("shift", ["blur", "noise", "contrast", "rotation", "inversion"])
def test_a_shift_of_an_image_is_its_own(shift: str, tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    for k in range(6):
        pixels = np.random.default_rng(k).integers(0, 255, (10 + k, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.png")
    plain, shifted = load_dataset(name_of(root)), load_dataset(name_of(root), shift=shift)
    few, many = shifted.sample(2, seed=3), shifted.sample(6, seed=3)
    for k in range(2):
        assert np.array_equal(few.images[k], many.images[k])
    whole = list(shifted.images)
    assert [image.shape for image in whole] == [image.shape for image in plain.images]
    assert np.array_equal(many.images[1], whole[many.indices[1]])
    assert all(image.dtype == np.float32 for image in whole)
    assert not np.array_equal(whole[0], plain.images[0])
    if shift == "noise":
        flat = [(a - b)[0, :10] for a, b in zip(whole, plain.images, strict=True)]
        assert abs(np.corrcoef(flat[0].ravel(), flat[1].ravel())[0, 1]) < 0.3


def test_lazy_images_go_from_process_to_process(pets: Path) -> None:
    data = load_dataset(name_of(pets), shift="noise").sample(3, seed=0)
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.images[2], data.images[2])


def test_a_fine_tune_says_why_it_cannot_be(tmp_path: Path) -> None:
    from analysis.training.fine_tune import Training

    root = class_folders(tmp_path / "a", {"cat": 9, "dog": 1})
    options = RunOptions(analysis=AnalysisOptions(dataset=name_of(root), samples=8))
    with pytest.raises(OptionError, match=r"`dataset`: “dog” \(1\) has too few images"):
        Training(options)
    (root / "dog" / "0.png").unlink()
    with pytest.raises(OptionError, match="The only class is “cat”"):
        Training(options)


def test_a_remembered_folder_is_used_only_under_the_same_rules(pets: Path, home: Path) -> None:
    dataset_spec(name_of(pets))
    (memory,) = (home / "folders").iterdir()
    index = json.loads(memory.read_bytes())
    memory.write_text(json.dumps(index | {"rules": -1}), encoding="utf-8")
    folders._known.clear()
    assert len(looks(name_of(pets))) == 15


@pytest.mark.parametrize(
    "form", ["{}", "{} ", "'{}'", '"{}"', "file://{}", "~/my pets: 1 ", "file://localhost{}"]
)
def test_a_path_may_be_written_as_people_paste_it(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "my pets: 1", {"cat": 1, "dog": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dataset_spec("folder:" + form.format(root)).class_names == ("cat", "dog")
