"""Paths as people paste them."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.commands.options import dataset_name, model_name, weights_name
from analysis.system.paths import plain_path

NAMES = ["plain", "run_10:30:15", "two words", "50% (of) #1", "C:", "Küche", "it's"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pasted(path: Path) -> list[str]:
    """A path as it comes out of a terminal, a file manager, a browser or a chat."""
    text = str(path)
    return [
        text, f" {text}\n", f'"{text}"', f"'{text}'", f"“{text}”", path.as_uri(),
        f"~/{path.name}", f'"~/{path.name}" ', text.replace(" ", "\\ "), f"'{path.as_uri()}'",
        path.as_uri().replace("file://", "file://localhost"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_pasted_around_a_path_is_taken_off(name: str, folder: Path) -> None:
    path = folder / name
    path.mkdir()
    for text in pasted(path):
        assert Path(plain_path(text)) == path, text
        assert dataset_name(text) == f"folder:{path}", text
        assert dataset_name(f"folder:{text}") == f"folder:{path}", text


@pytest.mark.parametrize("name", NAMES)
def test_code_and_checkpoints_are_found_as_pasted(name: str, folder: Path) -> None:
    code, weights = folder / f"{name}.py", folder / f"{name}.pt"
    code.touch()
    weights.touch()
    for text in pasted(code):
        assert model_name(f"{text}:build") == f"{code}:build", text
    assert model_name(f"'{code}:build'") == f"{code}:build"
    assert model_name(f"{code.as_uri()}:build") == f"{code}:build"
    for text in pasted(weights):
        assert weights_name(text) == f"file:{weights}", text
        assert weights_name(f"file:{text}") == f"file:{weights}", text


@pytest.mark.parametrize("name", [" a", "'a'", "~a", "a ", "file:", '"b'])
def test_what_exists_is_not_changed(name: str, folder: Path) -> None:
    (folder / name).mkdir()
    assert plain_path(name) == name
    assert plain_path(str(folder / name)) == str(folder / name)


@pytest.mark.parametrize("text", ["", "'", "a\0b", "file://elsewhere/a", "none"])
def test_other_texts_stay(text: str) -> None:
    assert plain_path(text) == text


@pytest.mark.parametrize(
    ("read", "name"), [(dataset_name, "digits"), (weights_name, "random"), (model_name, "resnet18")]
)
def test_names_stay_names(read: object, name: str, folder: Path) -> None:
    assert callable(read)
    assert read(name) == name
