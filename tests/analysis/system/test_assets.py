"""Bundled files: read whole, verified, and named when something is wrong with them."""

import hashlib
import json
from pathlib import Path

import pytest

import analysis.system.assets
from analysis.errors import AssetError
from analysis.system.assets import asset_entry, read_asset


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of assets with one good file, in place of the real one."""
    monkeypatch.setattr(analysis.system.assets, "ASSETS", tmp_path)
    (tmp_path / "thing.bin").write_bytes(b"some bytes")
    entry = {"file": "thing.bin", "sha256": hashlib.sha256(b"some bytes").hexdigest()}
    manifest = {"thing": entry, "net": entry | {"test_accuracy": 0.5, "recipe": {}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_good_file_comes_back_whole(assets: Path) -> None:
    assert read_asset("thing") == b"some bytes"
    assert asset_entry("thing").path == assets / "thing.bin"
    assert asset_entry("thing").test_accuracy is None
    assert asset_entry("net").test_accuracy == 0.5


def test_the_file_is_read_once(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = Path.read_bytes

    def counting(path: Path) -> bytes:
        read.append(path.name)
        return plain(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    read_asset("thing")
    assert read == ["manifest.json", "thing.bin"]


@pytest.mark.parametrize("data", [b"", b"some byte", b"some bytez", b"some bytes\n"])
def test_a_damaged_file_is_named(assets: Path, data: bytes) -> None:
    (assets / "thing.bin").write_bytes(data)
    with pytest.raises(AssetError, match=r"thing\.bin is damaged.*`make assets`.*git"):
        read_asset("thing")


def test_a_missing_file_is_named(assets: Path) -> None:
    (assets / "thing.bin").unlink()
    with pytest.raises(AssetError, match=r"thing\.bin is missing: run `make assets` or restore"):
        read_asset("thing")


def test_a_folder_in_the_file_s_place_is_named(assets: Path) -> None:
    (assets / "thing.bin").unlink()
    (assets / "thing.bin").mkdir()
    with pytest.raises(AssetError, match=r"thing\.bin cannot be read"):
        read_asset("thing")


def test_a_missing_manifest_is_named(assets: Path) -> None:
    (assets / "manifest.json").unlink()
    with pytest.raises(AssetError, match=r"manifest\.json is missing"):
        read_asset("thing")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]x", "null", "7", '{"thing": {}}', '{"thing": 3}', '{"thing": null}', "\xff"],
)
def test_a_damaged_manifest_is_named(assets: Path, text: str) -> None:
    (assets / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(AssetError, match=r"manifest\.json is damaged: run `make assets`"):
        read_asset("thing")


def test_an_asset_that_is_not_listed_is_named(assets: Path) -> None:
    with pytest.raises(AssetError, match=r"manifest\.json does not list other"):
        asset_entry("other")
