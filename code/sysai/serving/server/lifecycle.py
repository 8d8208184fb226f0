"""From start to end: the port first, then the model, then requests; and at a signal everything in reverse.

SIGTERM or SIGINT ends the server when all that it has accepted is answered. Until then it listens, so that whoever
comes is told: new requests get status 503, and `/health` says "draining". Then connections close, the engine stops, and
the exit code is 0. A second signal cuts what still runs.
"""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn
from fastapi import FastAPI

from sysai.compiler.errors import ToolchainError
from sysai.models.smollm2 import WeightsError
from sysai.serving.engine.async_engine import AsyncEngine
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.server.app import create_app
from sysai.serving.server.build import build_engine, model_name
from sysai.serving.server.connections import bounded_protocol
from sysai.serving.server.limits import ServerLimits
from sysai.serving.server.metrics import Metrics

_DONE, _FAILED, _USAGE = 0, 1, 2
_POLL_SECONDS = 0.05
_SWITCH_INTERVAL = 0.0005  # seconds; Python's default of 5 ms would let the engine wait for its lock as long


class Server(uvicorn.Server):
    """uvicorn with a graceful end that includes the engine."""

    def __init__(self, app: FastAPI, engine: AsyncEngine, limits: ServerLimits, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=bounded_protocol(limits),
            ws="none",
            lifespan="off",
            timeout_keep_alive=limits.keep_alive,
            log_level="warning",
            access_log=False,
        )
        super().__init__(config)
        self.engine, self.ready = engine, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and call `ready`."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and wait for the answers of all that was accepted."""
        self.engine.stop_accepting()
        while not (self.engine.is_drained or self.force_exit):
            await asyncio.sleep(_POLL_SECONDS)  # as uvicorn waits for connections: a signal's handler wakes nobody
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first signal ends, the second cuts; neither is raised again afterwards, as uvicorn would."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(
    engine: Engine,
    listener: socket.socket,
    name: str,
    limits: ServerLimits,
    api_key: str | None,
    ready: Callable[[Server], None],
    allowed_origins: Sequence[str] = (),
) -> bool:
    """Serve until a signal, or until `should_exit` is set on the server that `ready` gets; whether nothing was cut.

    Args:
        engine: nobody else may use it.
        listener: a bound socket, which is closed at the end.
        name: the model's.
        limits: what clients may take.
        api_key: asked of clients, or None.
        ready: called when requests are taken.
        allowed_origins: see `create_app`.
    """
    metrics = Metrics()
    async with AsyncEngine(engine, max_waiting=limits.max_waiting, observer=metrics) as running:
        metrics.watch(running)
        app = create_app(running, metrics, name, limits, api_key, allowed_origins)
        server = Server(app, running, limits, lambda: ready(server))
        await server.serve([listener])
        if server.force_exit:
            await running.shutdown(drain=False)
    return not server.force_exit


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound, and does not listen yet.

    Raises:
        OSError: the address can't be had. OverflowError: no such port.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # where it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address[0], port, *address[2:]))  # getaddrinfo takes ports modulo 65,536
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


def run(options: argparse.Namespace) -> int:
    """The command `sysai serve`; the exit code."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    try:
        limits = ServerLimits(max_waiting=options.max_waiting, request_timeout=options.request_timeout)
        listener = bind(options.host, options.port)
    except ValueError as error:
        return _complain(str(error), _USAGE)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return _complain(f"{options.host}:{options.port} can't be had ({reason}): choose another --port", _FAILED)
    try:
        engine = build_engine(options)
    except (ValueError, WeightsError, ToolchainError) as error:
        return _complain(str(error), _FAILED)
    name, (host, port, *_) = model_name(options), listener.getsockname()
    for line in _description(engine, options, limits):
        print(line, flush=True)

    def ready(server: Server) -> None:
        shown = f"[{host}]" if ":" in host else host
        print(f"address  http://{shown}:{port}/v1  model {name!r}  (Ctrl-C to end)", flush=True)

    sys.setswitchinterval(_SWITCH_INTERVAL)
    complete = asyncio.run(serve(engine, listener, name, limits, options.api_key, ready, options.allowed_origins))
    return _DONE if complete else _FAILED


def _description(engine: Engine, options: argparse.Namespace, limits: ServerLimits) -> list[str]:
    config = engine.scheduler.config
    key = "asked of clients" if options.api_key else "none: whoever reaches the address is served"
    caching = "" if config.prefix_caching else ", no prefix caching"
    return [
        f"model    {options.model}, weights in {options.weight_dtype}, {type(engine.runner).__name__} on "
        f"{engine.runner.model.device}",
        f"limits   {config.most_positions} positions a completion, {config.max_num_seqs} completions running and "
        f"{limits.max_waiting} waiting, {config.max_num_batched_tokens} tokens a step",
        f"cache    {config.num_blocks} blocks of {config.block_size} positions{caching}",
        f"api key  {key}",
    ]


def _complain(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
