"""What the server sends when ρ moves: what depends on it, and nothing else."""

from __future__ import annotations

import re

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.serving import PATIENCE

pytestmark = pytest.mark.e2e
# What a link, a caption or a chart of a moved ρ may need; no other control, text or chart.
PARTS = ["dataframe", "download_button", "markdown", "metric", "plotly_chart", "slider"]


def receive_run(socket: ClientConnection) -> list[ForwardMsg]:
    """The messages of one run, the last of which says how it ended."""
    messages: list[ForwardMsg] = []
    while not messages or messages[-1].WhichOneof("type") != "script_finished":
        messages.append(ForwardMsg.FromString(socket.recv(PATIENCE)))
    return messages


def elements(messages: list[ForwardMsg]) -> list[str]:
    """The kinds of all elements in the messages, with those that the browser has already."""
    kinds = [message.delta.new_element.WhichOneof("type") for message in messages]
    return sorted({kind for kind in kinds if kind})


def selected(messages: list[ForwardMsg]) -> list[str]:
    metrics = [message.delta.new_element.metric for message in messages]
    return [f"{one.body}, {one.delta}" for one in metrics if one.label == "Selected"]


def ask(socket: ClientConnection, fragment: str = "", slider: str = "", rho: float = 0) -> None:
    message = BackMsg()
    message.rerun_script.fragment_id = fragment
    if slider:
        state = message.rerun_script.widget_states.widgets.add()
        state.id = slider
        state.double_array_value.data.append(rho)
    socket.send(message.SerializeToString())


def test_a_moved_rho_redraws_what_depends_on_it(address: str) -> None:
    with connect(f"{address.replace('http', 'ws')}/_stcore/stream", origin=address) as socket:
        ask(socket)
        page = receive_run(socket)
        while not selected(page):  # while the first analysis is made
            ask(socket)
            page = receive_run(socket)
        sliders = [m.delta for m in page if m.delta.new_element.slider.id.endswith("-rho")]
        slider, fragment = sliders[0].new_element.slider.id, sliders[0].fragment_id
        assert selected(page)[0].endswith("ρ = 0.10")

        ask(socket, fragment, slider, 0.5)
        ended_early, moved = receive_run(socket), receive_run(socket)
        assert not elements(ended_early)  # nothing is drawn before everything can be
        assert moved[-1].script_finished == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
        assert elements(moved) == PARTS
        assert re.fullmatch(r"\d+ of \d+ layers, ρ = 0\.50", selected(moved)[0])

        ask(socket)  # of the whole page, and ρ moves while it is drawn
        ask(socket, fragment, slider, 0.7)
        whole = receive_run(socket)
        assert whole[-1].script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
        assert {"selectbox", "heading"} < set(elements(whole))
        receive_run(socket)
        assert selected(receive_run(socket))[0].endswith("ρ = 0.70")
