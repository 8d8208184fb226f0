"""The engine for many callers at once: its loop in a thread of its own, its chunks on asyncio's event loop.

A step is milliseconds to seconds of work outside Python's lock, so that one thread can compute while the event loop
talks to clients. Both sides only pass messages: commands (add, abort) go to the thread through a queue and are obeyed
between two steps; the chunks of a step come back in one call. Neither side polls, and an idle engine sleeps:

    caller --submit--> queue of commands --> [ step, step, ... ] --chunks of a step--> streams --> callers

What is accepted is bounded, and so is what a stream holds for a caller who does not read. A step that fails ends its
own requests (see `Engine.step`); where the loop itself dies, or steps fail again and again, the engine is dead: it
says so to everyone who waits, and takes no more. Production (vLLM's AsyncLLM) has the loop in a process of its own, so
that tokenizing and answering don't share an interpreter with it.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import TracebackType

from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.engine.outputs import Chunk
from sysai.serving.engine.stream import CompletionRecord, Observer, Stream

_logger = logging.getLogger(__name__)


class EngineDeadError(RuntimeError):
    """The engine's loop has ended by a fault; only a new engine helps."""


class EngineStoppedError(RuntimeError):
    """The engine is shutting down: what it had accepted it finishes, unless it is told not to."""


class QueueFullError(RuntimeError):
    """As many completions are accepted as the limits allow: try again later."""


@dataclass(frozen=True)
class EngineStats:
    """How much there is to do now, and how much has been done since the start."""

    running: int
    waiting: int
    cache_usage: float  # fraction of the blocks that running requests hold
    prefix_queries: int  # tokens
    prefix_hits: int  # tokens
    preemptions: int
    failed_steps: int
    prompt_tokens: int
    generated_tokens: int


class _Accepted:
    """The observer of all streams: counts the completions that have not ended, and tells `observer` what it is told."""

    def __init__(self, observer: Observer | None) -> None:
        self.observer, self.count = observer, 0
        self.none = asyncio.Event()
        self.none.set()

    def add(self, completions: int) -> None:
        """Count so many more completions as accepted."""
        self.count += completions
        self.none.clear()

    def first_token(self, record: CompletionRecord) -> None:
        """A completion's first token has come."""
        if self.observer is not None:
            self.observer.first_token(record)

    def finished(self, record: CompletionRecord) -> None:
        """A completion has ended."""
        self.count -= 1
        if not self.count:
            self.none.set()
        if self.observer is not None:
            self.observer.finished(record)


class AsyncEngine:
    """`submit` or `generate`, from one event loop. `async with` starts the thread, and at the end drains and stops it.

    Args:
        engine: nobody else may use it meanwhile.
        max_waiting: completions that may be accepted beyond `max_num_seqs`.
        max_unread: chunks of each completion that a stream keeps for its reader.
        max_failed_steps: so many failed steps in a row are taken for a broken device or model.
        observer: is told of first tokens and of ends.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_waiting: int = 512,
        max_unread: int = 1024,
        max_failed_steps: int = 3,
        observer: Observer | None = None,
    ) -> None:
        if min(max_waiting, max_unread, max_failed_steps) < 1:
            raise ValueError("max_waiting, max_unread and max_failed_steps must be at least 1")
        self.engine = engine
        self.max_accepted = engine.scheduler.config.max_num_seqs + max_waiting
        self.max_unread, self.max_failed_steps = max_unread, max_failed_steps
        self.error: BaseException | None = None
        self._accepting = True
        self._accepted = _Accepted(observer)
        self._prompt_tokens = self._generated_tokens = 0
        self._streams: dict[str, Stream] = {}  # by request id; prompts of one submit share one
        self._request_ids = map(str, count())
        self._commands: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sysai-engine", daemon=True)
        self._stopping = False  # the thread's own
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> "AsyncEngine":
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown(drain=error is None)

    @property
    def is_healthy(self) -> bool:
        """Whether the loop runs, or has been asked to end."""
        return self.error is None and (self._thread.is_alive() or not self._accepting)

    @property
    def is_accepting(self) -> bool:
        """Whether new prompts are taken."""
        return self._accepting and self.is_healthy

    @property
    def is_drained(self) -> bool:
        """Whether all completions that were accepted have ended."""
        return self._accepted.none.is_set()

    def stats(self) -> EngineStats:
        """Read the present state; its numbers may be a step apart from each other."""
        scheduler = self.engine.scheduler
        memory, running = scheduler.memory, scheduler.num_running
        return EngineStats(
            running=running,
            waiting=max(0, self._accepted.count - running),
            cache_usage=1 - memory.pool.num_available / scheduler.config.num_blocks,
            prefix_queries=memory.stats.queried,
            prefix_hits=memory.stats.hit,
            preemptions=scheduler.num_preemptions,
            failed_steps=self.engine.failed_steps,
            prompt_tokens=self._prompt_tokens,
            generated_tokens=self._generated_tokens,
        )

    async def submit(self, prompts: Sequence[Sequence[int]], sampling_params: SamplingParams) -> Stream:
        """Submit prompts of token ids, each for `n` completions; all are accepted or none.

        Raises:
            ValueError: what `Engine.add_request` refuses, or more completions than are accepted at all.
            QueueFullError, EngineStoppedError, EngineDeadError.
        """
        completions = len(prompts) * sampling_params.n
        self._check_open()
        if not 1 <= completions <= self.max_accepted:
            raise ValueError(f"{completions} completions: ask for 1 to {self.max_accepted}")
        accepted = self._accepted.count
        if accepted + completions > self.max_accepted:
            raise QueueFullError(
                f"{accepted} completions are running or waiting, and {completions} more would exceed the limit "
                f"of {self.max_accepted}: try again later"
            )
        stream = Stream(
            {next(self._request_ids): tuple(prompt) for prompt in prompts},
            sampling_params,
            clock=self.engine.clock,
            max_unread=self.max_unread,
            observer=self._accepted,
            on_end=self._forget,
        )
        self._accepted.add(completions)
        self._streams.update(dict.fromkeys(stream.prompts, stream))
        self._commands.put(partial(self._add, stream))
        try:
            await stream.accepted
        except BaseException:  # refused, or the caller has been cancelled
            stream.close()
            raise
        self._prompt_tokens += sum(map(len, prompts))
        return stream

    async def generate(self, prompt: Sequence[int], sampling_params: SamplingParams) -> AsyncIterator[Chunk]:
        """The chunks of all `n` completions of one prompt as they come. Who stops to iterate closes the generator.

        Raises:
            As `submit`; and SlowReaderError, EngineStoppedError, EngineDeadError if the stream can't go on.
        """
        stream = await self.submit([prompt], sampling_params)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            stream.close()

    def stop_accepting(self) -> None:
        """Refuse new prompts from now on; those accepted go on."""
        self._accepting = False

    async def shutdown(self, drain: bool = True) -> None:
        """End the thread: after all that has been accepted, or, without `drain`, after the step that runs now."""
        self.stop_accepting()
        if drain:
            await self._accepted.none.wait()
        for stream in set(self._streams.values()):
            stream.fail(EngineStoppedError("the engine was stopped before the request was finished"))
        self._commands.put(self._stop)
        await asyncio.to_thread(self._thread.join)

    def _check_open(self) -> None:
        if not self.is_healthy:
            raise EngineDeadError(f"the engine has died ({self.error!r})")
        if not self._accepting:
            raise EngineStoppedError("the engine is shutting down and takes no new requests")

    # In the thread.

    def _run(self) -> None:
        try:
            failures = 0
            while not self._stopping:
                if not self.engine.has_work:
                    self._commands.get()()  # nothing to do: sleep until there is
                while not self._commands.empty():  # nobody else takes any
                    self._commands.get()()
                if self.engine.has_work and not self._stopping:
                    failed_before = self.engine.failed_steps
                    chunks = self.engine.step()
                    self._tell(self._deliver, chunks, self.engine.clock())
                    failures = failures + 1 if self.engine.failed_steps > failed_before else 0
                    if failures >= self.max_failed_steps:
                        raise EngineDeadError(
                            f"{failures} steps in a row have failed, the last with: {chunks[0].error}"
                        )
        except BaseException as error:
            _logger.exception("the engine's loop has ended")
            self._tell(self._die, error)

    def _stop(self) -> None:
        self._stopping = True

    def _add(self, stream: Stream) -> None:
        try:
            for request_id, prompt in stream.prompts.items():
                self.engine.add_request(prompt, stream.sampling_params, request_id)
        except (ValueError, TypeError) as error:
            for request_id in stream.prompts:
                self.engine.abort(request_id)
            self._tell(stream.fail, error)
        else:
            self._tell(stream.accept)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        """Call it on the event loop; if that has been closed, nobody listens."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            self._stopping = True

    # On the event loop.

    def _deliver(self, chunks: list[Chunk], now: float) -> None:
        for chunk in chunks:
            if (stream := self._streams.get(chunk.request_id)) is not None:
                self._generated_tokens += chunk.token_id is not None
                stream.push(chunk, now)

    def _die(self, error: BaseException) -> None:
        self.error = error
        for stream in set(self._streams.values()):
            stream.fail(EngineDeadError(f"the engine has died ({error!r})"))

    def _forget(self, stream: Stream, abort: bool) -> None:
        """A stream has ended; the thread must be told where that is not the engine's own doing."""
        for request_id in stream.prompts:
            del self._streams[request_id]
            if abort:
                self._commands.put(partial(self.engine.abort, request_id))
