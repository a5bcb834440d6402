"""Images of one's own on the page: a folder that is read where it is, an upload that is kept."""

from __future__ import annotations

import errno
import io
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

import app.cache
import app.components.sidebar.own_files
from analysis.datasets import import_archive, needs_look, own_datasets, remove_dataset
from analysis.errors import AssetError
from analysis.models import load_model
from analysis.options import AnalysisOptions
from analysis.topology.store import fingerprint
from app.components.shared.subject_names import dataset_name, weights_name
from tests.app.pages import button, endless, opened, settled, texts, tile

pytestmark = pytest.mark.usefixtures("home")
COUNT = 8  # images in a folder


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser runs on the server's own machine."""
    monkeypatch.setattr(app.components.sidebar.own_files, "_is_local", lambda: True)


def fill(folder: Path, seed: int) -> Path:
    """Noise as PNG files, another for each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(COUNT):
        pixels = rng.integers(0, 255, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def packed(folder: Path) -> Path:
    """The files of a folder as a zip."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def upload(page: AppTest, widget: str, name: str, content: bytes) -> None:
    page.file_uploader(key=widget).set_value((name, content, "application/octet-stream")).run()


def name_folder(page: AppTest, folder: Path) -> None:
    """Type a folder's path and wait until it is chosen."""
    page.text_input(key="own_folder").set_value(str(folder)).run()
    settled(page, lambda page: page.selectbox(key="dataset").value == f"folder:{folder}")


def analyse(page: AppTest, folder: Path) -> str:
    """Press the button and give the fingerprint of what is then shown."""
    button(page, "Analyse").click().run()

    def shows_it(page: AppTest) -> bool:
        here = page.session_state["session"]
        name = f"folder:{folder}"
        return (
            here.analysis.shown is not None
            and here.analysis.shown.options.dataset == name
            and here.analysis.shown.key == fingerprint(here.analysis.shown.options)
        )

    settled(page, shows_it)
    assert not page.exception
    return str(page.session_state["session"].analysis.shown.key)


@pytest.mark.usefixtures("local")
def test_a_folder_is_analysed_where_it_is_and_again_when_it_has_changed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", seed=0)
    page = opened()
    name_folder(page, folder)
    assert f"{COUNT} images, without labels" in "\n".join(e.value for e in page.success)
    first = analyse(page, folder)
    assert f"{COUNT} images of pictures (folder {folder})" in texts(page)
    fill(folder, seed=1)
    second = analyse(page, folder)
    assert second != first
    page.switch_page("views/finetune.py").run()
    assert "no labels" in "\n".join(warning.value for warning in page.warning)
    assert button(page, "Start 3 runs").disabled


@pytest.mark.usefixtures("local")
def test_of_two_folders_of_one_name_the_chosen_one_is_used(tmp_path: Path) -> None:
    folders = [fill(tmp_path / parent / "train", seed=2) for parent in ("a", "b")]
    page = opened()
    for folder in folders:
        name_folder(page, folder)
    for folder in folders:
        page.selectbox(key="dataset").set_value(f"folder:{folder}").run()
        assert page.selectbox(key="dataset").value == f"folder:{folder}"
        assert page.number_input(key="samples").value == COUNT
    page.selectbox(key="dataset").set_value("digits").run()
    assert page.number_input(key="samples").value == AnalysisOptions().samples


@pytest.mark.usefixtures("local")
def test_a_missing_folder_is_reported_and_the_page_works(tmp_path: Path) -> None:
    folder = fill(tmp_path / "stick", seed=3)
    page = opened()
    name_folder(page, folder)
    shutil.rmtree(folder)
    page.run()
    assert not page.exception
    assert f"{folder} does not exist" in page.error[0].value
    page.run()
    assert not page.exception
    assert not page.error
    assert page.selectbox(key="dataset").value == "digits"
    assert tile(page, "Selected") == "4 of 42 layers"
    assert f"There is no dataset `{folder}"[:60] in page.warning[0].value
    page.selectbox(key="dataset").set_value("fashion").run()
    assert not page.warning


def test_a_browser_on_another_computer_sees_no_field_for_folders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for here in (True, False):
        monkeypatch.setattr(app.components.sidebar.own_files, "_is_local", lambda here=here: here)
        assert ("own_folder" in [field.key for field in opened().text_input]) is here


def test_a_link_reaches_no_file_of_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "private", seed=5)
    name, passwords = f"folder:{folder}", "file:/etc/passwd"
    for dataset, weights in (
        (name, passwords), (dataset_name(name), weights_name(passwords)),  # as the URL has them
    ):  # fmt: skip
        page = opened(dataset=dataset, weights=weights)
        assert not page.exception
        assert page.selectbox(key="dataset").value == "digits"
        assert page.selectbox(key="weights").value == "pretrained"
        assert tile(page, "Selected") == "4 of 42 layers"
    assert needs_look(name)


