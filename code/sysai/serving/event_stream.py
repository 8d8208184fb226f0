"""A client of server-sent events over HTTP/1.1: a request with a JSON body, and what comes back, event by event.

A load generator shares the machine with the server that it measures, and must note each event when it comes. So this
is the least that an OpenAI-compatible server asks of its client: one connection a request, no redirects, no retries.
Per event it costs two reads from asyncio's buffer. Sources: RFC 9112, sections 6 and 7.1 (length, chunks); HTML
standard, section 9.2 (events). Production clients (httpx, openai) add pools, proxies, retries and validation.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from urllib.parse import SplitResult, urlsplit

_LIMIT = 2**20  # bytes of a line or a header
_MOST_TEXT = 2000  # characters kept of a refusal


class StatusError(RuntimeError):
    """The server answered with another status than 200, or with no HTTP at all (status 0)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}: {text}")
        self.status, self.text = status, text


async def post_events(url: str, body: object, headers: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """The `data` of each event, as it comes, until the server ends its answer. Who stops to iterate disconnects.

    Raises:
        ValueError: a URL that is not http or https. StatusError: a refusal. OSError: no connection, or a broken one.
        asyncio.IncompleteReadError: the connection ended within the answer.
    """
    parts = split_url(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None, limit=_LIMIT)
    try:
        content = json.dumps(body).encode()
        named = {
            "Host": parts.netloc.rpartition("@")[2],
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Accept": "text/event-stream",
            "Connection": "close",
        } | dict(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + content)
        await writer.drain()
        status, given = await _head(reader)
        pieces = _pieces(reader, given)
        if status != 200:
            text = b"".join([piece async for piece in pieces]).decode(errors="replace")
            raise StatusError(status, text[:_MOST_TEXT])
        async for line in _lines(pieces):
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode()
    finally:
        writer.close()


def split_url(url: str) -> SplitResult:
    """Its parts.

    Raises:
        ValueError: not http or https, no host, or a port that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"{url!r} is no address of a server: write http://host:port/...")
    return parts


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers, their names in lower case."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        raise StatusError(0, f"no HTTP: {first[:_MOST_TEXT]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}


async def _pieces(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The body: in chunks, of a known length, or until the connection is closed."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := _chunk_size(await reader.readuntil(b"\n")):
            yield (await reader.readexactly(size + 2))[:-2]
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while piece := await reader.read(_LIMIT):
            yield piece


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise StatusError(0, f"no length of a chunk: {line[:_MOST_TEXT]!r}")
    return int(digits, 16)


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines; pieces may end anywhere."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest
