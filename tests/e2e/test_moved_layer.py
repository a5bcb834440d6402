"""What becomes of the open layer while other parts of Explore poll: the browser's side, by hand.

A browser sends with each poll what its controls show at that moment: maybe the layer that was
open before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.e2e.test_moved_rho import receive_run
from tests.serving import Server, serve

pytestmark = pytest.mark.e2e
OLD, NEW = "layer1.0.conv1", "layer2.0.conv1"


class Explore:
    """The page in a session whose control of the layer a test sets."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._layer = self.microscope = self.other = ""  # the control, its part, and another part
        self.shown: list[str] = []  # what the server has set the control to
        while not (self._layer and self.other):  # while the analysis is made
            time.sleep(0.2)
            self.draw("")
        self.shown.clear()

    def ask(self, layer: str, part: str) -> None:
        """Send the layer with a request for a part."""
        self._send(layer, part)
        self._receive()  # what a callback asks for comes later

    def draw(self, layer: str) -> None:
        """Ask for the whole page, and take in everything up to it."""
        self._send(layer, "")
        while self._receive() != ForwardMsg.FINISHED_SUCCESSFULLY:
            pass

    def _send(self, layer: str, part: str) -> None:
        message = BackMsg()
        message.rerun_script.fragment_id = part
        if self._layer:
            message.rerun_script.widget_states.widgets.add(id=self._layer, string_value=layer)
        self._socket.send(message.SerializeToString())

    def _receive(self) -> int:
        for message in (messages := receive_run(self._socket)):
            element, fragment = message.delta.new_element, message.delta.fragment_id
            if element.selectbox.id.endswith("-layer"):
                self._layer, self.microscope = element.selectbox.id, fragment
                if element.selectbox.set_value:
                    self.shown.append(element.selectbox.raw_value)
            if element.plotly_chart.id.endswith("-rows_wide"):
                self.other = fragment
        return messages[-1].script_finished


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    with serve(home, script="tests/e2e/quick_server.py") as server:
        yield server


@pytest.fixture
def page(server: Server) -> Iterator[Explore]:
    address = f"{server.url.replace('http', 'ws')}/_stcore/stream"
    with connect(address, origin=server.url) as socket:
        page = Explore(socket)
        for layer in (OLD, NEW):
            page.ask(layer, page.microscope)
            page.draw(layer)
        page.shown.clear()
        yield page


def test_a_poll_with_the_layer_from_before_does_not_take_back_the_choice(page: Explore) -> None:
    page.ask(OLD, page.other)
    page.draw(NEW)
    assert OLD not in page.shown


def test_a_choice_that_a_poll_carries_first_is_kept(page: Explore) -> None:
    page.ask(OLD, page.other)
    page.ask(OLD, page.microscope)
    page.draw(OLD)
    assert NEW not in page.shown
