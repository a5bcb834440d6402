"""Learn: from a ring of points to a choice of layers, one idea on each screen."""

from __future__ import annotations

from app.components.learn import loop, shapes
from app.components.learn.frame import Step, render_frame

STEPS = (
    Step(loop.TITLE, loop.TEXT, loop.render_loop),
    Step(shapes.TITLE, shapes.TEXT, shapes.render_shapes),
)

render_frame(STEPS)
