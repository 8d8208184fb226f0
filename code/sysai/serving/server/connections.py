"""Connections: how many there may be, and how slow.

A client can hold a server up without asking for anything: by many connections, by a head that comes byte by byte, by
not reading what it is sent. The timers for that belong where the bytes pass, in uvicorn's protocol object of a
connection. A reader who is too slow fills the system's buffers, then the transport's (64 KiB); from then on its
answer waits, and if that does not change in time the connection is cut, which ends its completions. Production puts a
proxy (nginx, Envoy) in front, with the same three limits.
"""

import asyncio

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from sysai.serving.server.errors import APIError
from sysai.serving.server.limits import ServerLimits


def bounded_protocol(limits: ServerLimits) -> type[H11Protocol]:
    """The protocol class for uvicorn's `http` setting."""

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        message = f"the server has its {limits.max_connections} connections: try again later"
        headers = {"Retry-After": str(limits.retry_after), "Connection": "close"}
        await APIError(503, message, code="too_many_connections", headers=headers).response()(scope, receive, send)

    class BoundedProtocol(H11Protocol):
        """One client's connection, with a timer for its request's head and one for its reading of an answer."""

        _head_timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            """Serve the connection, or answer that there are too many; beyond twice the limit cut it unanswered."""
            super().connection_made(transport)
            if len(self.connections) > 2 * limits.max_connections:
                transport.abort()
            elif len(self.connections) > limits.max_connections:
                self.app = busy
            self._await_head()

        def connection_lost(self, error: Exception | None) -> None:
            """Stop the timers: none outlives the connection."""
            self._head_timer = _cancelled(self._head_timer)
            self._write_timer = _cancelled(self._write_timer)
            super().connection_lost(error)

        def data_received(self, data: bytes) -> None:
            """Bytes of a request; while they are no whole head, time runs."""
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:  # h11 has parsed a whole head
                self._head_timer = _cancelled(self._head_timer)
            elif self._head_timer is None:
                self._await_head()

        def pause_writing(self) -> None:
            """Start the timer of a client that does not read as fast as its answer comes."""
            super().pause_writing()
            self._await_reader()

        def resume_writing(self) -> None:
            """Stop that timer: the client has read on."""
            super().resume_writing()
            self._write_timer = _cancelled(self._write_timer)

        def on_response_complete(self) -> None:
            """Require that the rest of an answer be read in time, too."""
            super().on_response_complete()
            if self.transport.get_write_buffer_size() and self._write_timer is None:
                self._await_reader()

        def send_400_response(self, msg: str) -> None:
            """Answer bytes that are no HTTP with an error in the same form as all others."""
            body = APIError(400, msg).response().body
            head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
            self.transport.close()

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(limits.head_timeout, self.transport.abort)

        def _await_reader(self) -> None:
            self._write_timer = self.loop.call_later(limits.write_timeout, self._cut_unread)

        def _cut_unread(self) -> None:
            self._write_timer = None
            if self.transport.get_write_buffer_size():
                self.transport.abort()

    return BoundedProtocol


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
