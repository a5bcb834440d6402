"""The parts of Explore that another open layer draws again, and nothing else."""

from __future__ import annotations

from app.components.shared.polling import redraw_parts

MICROSCOPE, EXPORT = "microscope", "export"


def redraw_layer_parts(*others: str) -> None:
    """Draw what shows the open layer, and other parts after it; for the end of a callback."""
    redraw_parts(MICROSCOPE, EXPORT, *others)
