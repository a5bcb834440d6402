"""What the commands print while they work."""

from __future__ import annotations

import pytest

from analysis.commands.options import print_progress
from analysis.progress import Progress


def test_a_line_of_progress_covers_a_longer_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_progress(Progress("Permuted features", "layer3.2.conv2", 1, 3))
    print_progress(Progress("Permuted features", "fc", 2, 3))
    print_progress(Progress("Download", "weights.pt", 3, 3))
    long, short, last = capsys.readouterr().err.split("\r")
    assert long.rstrip() == "Permuted features: layer3.2.conv2"
    assert short.rstrip() == "Permuted features: fc"
    assert len(short) >= len(long.rstrip())
    assert last.rstrip(" ").startswith("Download: weights.pt")
    assert last.endswith("\n")
