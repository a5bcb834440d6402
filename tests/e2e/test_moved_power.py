"""What becomes of a moved power on Compare while the costs poll: the browser's side, by hand.

A browser sends with each poll what its controls show at that moment. That can be the new power with
the old normalisation, before it asks for the rankings, and until it has received the new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.e2e.test_moved_rho import receive_run
from tests.serving import serve

pytestmark = pytest.mark.e2e
OLD, NEW, POWER = "activation", "activation flops^0.25", 0.25
PREDICTED = 4.0  # seconds within which the server has all predictions


class Compare:
    """The page in a session whose controls a test sets."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._power = self._normalization = ""  # the controls' names
        self._rankings = self._costs = ""  # the fragments that have the sliders, and that poll
        self.shown: dict[str, object] = {}  # what the server has set
        while not self._costs:  # while the analysis is made
            time.sleep(0.2)
            self.run()
        self.shown.clear()

    def run(self, *, poll: bool = False, power: float = 0.0, normalization: str = OLD) -> bool:
        """Send the controls and take in what is drawn; whether that is the whole page."""
        self.ask(poll=poll, power=power, normalization=normalization)
        return self.receive()

    def ask(self, *, poll: bool = False, power: float = 0.0, normalization: str = OLD) -> None:
        message = BackMsg()
        message.rerun_script.page_name = "compare"
        message.rerun_script.fragment_id = self._costs if poll else self._rankings
        message.rerun_script.is_auto_rerun = poll
        widgets = message.rerun_script.widget_states.widgets
        if self._costs:
            widgets.add(id=self._power).double_array_value.data.append(power)
            widgets.add(id=self._normalization, string_value=normalization)
        self._socket.send(message.SerializeToString())

    def receive(self) -> bool:
        """Take in one run, or the one that it asks for."""
        whole = False
        for message in (messages := receive_run(self._socket)):
            element = message.delta.new_element
            fragment = message.delta.fragment_id
            if element.dataframe.ByteSize() and fragment not in ("", self._rankings):
                self._costs = fragment
            slider, selectbox = element.slider, element.selectbox
            if slider.id.endswith("-power_flops"):
                self._power, self._rankings = slider.id, fragment
                if slider.set_value:
                    self.shown["power"] = slider.value[0] if slider.value else slider.default[0]
            if selectbox.id.endswith("-normalization"):
                self._normalization = selectbox.id
                if selectbox.set_value:
                    self.shown["normalization"] = selectbox.raw_value
            whole = message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
        ended_early = messages[-1].script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        return self.receive() if ended_early else whole


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Compare]:
    """The page of a server whose predictions take a moment."""
    with serve(tmp_path / "home", script="tests/e2e/quick_server.py") as server:
        address = f"{server.url.replace('http', 'ws')}/_stcore/stream"
        with connect(address, origin=server.url) as socket:
            yield Compare(socket)


def test_the_move_that_a_poll_carries_is_not_taken_back(page: Compare) -> None:
    assert not page.run(poll=True, power=POWER)
    assert page.shown == {"normalization": NEW}
    assert not page.run(power=POWER)
    assert page.shown == {"normalization": NEW}


def test_a_poll_with_the_old_normalisation_does_not_take_back_the_move(page: Compare) -> None:
    assert not page.run(power=POWER), "a moved power drew the whole page"
    assert page.shown == {"normalization": NEW}
    end = time.monotonic() + PREDICTED
    while time.monotonic() < end:
        assert not page.run(poll=True, power=POWER), "a poll with old values drew the page"
        time.sleep(0.2)
    assert page.run(poll=True, power=POWER, normalization=NEW)
    assert page.shown == {"normalization": NEW}