@pytest.mark.usefixtures("local")
def test_a_folder_that_was_not_there_can_be_tried_again(tmp_path: Path) -> None:
    page = opened()
    folder = tmp_path / "late"
    page.text_input(key="own_folder").set_value(str(folder)).run()
    assert page.error[0].value == f"{folder} does not exist. Check the path."
    folder.mkdir()
    button(page, "Try again").click().run()
    settled(page, lambda page: bool(page.error))
    assert "contains none (it is empty)" in page.error[0].value
    fill(folder, seed=6)
    button(page, "Try again").click().run()
    settled(page, lambda page: page.selectbox(key="dataset").value == f"folder:{folder}")
    assert not page.error


@pytest.mark.usefixtures("local")
def test_a_look_that_was_stopped_can_be_tried_again(tmp_path: Path) -> None:
    folder = fill(tmp_path / "album", seed=7)
    page = opened()
    name_folder(page, folder)
    (folder / "0.png").unlink()
    fill(folder, seed=8)
    with endless() as job:
        page.run()
        assert needs_look(f"folder:{folder}")  # by a worker, not while the page is drawn
        page.button(key="stop_look").click().run()
    assert job.state == "stopped"
    assert button(page, "Analyse").disabled
    page.selectbox(key="dataset").set_value("digits").run()
    page.selectbox(key="dataset").set_value(f"folder:{folder}").run()
    assert "Stopped. Nothing was saved." in texts(page)
    page.button(key="again_look").click().run()
    settled(page, lambda page: not button(page, "Analyse").disabled)
    assert not needs_look(f"folder:{folder}")


@pytest.mark.usefixtures("local")
def test_of_two_who_wait_for_a_folder_one_may_stop() -> None:
    pages = [opened(), opened()]
    with endless() as job:
        for page in pages:
            page.text_input(key="own_folder").set_value("/").run()
        pages[0].button(key="stop_dataset").click().run()
        assert "Stopped. Nothing was saved." in texts(pages[0])
        assert job.state == "running"
        assert "Stopped" not in texts(pages[1].run())


def test_typed_numbers_of_images_stay(tmp_path: Path) -> None:
    few = import_archive(packed(fill(tmp_path / "few", seed=9)), "few.zip").dataset
    page = opened(samples="500")
    for dataset, typed, shown in (
        (few, None, COUNT), ("digits", None, 500),  # what was asked for comes back
        (few, COUNT - 2, COUNT - 2), ("digits", COUNT, COUNT),
    ):  # fmt: skip
        page.selectbox(key="dataset").set_value(dataset).run()
        if typed:
            page.number_input(key="samples").set_value(typed).run()
        assert page.number_input(key="samples").value == shown
    remove_dataset(few)


def test_a_checkpoint_is_chosen_until_others_are() -> None:
    page = opened()
    mine = io.BytesIO()
    torch.save(load_model("pocket-resnet20", num_classes=7).state_dict(), mine)
    upload(page, "own_checkpoint_pocket-resnet20_0", "mine.pt", mine.getvalue())
    settled(page, lambda page: bool(page.success))
    assert "a checkpoint with 7 classes" in page.success[0].value
    chosen = page.selectbox(key="weights").value
    page.selectbox(key="weights").set_value("random").run()
    assert not page.exception
    assert not page.success
    page.selectbox(key="weights").set_value(chosen).run()
    next(button for button in page.button if button.label.startswith("Delete mine")).click().run()
    assert not page.exception
    assert "was deleted" in page.toast[0].value
    assert page.selectbox(key="weights").value == "pretrained"
    assert page.file_uploader(key="own_checkpoint_pocket-resnet20_1").value is None


def test_of_several_sets_of_weights_in_an_upload_one_is_chosen() -> None:
    page, mine = opened(), io.BytesIO()
    states = [
        load_model("pocket-resnet20", weights="random", seed=seed, num_classes=classes).state_dict()
        for seed, classes in ((1, 7), (2, 5))
    ]
    torch.save({"model_ema": states[1], "model": states[0], "epoch": 3}, mine)
    upload(page, "own_checkpoint_pocket-resnet20_0", "last.pth.tar", mine.getvalue())
    settled(page, lambda page: bool(page.success))
    assert "a checkpoint with 7 classes" in page.success[0].value
    notes = "\n".join(caption.value for caption in page.caption)
    assert "contains 2 sets of weights: model, model" in notes
    assert "Passed over in last.pth.tar: epoch." in notes
    choice = next(box for box in page.selectbox if box.label == "Weights in this file")
    assert choice.value == "model"
    assert choice.options == ["model", "model_ema"]
    first = page.selectbox(key="weights").value
    choice.set_value("model_ema").run()
    settled(page, lambda page: page.selectbox(key="weights").value != first)
    assert not page.exception
    assert "a checkpoint with 5 classes" in page.success[0].value
    chosen = load_model("pocket-resnet20", weights=page.selectbox(key="weights").value)
    assert torch.equal(chosen.get_parameter("fc.weight"), states[1]["fc.weight"])


