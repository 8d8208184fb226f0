"""Serve both sites on this machine and build them anew when a source changes: `python book/serve.py`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from watchfiles import DefaultFilter, watch

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [ROOT / name for name in ("book", "chapters", "code/sysai", "_config.yml", "_toc.yml")]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, without a log line for each."""

    def log_message(self, format: str, *args) -> None:
        """Log nothing."""


def build() -> bool:
    """Build both sites in a process of its own, so that changed code is loaded anew."""
    return subprocess.run([sys.executable, ROOT / "book/build.py"], cwd=ROOT, check=False).returncode == 0


def main() -> None:
    """Build, serve, and build again at each change, until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0 takes a free one")
    arguments = parser.parse_args()
    build()
    handler = partial(QuietHandler, directory=str(ROOT / "site"))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", arguments.port), handler)
    except OSError as error:
        sys.exit(f"Port {arguments.port} can't be had ({error.strerror}): choose another with `--port`.")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"── http://127.0.0.1:{server.server_port}/?choose  (Ctrl+C ends)", flush=True)
    for changes in watch(*SOURCES, watch_filter=DefaultFilter(), raise_interrupt=False):
        names = sorted({str(Path(path).relative_to(ROOT)) for _, path in changes})
        print(f"── changed: {', '.join(names[:5])}", flush=True)
        build()


if __name__ == "__main__":
    main()
