"""A stream: the chunks of all requests that were submitted together, from the engine's side to one reader.

The stream also keeps what can be measured of each completion (`CompletionRecord`), and is the one place where it is
decided that a completion has ended: by its last chunk, by a fault, or because the reader left. Chunks that are not
read yet are bounded; vLLM instead joins those of a slow reader into one, which bounds their number and not their size.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.outputs import Chunk


class SlowReaderError(RuntimeError):
    """The caller left so many chunks unread that the stream was ended."""


@dataclass
class CompletionRecord:
    """One completion's times, in seconds on the engine's clock, and tokens; times are None while they are to come."""

    arrival: float
    prompt_tokens: int
    start: float | None = None  # the step that first computed the prompt began
    first_token: float | None = None
    end: float | None = None  # the last token came, or the completion was ended
    output_tokens: int = 0
    finish_reason: FinishReason | None = None


class Observer(Protocol):
    """Measures completions; both methods are called on the event loop."""

    def first_token(self, record: CompletionRecord) -> None:
        """The first token has come."""

    def finished(self, record: CompletionRecord) -> None:
        """The completion has ended, for whatever reason."""


class Stream:
    """An asynchronous iterator, for one reader, over the chunks of all completions of several prompts.

    The completions are numbered by `choice(chunk)`: those of the first prompt, then of the second, and so on.

    Args:
        prompts: token ids by request id.
        params: of all prompts alike.
        clock: seconds, the engine's.
        max_unread: chunks a completion that wait for the reader at most.
        observer: is told of first tokens and of ends.
        on_end: called once, `on_end(stream, abort)`; `abort` says that the engine is still at work for it.
    """

    def __init__(
        self,
        prompts: dict[str, tuple[int, ...]],
        params: SamplingParams,
        *,
        clock: Callable[[], float],
        max_unread: int,
        observer: Observer,
        on_end: Callable[["Stream", bool], None],
    ) -> None:
        self.prompts, self.sampling_params = prompts, params
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clock, self._observer, self._on_end = clock, observer, on_end
        self._chunks: deque[Chunk] = deque()
        self._new = asyncio.Event()
        self._error: Exception | None = None
        now = clock()
        self._first_choice = {request_id: i * params.n for i, request_id in enumerate(prompts)}
        self._records = [CompletionRecord(now, len(ids)) for ids in prompts.values() for _ in range(params.n)]
        self._unfinished = len(self._records)
        self._most_unread = max_unread * len(self._records)

    def choice(self, chunk: Chunk) -> int:
        """The number of the completion that a chunk belongs to."""
        return self._first_choice[chunk.request_id] + chunk.index

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Chunk:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if not self._unfinished:
                raise StopAsyncIteration
            self._new.clear()
            await self._new.wait()
        return self._chunks.popleft()

    def close(self) -> None:
        """End what has not ended; to be called by whoever stops reading early, and harmless otherwise."""
        self._end(FinishReason.ABORT)
        self._chunks.clear()

    def accept(self) -> None:
        """Note that the engine has taken all prompts."""
        if not self.accepted.done():
            self.accepted.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the stream with an error, which its reader gets after the chunks that have come."""
        if not self._unfinished:
            return
        self._error = error
        if not self.accepted.done():
            self.accepted.set_exception(error)
        self._end(FinishReason.ERROR)
        self._new.set()

    def push(self, chunk: Chunk, now: float) -> None:
        """Take a chunk that came at `now`; end the stream if its reader has left too many unread."""
        record = self._records[self.choice(chunk)]
        record.start = chunk.start_time
        if chunk.token_id is not None:
            record.output_tokens += 1
            if record.first_token is None:
                record.first_token = now
                self._observer.first_token(record)
        self._chunks.append(chunk)
        self._new.set()
        if chunk.finish_reason is not None:
            self._finish(record, chunk.finish_reason, now)
            if not self._unfinished:
                self._on_end(self, False)
        if len(self._chunks) > self._most_unread:
            self.fail(SlowReaderError(f"{len(self._chunks)} chunks were left unread: the stream was ended"))

    def _end(self, reason: FinishReason) -> None:
        if self._unfinished:
            now = self._clock()
            for record in self._records:
                if record.finish_reason is None:
                    self._finish(record, reason, now)
            self._on_end(self, True)

    def _finish(self, record: CompletionRecord, reason: FinishReason, now: float) -> None:
        record.finish_reason, record.end = reason, now
        self._unfinished -= 1
        self._observer.finished(record)
