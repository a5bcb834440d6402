"""The steps of the page Learn, in order."""

from __future__ import annotations

from app.components.learn import bet, layers, loop, selection, shapes
from app.components.learn.frame import Step

STEPS = (
    Step(loop.TITLE, loop.TEXT, loop.render_loop),
    Step(shapes.TITLE, shapes.TEXT, shapes.render_shapes),
    Step(layers.TITLE, layers.TEXT, layers.render_layers),
    Step(selection.TITLE, selection.TEXT, selection.render_selection),
    Step(bet.TITLE, bet.TEXT, bet.render_bet),
)
