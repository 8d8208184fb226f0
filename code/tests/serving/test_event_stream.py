"""Server-sent events over a real socket: however the bytes are cut, the same events; and refusals said plainly."""

import asyncio
import json
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.serving.event_stream import StatusError, post_events

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def collect(answer: bytes | list[bytes], seen: list | None = None) -> list[str]:
    """The events that a client sees of a server that writes `answer`, piece by piece, and closes."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if seen is not None:
            seen.append((head.decode(), await reader.readexactly(length)))
        for piece in [answer] if isinstance(answer, bytes) else answer:
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"http://127.0.0.1:{port}/v1/x?y=1"
        async with asyncio.timeout(20), aclosing(post_events(url, {"a": [1]}, {"X-Key": "k"})) as events:
            return [event async for event in events]


def in_chunks(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


@settings(max_examples=15, deadline=None)
@given(
    events=st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(str.strip)),
    cuts=st.lists(st.integers(0, 300)),
    chunked=st.booleans(),
)
def test_events_do_not_depend_on_where_the_bytes_are_cut(events, cuts, chunked):
    body = b"".join(f": a comment\ndata: {event}\n\n".encode() for event in events)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[a:b] for a, b in pairwise(places)]
    answer = CHUNKED + in_chunks(pieces) if chunked else b"HTTP/1.1 200 OK\r\n\r\n" + body
    assert [event.strip() for event in asyncio.run(collect(answer))] == events


def test_the_request_is_whole():
    seen = []
    asyncio.run(collect(CHUNKED + in_chunks([b"data: 1\r\n\r\n"]), seen))
    ((head, body),) = seen
    assert head.startswith("POST /v1/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "X-Key: k\r\n" in head
    assert json.loads(body) == {"a": [1]}


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (b"HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nfull", 429, "full"),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n" + in_chunks([b"dr", b"ain"]), 503, "drain"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0, "no HTTP"),
        (CHUNKED + b"data: 1\n\n", 0, "no length"),
        (CHUNKED + b"-1\r\n", 0, "no length"),
    ],
)
def test_refusals_and_nonsense_are_told(answer, status, text):
    with pytest.raises(StatusError, match=text) as caught:
        asyncio.run(collect(answer))
    assert caught.value.status == status


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED + b"9\r\ndata", CHUNKED + b"3\r\nabc\r\n"])
def test_an_answer_that_breaks_off_is_noticed(answer):
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(collect(answer))


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/", "http:///v1", "http://x:99999/"])
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(ValueError):
        asyncio.run(anext(post_events(url, {})))