def test_a_checkpoint_that_would_run_code_is_refused_and_the_page_goes_on(tmp_path: Path) -> None:
    page, harmful = opened(), io.BytesIO()
    torch.save({"fc.weight": _Harmful(str(tmp_path / "victim"))}, harmful)
    upload(page, "own_checkpoint_pocket-resnet20_0", "bad.pt", harmful.getvalue())
    settled(page, lambda page: bool(page.error))
    assert "code" in page.error[0].value
    assert not (tmp_path / "victim").exists()
    assert page.selectbox(key="weights").value == "pretrained"


@pytest.mark.usefixtures("local")
def test_of_a_zip_and_a_folder_the_one_given_last_is_chosen(tmp_path: Path) -> None:
    zipped, folder = fill(tmp_path / "zipped", seed=10), fill(tmp_path / "beside", seed=11)
    page = opened()
    upload(page, "own_images_0", "zipped.zip", packed(zipped).read_bytes())
    settled(page, lambda page: page.selectbox(key="dataset").value.startswith("own:zipped-"))
    dataset = page.selectbox(key="dataset").value
    name_folder(page, folder)
    assert "8 images, without labels" in page.success[0].value
    remove_dataset(dataset)


@pytest.mark.usefixtures("local")
def test_links_out_of_a_folder_are_read_after_a_tick(tmp_path: Path) -> None:
    stored, folder = fill(tmp_path / "store", seed=31), tmp_path / "links"
    folder.mkdir()
    for file in stored.iterdir():
        (folder / file.name).symlink_to(file)
    page = opened()
    page.text_input(key="own_folder").set_value(f'"{folder}" ').run()
    settled(page, lambda page: bool(page.error))
    assert "8 links out of the folder, as DVC and DataLad make them" in page.error[0].value
    page.checkbox(key="own_folder_links").check().run()
    settled(page, lambda page: page.selectbox(key="dataset").value == f"linked:{folder}")
    assert "8 images, without labels" in page.success[0].value


def test_an_upload_on_a_full_disk_leaves_no_file_and_can_be_tried_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, mode: str) -> Any:
        os.close(handle)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    content, page = packed(fill(tmp_path / "late", seed=21)).read_bytes(), opened()
    before = sorted((home / "uploads").glob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        upload(page, "own_images_0", "late.zip", content)
        assert "could not be saved (No space left on device)" in page.error[0].value
        assert sorted((home / "uploads").glob("*")) == before
    button(page, "Try again").click().run()
    assert not page.error
    settled(page, lambda page: page.selectbox(key="dataset").value.startswith("own:late-"))
    remove_dataset(page.selectbox(key="dataset").value)


def test_an_upload_is_kept_until_it_is_deleted(tmp_path: Path) -> None:
    dataset = import_archive(packed(fill(tmp_path / "shots", seed=4)), "shots.zip").dataset
    page = opened()
    page.selectbox(key="dataset").set_value(dataset).run()
    assert not page.exception
    delete = next(button for button in page.button if button.label.startswith("Delete shots-"))
    delete.click().run()
    assert not page.exception
    assert own_datasets() == []
    assert page.selectbox(key="dataset").value == "digits"


@pytest.mark.parametrize(
    ("address", "headers", "local"),
    [
        (None, {"Host": "localhost"}, True),
        ("192.0.2.7", {"Host": "example.org"}, False),
        (None, {"X-Forwarded-For": "192.0.2.7"}, False),
    ],
)
def test_only_a_browser_on_this_machine_may_name_a_folder(
    address: str | None, headers: dict[str, str], local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SimpleNamespace(ip_address=address, headers=headers)
    monkeypatch.setattr(st, "context", context)
    assert app.components.sidebar.own_files._is_local() is local


def test_images_that_are_not_those_of_the_analysis_are_not_shown() -> None:
    options = AnalysisOptions()
    shown = app.cache.drawn_images(options, fingerprint(options))
    assert len(shown.pictures) == options.samples
    with pytest.raises(AssetError, match="have changed since"):
        app.cache.drawn_images(options, "of other files")


class _Harmful:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]
