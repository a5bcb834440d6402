"""The states that the teacher's page links to exist."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs

from analysis.topology.known_shapes import SHAPES
from app.components.learn.loop import linked_points
from app.components.learn.steps import STEPS

TEXT = Path(__file__).resolve().parents[4].joinpath("docs", "teaching.md").read_text("utf-8")
KNOWN = {"step", "shape", "points", "noise", "dimension", "learn_at", "ring", "learn_draw",
         "bet_rho"}  # fmt: skip


def test_links_lead_to_steps_and_shapes_that_exist() -> None:
    links = [parse_qs(query) for query in re.findall(r"/learn\?([^)]+)\)", TEXT)]
    assert len(links) > 10
    for link in links:
        assert set(link) <= KNOWN
        assert 1 <= int(link["step"][0]) <= len(STEPS)
        assert set(link.get("shape", [])) <= set(SHAPES)
        assert all(linked_points(text) for text in link.get("ring", []))
    assert {link["step"][0] for link in links} == {str(n + 1) for n in range(len(STEPS))}
