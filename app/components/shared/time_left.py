"""The time that runs will take, in words."""

from __future__ import annotations

from analysis.sweeps.progress import TimeLeft
from analysis.text import duration_text


def time_left_text(left: TimeLeft, runs: int) -> str:
    """The time that so many runs still take, estimated from earlier ones."""
    if left.unknown == runs:
        return "no estimate until a similar run has finished"
    text = f"about {duration_text(left.seconds)} left, estimated from earlier runs"
    if left.unknown:
        text += f", for {runs - left.unknown} of them; no similar run has finished for the others"
    return text
