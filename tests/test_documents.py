"""The documents name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "assets/README.md",
    "docs/findings.md", "docs/teaching.md",
)  # fmt: skip
ENDINGS = {".py", ".md", ".toml", ".txt", ".png", ".svg", ".css", ".json", ".npz", ".safetensors"}


def named_paths(text: str) -> set[str]:
    """Text in back-ticks that looks like a path: it has a slash or a known ending."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([\w./*-]+)`", prose)
    return {span for span in spans if "/" in span or Path(span).suffix in ENDINGS}


def linked_paths(text: str) -> set[str]:
    """Targets of links and images, without web addresses and anchors."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return {target.partition("#")[0] for target in targets if not re.match(r"\w+:|#", target)}


def missing(paths: set[str], folder: Path) -> list[str]:
    return sorted(path for path in paths if not (folder / path).exists())


def test_each_path_of_the_architecture_exists() -> None:
    paths = named_paths((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(paths) > 20
    assert missing(paths, ROOT) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_link_has_a_target(document: str) -> None:
    path = ROOT / document
    assert missing(linked_paths(path.read_text(encoding="utf-8")), path.parent) == []


def test_a_path_is_recognised() -> None:
    text = (
        "See `analysis/topology/store.py`, `tests/`, `Makefile`, `b1` and `main.py`.\n"
        "```\nno/path.py\n```"
    )
    assert named_paths(text) == {"analysis/topology/store.py", "tests/", "main.py"}


def test_a_link_is_recognised() -> None:
    text = "![view](assets/a.png) [up](#top) [web](https://pytorch.org) [more](CHANGELOG.md#new)"
    assert linked_paths(text) == {"assets/a.png", "CHANGELOG.md"}
