"""Who may open a connection to the dashboard, by raw requests to a real server."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.e2e


def upgrade(address: str, host: str, origin: str) -> int:
    """The HTTP status that answers a request for a websocket."""
    port = urlsplit(address).port
    lines = (
        "GET /_stcore/stream HTTP/1.1", f"Host: {host}", f"Origin: {origin}",
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    )  # fmt: skip
    with socket.create_connection(("localhost", port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(100).split()[1])


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:{}", "http://localhost:{}", 101),
        ("127.0.0.1:{}", "http://127.0.0.1:{}", 101),
        ("evil.test", "http://evil.test", 403),  # a foreign name that leads to this computer
        ("evil.test:{}", "http://evil.test:{}", 403),
        ("localhost:{}", "http://evil.test", 403),  # another website
        ("localhost:{}", "null", 403),
    ],
)
def test_only_the_own_page_opens_a_websocket(
    address: str, host: str, origin: str, status: int
) -> None:
    port = urlsplit(address).port
    assert upgrade(address, host.format(port), origin.format(port)) == status
