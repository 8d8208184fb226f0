"""A file server for the built site that does what a static host does: gzip, content types, caching headers.

The site lies under a path (``/book/``), as a project's pages do: an address from the host's root breaks.
"""

import gzip
import mimetypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

BASE = "/book/"
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".inv": "application/octet-stream",
    ".ipynb": "application/json",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
COMPRESSED = {
    ".css",
    ".html",
    ".ipynb",
    ".js",
    ".json",
    ".mjs",
    ".svg",
    ".txt",
    ".wasm",
    ".webmanifest",
    ".xml",
}


def content_type(path: Path) -> str:
    """The Content-Type of a file, with the encoding where it is text."""
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = kind.startswith("text/") or kind in {"application/json", "image/svg+xml"}
    return f"{kind}; charset=utf-8" if is_text else kind


@cache
def _compressed(path: Path, modified_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), compresslevel=6)


def compressed(path: Path) -> bytes:
    """The file as gzip, compressed once for each version of it."""
    return _compressed(path, path.stat().st_mtime_ns)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files under ``root``."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self) -> None:
        """Send the file, or the folder's index.html."""
        url = urlsplit(self.path)
        target = (self.root / unquote(url.path).removeprefix(BASE)).resolve()
        inside = url.path.startswith(BASE) and target.is_relative_to(self.root)
        if inside and target.is_dir():
            if not url.path.endswith("/"):
                self.answer(HTTPStatus.MOVED_PERMANENTLY, {"Location": f"{url.path}/"})
                return
            target /= "index.html"
        if not (inside and target.is_file()):
            self.answer(HTTPStatus.NOT_FOUND, {"Content-Type": "text/plain; charset=utf-8"}, b"Not found\n")
            return
        headers = {"Content-Type": content_type(target), "Cache-Control": "max-age=600"}
        if target.suffix in COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            body = compressed(target)
        else:
            body = target.read_bytes()
        self.answer(HTTPStatus.OK, headers, body)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status: HTTPStatus, headers: dict[str, str], body: bytes = b"") -> None:
        """Send one response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Report what is not the browser's own: a page that is left while it loads resets its connections."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(site: Path) -> Iterator[str]:
    """Serve ``site`` on a free port of loopback; gives the address of its root, ending in a slash."""
    handler = type("SiteHandler", (Handler,), {"root": site.resolve()})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{BASE}"
        finally:
            server.shutdown()
            thread.join()
