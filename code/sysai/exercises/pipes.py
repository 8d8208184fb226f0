"""The grader's ends of a submission's pipes, each with a thread, so that nothing the other end does can block it."""

import os
import queue
import threading
from dataclasses import dataclass, field

from sysai.exercises.child import FRAME
from sysai.exercises.encoding import MESSAGE_BYTES
from sysai.exercises.show import plain

_KEPT = 2000
_PENDING = 4  # an answer that plays by the rules has one reply under way


@dataclass(frozen=True)
class Printed:
    """Printed output of a submission: its beginning, its end, and how many characters between them were left out."""

    head: str = ""
    tail: str = ""
    left_out: int = 0


class Replies:
    """Reads frames into a queue: bytes, `TOO_LARGE`, `GARBLED` or, at the end, `CLOSED`."""

    CLOSED, TOO_LARGE, GARBLED = "closed", "too large", "garbled"

    def __init__(self, descriptor: int):
        self.queue: queue.Queue[bytes | str] = queue.Queue()
        self.thread = threading.Thread(target=self._read, args=(descriptor,), daemon=True)
        self.thread.start()

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as file:
            while True:
                head = file.read(FRAME.size)
                if len(head) < FRAME.size:
                    return self.queue.put(self.GARBLED if head else self.CLOSED)
                (length,) = FRAME.unpack(head)
                if length > 2 * MESSAGE_BYTES:
                    return self.queue.put(self.GARBLED)  # no encoder of ours writes this
                data = file.read(length)
                if len(data) < length:
                    return self.queue.put(self.CLOSED)
                if self.queue.qsize() >= _PENDING:
                    return self.queue.put(self.GARBLED)
                self.queue.put(data)


@dataclass
class Prints:
    """Reads what is printed and keeps its two ends; `total` counts bytes."""

    descriptor: int
    total: int = 0
    _head: bytearray = field(default_factory=bytearray)
    _tail: bytearray = field(default_factory=bytearray)

    def __post_init__(self):
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with open(self.descriptor, "rb", buffering=0) as file:
            while data := file.read(65536):
                self.total += len(data)
                missing = 4 * _KEPT - len(self._head)
                self._head += data[:missing]
                self._tail = (self._tail + data[max(0, missing) :])[-4 * _KEPT :]

    def result(self) -> Printed:
        """The output so far."""
        text = _text(self._head)
        skipped = self.total - len(self._head) - len(self._tail)
        rest = _text(self._tail)
        if not skipped:
            text, rest = text + rest, ""
        if not skipped and len(text) <= 2 * _KEPT:
            return Printed(head=text)
        end = (text + rest)[-_KEPT:]
        left_out = skipped + len(text) + len(rest) - _KEPT - len(end)
        return Printed(head=text[:_KEPT], tail=end, left_out=left_out)


def send(descriptor: int, data: bytes) -> None:
    """Write a frame from a thread of its own; a reader that is gone or never reads is noticed elsewhere."""
    threading.Thread(target=_write, args=(descriptor, FRAME.pack(len(data)) + data), daemon=True).start()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return


def _text(data: bytearray) -> str:
    return plain(data.decode("utf-8", errors="replace").replace("\r\n", "\n"))
