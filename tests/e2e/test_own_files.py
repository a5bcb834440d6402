"""The user's own images and checkpoint: uploaded, analysed, fine-tuned."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from analysis.datasets import load_dataset
from analysis.models import load_model

pytestmark = pytest.mark.e2e
Visit = Callable[..., Page]
CLASSES = ("nought", "one", "two")
EACH = 20  # images of a class
TESTED = 12  # of them all: a fifth


def zipped_digits() -> bytes:
    """Real digits as PNG files in one folder per class, and one file that is not an image."""
    data = load_dataset("digits")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for label, name in enumerate(CLASSES):
            for number, index in enumerate(np.flatnonzero(data.labels == label)[:EACH]):
                picture = io.BytesIO()
                pixels = (data.images[index, 0] * 255).astype(np.uint8)
                Image.fromarray(pixels).save(picture, "png")
                archive.writestr(f"shapes/{name}/{number}.png", picture.getvalue())
        archive.writestr("shapes/one/broken.png", b"no image at all")
    return packed.getvalue()


def checkpoint(path: Path) -> Path:
    torch.save(load_model("pocket-resnet20", num_classes=7).state_dict(), path)
    return path


def upload(page: Page, popover: str, name: str, content: bytes) -> Locator:
    """Upload a file in a popover of the sidebar, and return the popover."""
    page.get_by_test_id("stSidebar").get_by_role("button", name=popover).click()
    body = page.get_by_role("dialog", name=popover)
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    # Streamlit drops a file that comes while it draws the field again. Like a person who finds
    # the field empty, put it in once more.
    for patience in (20_000, 30_000, None):
        page.locator("[data-test-script-state=notRunning]").wait_for()
        body.locator("input[type=file]").set_input_files(file)
        try:
            expect(body).to_contain_text(name, timeout=patience)
            break
        except AssertionError:
            if patience is None:
                raise
    return body


def chosen(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key} input").first


def test_a_zip_and_a_checkpoint_are_uploaded_analysed_and_trained_on(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    alert = upload(page, "Your own images", "shapes.zip", zipped_digits())
    expect(alert).to_contain_text("60 images in 3 classes")
    expect(alert).to_contain_text("broken.png")
    page.keyboard.press("Escape")
    expect(chosen(page, "dataset")).to_have_value(re.compile("shapes"))

    mine = checkpoint(tmp_path / "mine.pt").read_bytes()
    alert = upload(page, "Your own weights", "mine.pt", mine)
    expect(alert).to_contain_text("7 classes")
    page.keyboard.press("Escape")
    expect(chosen(page, "weights")).to_have_value(re.compile("mine"))

    page.get_by_role("button", name="Analyse", exact=True).click()
    analysed = page.get_by_test_id("stCaptionContainer").filter(
        has_text=re.compile(r"^pocket-resnet20 \(mine-.*\) on 36 images of shapes-")
    )
    expect(analysed).to_be_visible()
    tiles = page.get_by_test_id("stMetric")
    selected = tiles.filter(has_text="Selected")
    expect(selected).to_have_count(1)  # for a moment that of the page before is there as well
    expect(selected).to_contain_text("4 of 42 layers")
    page.screenshot(path=tmp_path / "analysed.png")

    page.get_by_role("link", name="Fine-tune").first.click()
    expect(page.get_by_role("heading", name="Is training")).to_be_visible()
    epochs = page.locator(".st-key-epochs input")
    epochs.fill("1")
    epochs.press("Enter")
    for strategy in ("size", "head"):
        page.locator(".st-key-strategies").get_by_role("button", name=strategy).click()
    start = page.get_by_role("button", name="Start 1 run").first
    expect(start).to_be_enabled()
    start.click()
    tile = tiles.filter(has_text="AdaBet").first
    expect(tile).to_contain_text("test ·")
    accuracy = float(tile.get_by_test_id("stMetricValue").inner_text().removesuffix("%"))
    twelfths = accuracy * TESTED / 100
    assert abs(twelfths - round(twelfths)) < 0.01, "it was tested on a fifth of these images"
