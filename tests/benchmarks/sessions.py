"""Several people at once: how long the server takes when they move ρ, and what they leave behind.

Each of them speaks to a server of its own over a websocket, as a browser does. The default view is
analysed before the clock starts.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from types import TracebackType

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict
from tests.serving import Server, serve

PEOPLE = {1: 120.0, 5: 400.0}  # at once: the target, ms
MOVES = 100  # of each
OPENED = 400  # sessions, one after the other
# Streamlit keeps 128 closed sessions for two minutes, in case their browsers come back. Each has
# an event loop of three file descriptors: 384 more, and from then on no more.
KEPT = 150
SAME = 20  # file descriptors that may come and go
PATIENCE = 60.0  # seconds for one answer
ENDED = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


@dataclass(frozen=True)
class MovesResult:
    people: int
    milliseconds: list[float]  # from each move to the end of its run
    cpu_milliseconds: float  # of the server, for each move


@dataclass(frozen=True)
class OpenedResult:
    sessions: list[int]  # opened and closed so far
    descriptors: list[int]
    megabytes: list[float]  # resident


@dataclass(frozen=True)
class SessionsResult:
    moves: list[MovesResult]
    opened: OpenedResult


class Visitor:
    """A browser's side of one session, as far as a moved ρ needs it."""

    def __init__(self, server: Server) -> None:
        self._socket = connect(
            server.url.replace("http", "ws") + "/_stcore/stream", origin=server.url, max_size=None
        )
        self._cached: set[str] = set()
        self._slider, self._fragment = "", ""
        self.note = ""  # of the tile "Selected": the ρ that this session sees
        self.run()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def move(self, rho: float) -> float:
        """Move ρ, and return the milliseconds until its run has ended."""
        start = time.perf_counter()
        self.run(rho)
        if self.note != f"ρ = {rho:.2f}":
            raise SystemExit(f"ρ was moved to {rho:.2f}, and the page shows {self.note!r}")
        return 1000 * (time.perf_counter() - start)

    def run(self, rho: float | None = None) -> None:
        """Run the page, with another ρ if it is given."""
        message = BackMsg()
        message.rerun_script.cached_message_hashes.extend(self._cached)
        if rho is not None:
            message.rerun_script.fragment_id = self._fragment
            state = message.rerun_script.widget_states.widgets.add()
            state.id = self._slider
            state.double_array_value.data.append(rho)
        self._socket.send(message.SerializeToString())
        while not self._is_last(ForwardMsg.FromString(self._receive())):
            pass

    def _receive(self) -> bytes:
        data = self._socket.recv(PATIENCE)
        return data.encode() if isinstance(data, str) else data

    def _is_last(self, message: ForwardMsg) -> bool:
        if message.metadata.cacheable and message.hash:
            self._cached.add(message.hash)
        element = message.delta.new_element
        if element.WhichOneof("type") == "slider" and element.slider.id.endswith("-rho"):
            self._slider, self._fragment = element.slider.id, message.delta.fragment_id
        if element.WhichOneof("type") == "metric" and element.metric.label == "Selected":
            self.note = element.metric.delta
        return message.WhichOneof("type") == "script_finished" and message.script_finished in ENDED


def measure() -> SessionsResult:
    """Serve the default view from an empty folder of its own, and visit it."""
    with tempfile.TemporaryDirectory() as home:
        run_python("-m", "analysis", "analyze", environment={"BETTISCOPE_HOME": home})
        with serve(home) as server:
            with Visitor(server) as first:  # modules are imported, caches filled
                first.move(0.5)
            moves = [_move_together(server, people) for people in PEOPLE]
        with serve(home) as server:
            return SessionsResult(moves, _open_and_close(server))


def _move_together(server: Server, people: int) -> MovesResult:
    process = psutil.Process(server.process.pid)
    with ExitStack() as stack, ThreadPoolExecutor(people) as pool:
        visitors = [stack.enter_context(Visitor(server)) for _ in range(people)]
        before = sum(process.cpu_times()[:2])
        times = [*pool.map(_move_often, visitors, range(people))]
        spent = sum(process.cpu_times()[:2]) - before
    milliseconds = [one for each in times for one in each]
    return MovesResult(people, milliseconds, 1000 * spent / len(milliseconds))


def _move_often(visitor: Visitor, number: int) -> list[float]:
    """Move ρ through values that the others have at other times."""
    steps = range(17 * number, 17 * number + MOVES)
    return [visitor.move((1 + 37 * step % 100) / 100) for step in steps]


def _open_and_close(server: Server) -> OpenedResult:
    process = psutil.Process(server.process.pid)
    result = OpenedResult([], [], [])
    for number in range(OPENED + 1):
        if number % 50 == 0:
            result.sessions.append(number)
            result.descriptors.append(process.num_fds())
            result.megabytes.append(round(process.memory_info().rss / 1e6, 1))
        with Visitor(server):
            pass
    return result


def show(result: SessionsResult) -> None:
    rows = []
    for moves in result.moves:
        middle, target = median(moves.milliseconds), PEOPLE[moves.people]
        worst = sorted(moves.milliseconds)[round(0.95 * len(moves.milliseconds)) - 1]
        rows.append(
            [
                str(moves.people),
                f"{middle:.0f}",
                f"{worst:.0f}",
                f"{moves.cpu_milliseconds:.0f}",
                f"≤ {target:g}",
                verdict(middle <= target),
            ]
        )
    title = f"people who move ρ {MOVES} times"
    show_table([title, "median ms", "95 % ms", "CPU ms", "target", ""], rows)
    opened = result.opened
    print()
    show_table(
        ["sessions opened and closed", "file descriptors", "resident MB"],
        [
            [f"{count}", f"{files}", f"{size:.0f}"]
            for count, files, size in zip(
                opened.sessions, opened.descriptors, opened.megabytes, strict=True
            )
        ],
    )
    print(f"no more file descriptors after {KEPT} sessions: {verdict(_are_flat(opened))}")


def _are_flat(opened: OpenedResult) -> bool:
    late = [
        n for n, count in zip(opened.descriptors, opened.sessions, strict=True) if count >= KEPT
    ]
    return max(late) - late[0] <= SAME
