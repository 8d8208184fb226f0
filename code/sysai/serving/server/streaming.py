"""Answers that stop when the client leaves: a stream of server-sent events, or a whole.

An event is `data: ` and a line of JSON; the last is `data: [DONE]`. An error after the first event can't change the
status any more: it comes as an event with `error`, which the official clients raise, and no [DONE] follows. Who leaves
is noticed on the connection, not by a failed write: a completion ends also while its text is held back. The events
and their form: the OpenAI API; HTML standard, section 9.2 (server-sent events).
"""

import asyncio
import json
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sysai.serving.engine.outputs import Chunk
from sysai.serving.engine.stream import Stream
from sysai.serving.server.errors import APIError, as_api_error
from sysai.serving.server.limits import ServerLimits
from sysai.serving.server.replies import Reply

_logger = logging.getLogger(__name__)
_CLIENT_CLOSED_REQUEST = 499  # nginx's word; nobody is there to read it
T = TypeVar("T")


class ClientLeftError(Exception):
    """The connection was closed before the answer was complete."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, which is cancelled if the client leaves.

    Raises:
        ClientLeftError: the client has left.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """The answer of a request with `stream: true`."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream, reply: Reply, limits: ServerLimits) -> None:
        super().__init__(None, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.stream, self.reply, self.limits = stream, reply, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the end, an error, or the client's leaving."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with suppress(ClientLeftError):
                await while_connected(receive, self._send_all(send))
        finally:
            self.stream.close()

    async def _send_all(self, send: Send) -> None:
        try:
            async with asyncio.timeout(self.limits.request_timeout):
                async for chunk in self.stream:
                    _check(chunk)
                    if (event := self.reply.event(self.stream.choice(chunk), chunk)) is not None:
                        await _send_event(send, json.dumps(event))
            if self.reply.request.include_usage:
                await _send_event(send, json.dumps(self.reply.usage_event()))
            await _send_event(send, "[DONE]")
        except Exception as error:
            if not isinstance(error, APIError | TimeoutError):
                _logger.exception("a stream has failed")
            self.stream.close()
            await _send_event(send, json.dumps(as_api_error(error, self.limits.retry_after).body))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def whole_answer(stream: Stream, reply: Reply, limits: ServerLimits, receive: Receive) -> Response:
    """The answer of a request without `stream`.

    Raises:
        APIError: the engine failed on it. TimeoutError, EngineDeadError, EngineStoppedError.
    """

    async def collect() -> dict:
        chunks = []
        async with asyncio.timeout(limits.request_timeout):
            async for chunk in stream:
                _check(chunk)
                chunks.append((stream.choice(chunk), chunk))
        return reply.whole(chunks)

    try:
        answer = await while_connected(receive, collect())
    except ClientLeftError:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    finally:
        stream.close()
    return Response(json.dumps(answer), media_type="application/json")


def _check(chunk: Chunk) -> None:
    if chunk.error is not None:
        raise APIError(500, "the engine failed on this request; others are not affected", code="engine_error")


async def _send_event(send: Send, data: str) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})
