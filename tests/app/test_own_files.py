"""Images of one's own on the page: a folder that is read where it is, an upload that is kept."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import app.cache
import app.components.own_files
from analysis.datasets import import_archive, own_datasets
from analysis.errors import AssetError
from analysis.options import AnalysisOptions
from analysis.store import fingerprint
from tests.app.pages import button, opened, settled, texts, tile

pytestmark = pytest.mark.usefixtures("home")
COUNT = 8  # images in a folder


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser runs on the server's own machine."""
    monkeypatch.setattr(app.components.own_files, "_is_local", lambda: True)


def fill(folder: Path, seed: int) -> Path:
    """Noise as PNG files, another for each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(COUNT):
        pixels = rng.integers(0, 255, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


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
            here.shown is not None
            and here.shown.options.dataset == name
            and here.shown.key == fingerprint(here.shown.options)
        )

    settled(page, shows_it)
    assert not page.exception
    return str(page.session_state["session"].shown.key)


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
    assert "no labels" in "\n".join(each.value for each in page.warning)
    assert button(page, "Start 3 runs").disabled


@pytest.mark.usefixtures("local")
def test_of_two_folders_of_one_name_the_one_that_is_chosen_is_taken(tmp_path: Path) -> None:
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
def test_a_folder_that_is_gone_is_told_and_the_page_goes_on(tmp_path: Path) -> None:
    folder = fill(tmp_path / "stick", seed=3)
    page = opened()
    name_folder(page, folder)
    shutil.rmtree(folder)
    page.run()
    assert not page.exception
    assert f"there is no {folder}" in page.error[0].value
    page.run()
    assert not page.exception
    assert not page.error
    assert page.selectbox(key="dataset").value == "digits"
    assert tile(page, "Selected") == "4 of 42 layers"


def test_an_upload_is_kept_until_it_is_deleted(tmp_path: Path) -> None:
    packed = tmp_path / "shots.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(fill(tmp_path / "shots", seed=4).iterdir()):
            archive.write(path, path.name)
    kept = import_archive(packed, "shots.zip").dataset
    page = opened()
    page.selectbox(key="dataset").set_value(kept).run()
    assert not page.exception
    delete = next(each for each in page.button if each.label.startswith("Delete shots-"))
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
    assert app.components.own_files._is_local() is local


def test_images_that_are_not_those_of_the_analysis_are_not_shown() -> None:
    options = AnalysisOptions()
    shown = app.cache.drawn_images(options, fingerprint(options))
    assert len(shown.pictures) == options.samples
    with pytest.raises(AssetError, match="have changed since"):
        app.cache.drawn_images(options, "of other files")
