"""What holds for every answer and every request: headers that browsers keep to, and limits."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Of a request's body; forms are small.
MOST_BODY_BYTES = 64 * 1024
#: Of a body that is too large, before its sender is cut off.
_MOST_READ_BYTES = 16 * MOST_BODY_BYTES
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not less: a browser that sends no referrer sends no origin with a form either.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Guard:
    """Stands around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        said = Headers(scope=scope).get("content-length", "")
        too_long = said.isdigit() and int(said[:12]) > MOST_BODY_BYTES
        came_bytes = 0

        async def counted() -> Message:
            nonlocal came_bytes
            message = await receive()
            came_bytes += len(message.get("body", b""))
            if too_long or came_bytes > MOST_BODY_BYTES:
                # Let go of, but read: who is cut off while it sends does not come to read the answer.
                while message.get("more_body", False) and came_bytes <= _MOST_READ_BYTES:
                    message = await receive()
                    came_bytes += len(message.get("body", b""))
                raise HTTPException(413, f"a request is at most {MOST_BODY_BYTES // 1024} KiB")
            return message

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # What is about the fleet stays in no cache, wherever it goes.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, counted, with_headers)


__all__ = ["MOST_BODY_BYTES", "POLICY", "Guard"]
