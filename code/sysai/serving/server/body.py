"""Bodies: read whole before anyone looks at them, within a size and a time.

A body that is too large is read on and thrown away before it is refused, up to a limit, because a client that still
sends does not listen, and a connection that is closed on it loses the answer. It costs no memory. What comes without
Content-Length is counted as it comes.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sysai.serving.server.errors import APIError
from sysai.serving.server.limits import ServerLimits

_MOST_DISCARDED = 2**26  # bytes


class BoundBody:
    """An ASGI application in front of `app`, which gets bodies in one piece."""

    def __init__(self, app: ASGIApp, limits: ServerLimits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request with its body, or answer that it can't be had."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            async with asyncio.timeout(self.limits.body_timeout):
                body = await self._read(receive)
        except TimeoutError:
            message = f"the body did not come within {self.limits.body_timeout:g} seconds"
            return await _refuse(APIError(408, message), scope, receive, send)
        if body is None:  # the client has left
            return None
        if len(body) > self.limits.max_body_bytes:
            message = f"the body has more than {self.limits.max_body_bytes} bytes"
            return await _refuse(APIError(413, message), scope, receive, send)
        pending: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self.app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytearray | None:
        """Read the body; None if the client leaves. Of one that is too large, so much that its length shows it."""
        body, more, size = bytearray(), True, 0
        while more and size <= _MOST_DISCARDED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message["body"])
            if len(body) <= self.limits.max_body_bytes:
                body += message["body"]
            more = message["more_body"]
        return body


async def _refuse(error: APIError, scope: Scope, receive: Receive, send: Send) -> None:
    error.headers = {"Connection": "close"}
    await error.response()(scope, receive, send)
