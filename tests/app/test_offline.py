"""Without a network: one sentence that says what works, and a page that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.pages import button, opened, settled, texts, tile


@pytest.fixture
def offline(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes find no way out: nothing listens on port 9 of this machine."""
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))


@pytest.mark.usefixtures("offline")
def test_an_unreachable_dataset_gives_one_sentence_and_a_usable_page() -> None:
    page = opened(dataset="pets")
    assert "800 MB will be downloaded" in texts(
        settled(page, lambda page: "Predicted" in texts(page))
    )
    assert not page.error, "a link fetches nothing by itself"
    button(page, "Analyse").click().run()
    settled(page, lambda page: bool(page.error))
    assert "could not be downloaded" in page.error[0].value
    page.selectbox(key="dataset").set_value("digits").run()
    assert tile(page, "Selected") == "4 of 42 layers"
    assert "could not" not in texts(page)
