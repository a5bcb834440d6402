"""A foreign website is refused before Streamlit looks for this computer's address."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import streamlit as st

from app.origins import OwnOriginOnly


def answers(kind: str, headers: dict[str, str]) -> list[Any]:
    """What the middleware sends, or that it passed the request on."""
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        sent.append("passed on")

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": kind, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(OwnOriginOnly(app)(scope, None, send))  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize(
    ("kind", "headers", "answer"),
    [
        ("websocket", {"host": "localhost:1", "origin": "http://localhost:1"}, "passed on"),
        ("websocket", {"host": "localhost:1"}, "passed on"),
        ("websocket", {"host": "localhost:1", "origin": "http://evil.test"}, "websocket.close"),
        ("websocket", {"host": "localhost:1", "origin": "http://localhost:2"}, "websocket.close"),
        ("http", {"host": "localhost:1", "origin": "http://evil.test"}, "passed on"),
    ],
)
def test_only_websockets_of_other_websites_are_refused(
    kind: str, headers: dict[str, str], answer: str
) -> None:
    assert answers(kind, headers) == [answer]


def test_an_allowed_origin_may_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "get_option", lambda _: ["https://lab.test"])
    headers = {"host": "localhost:1", "origin": "https://lab.test"}
    assert answers("websocket", headers) == ["passed on"]
