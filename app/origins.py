"""Which websites may open a connection to the dashboard."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnOriginOnly:
    """Refuse a websocket from another website before Streamlit sees it.

    Streamlit refuses it too, but first asks an outside address for this computer's own, and the
    server answers nobody in the meantime. Origins in `server.corsAllowedOrigins` may connect.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and _is_foreign(Headers(scope=scope)):
            await send({"type": "websocket.close", "code": 1008})  # before `accept`: a 403
            return
        await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    origin, host = headers.get("origin"), headers.get("host")
    if origin is None or urlsplit(origin).netloc == host:  # only browsers send an origin
        return False
    return origin not in st.get_option("server.corsAllowedOrigins")
