"""Learn: from a ring of points to a choice of layers, one idea on each screen."""

from __future__ import annotations

from app.components.learn.frame import render_frame
from app.components.learn.steps import STEPS

render_frame(STEPS)
