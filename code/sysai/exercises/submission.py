"""One answer in one process: its functions are called, its limits watched, and everything of it is removed at the end.

with Submission(zygote, source, limits) as submission:
    submission.call("f", (1, 2), {})
"""

import contextlib
import os
import pickle
import queue
import re
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sysai.exercises import messages
from sysai.exercises.child import FILE, FRAMES, MESSAGE_CHARACTERS, STACK_FILE, Proxy
from sysai.exercises.encoding import Garbled, decode
from sysai.exercises.failure import Failed
from sysai.exercises.guard import remove_tree
from sysai.exercises.limits import Limits
from sysai.exercises.pipes import Printed, Prints, Replies, send
from sysai.exercises.processes import Family, LostZygote, Zygote, signal_name, start
from sysai.exercises.show import shorten

_POLL_SECONDS = 0.02
_TREE_SECONDS = 0.1
_STACK_SECONDS = 1.0
_LEAVE_SECONDS = 1.0
_FRAME = re.compile(rf'File "{re.escape(FILE)}", line (\d{{1,7}}) in (\w{{1,100}}|<module>)')


class Callback:
    """A function of the check's that the answer may call; it runs in the grader, where its counts are safe.

    The answer may pass to it, and gets back from it, what any call may pass. A `Failed` that it raises ends the
    check, another exception is raised in the answer.
    """

    def __init__(self, function: Callable, name: str):
        self.function, self.name = function, name

    def __reduce__(self):
        return Proxy, (id(self), self.name)

    def __repr__(self) -> str:
        return self.name


class _Deadline:
    """`seconds` from now, and what `extend` adds."""

    def __init__(self, seconds: float):
        self.seconds, self._end = seconds, time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        self._end += seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() > self._end


class Submission:
    """The process of one answer; every method that talks to it raises `Failed` where the answer is at fault."""

    def __init__(self, zygote: Zygote | None, source: str, limits: Limits):
        self.source, self.limits, self.printed = source, limits, Printed()
        self.loaded = False
        self._zygote = zygote
        self._callbacks: dict[int, Callback] = {}
        self._number = 0
        self._next_look = 0.0

    def __enter__(self) -> "Submission":
        self._family = Family()
        self._process = start(self._zygote)
        self._root = tempfile.mkdtemp(prefix="sysai-")
        self._family.note_baseline(self._process.pid)
        self._replies, self._prints = Replies(self._process.replies), Prints(self._process.prints)
        return self

    def __exit__(self, *_: object) -> None:
        self._family.kill()
        for thread in (self._replies.thread, self._prints.thread):
            thread.join(_LEAVE_SECONDS)
        with contextlib.suppress(LostZygote):
            if self._process.exit_code(_LEAVE_SECONDS) is None and self._zygote:
                self._zygote.close()  # stopped by the answer
        with contextlib.suppress(OSError):
            os.close(self._process.requests)
        self.printed = self._prints.result()
        remove_tree(self._root)

    def load(self) -> None:
        """Run the answer's text `source`; another text that is run later takes its place."""
        folder = Path(self._root, "work")
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_text(self.source, encoding="utf-8")
        self._request(self.limits.load_seconds, "load", self.source, str(folder), self.limits)
        self.loaded = True

    def call(self, name: str, args: tuple, kwargs: dict) -> object:
        """Call the answer's function `name` and return its value."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, Callback):
                self._callbacks[id(value)] = value
        return self._request(self.limits.seconds, "call", name, pickle.dumps((args, kwargs)))

    def finish(self) -> None:
        """Let the process end, and see that it leaves nothing behind."""
        if self._exit_code(0.0) is not None:
            raise self._ended()
        self._send(self._number + 1, "end")
        code = self._exit_code(self.limits.seconds)  # on a busy machine, giving memory back takes its time
        deadline = time.monotonic() + _LEAVE_SECONDS
        while (left := len(self._family.members())) or (left := self._family.bury()):
            if time.monotonic() > deadline:
                raise Failed("processes", messages.left_behind(left))
            time.sleep(_POLL_SECONDS)
        if code != 0:
            raise self._ended()

    def _send(self, *content: object) -> None:
        send(self._process.requests, pickle.dumps(content))

    def _request(self, seconds: float, action: str, *details: object) -> object:
        self._number += 1
        self._send(self._number, action, *details)
        deadline = _Deadline(seconds)
        while True:
            message = self._receive(deadline)
            if set(message) == {"number", "callback", "args", "kwargs"}:
                before = time.monotonic()
                self._answer_callback(message)
                deadline.extend(time.monotonic() - before)
                self._watch(deadline)  # there may always be another callback
                continue
            if set(message) == {"number", "value"}:
                return message["value"]
            raise self._refusal(message)

    def _receive(self, deadline: "_Deadline") -> dict:
        """The next message of the current request."""
        while True:
            with contextlib.suppress(queue.Empty):
                return self._read(self._replies.queue.get(timeout=_POLL_SECONDS))
            self._watch(deadline)

    def _watch(self, deadline: "_Deadline") -> None:
        """Hold the answer to its limits while it runs."""
        if self._prints.total > self.limits.printed:
            raise Failed("output", messages.too_much_printed(self.limits.printed), frames=self._frames())
        if time.monotonic() > self._next_look:
            self._look_at_processes()
            self._next_look = time.monotonic() + _TREE_SECONDS
        if deadline.passed:
            raise Failed("time", messages.too_slow(deadline.seconds), frames=self._frames())

    def _read(self, data: bytes | str) -> dict:
        if data == Replies.CLOSED:
            raise self._ended()
        try:
            message = decode(data) if isinstance(data, bytes) else None
        except Garbled:
            message = None
        if not isinstance(message, dict) or message.get("number") != self._number:
            raise Failed("tampering", messages.garbled())
        return message

    def _look_at_processes(self) -> None:
        if self._exit_code(0.0) is not None:
            if self._replies.queue.empty():
                raise self._ended()
            return
        members = self._family.members()
        if len(members) > self.limits.processes:
            raise Failed("processes", messages.too_many_processes(self.limits.processes), frames=self._frames())
        if self._family.memory(self._process.pid, members) > self.limits.memory:
            raise Failed("memory", messages.too_much_memory(self.limits.memory), frames=self._frames())

    def _exit_code(self, timeout: float) -> int | None:
        try:
            return self._process.exit_code(timeout)
        except LostZygote:
            raise Failed("tampering", messages.grader_process_killed()) from None

    def _ended(self) -> Failed:
        code = self._exit_code(_LEAVE_SECONDS)
        if code == -9:
            return Failed("memory", messages.killed())
        if code is not None and code < 0:
            return Failed("ended", messages.crashed(signal_name(code)))
        return Failed("ended", messages.ended(code))

    def _answer_callback(self, message: dict) -> None:
        callback = self._callbacks.get(message["callback"])
        if callback is None or type(message["args"]) is not tuple or type(message["kwargs"]) is not dict:
            raise Failed("tampering", messages.garbled())
        try:
            reply = ("return", callback.function(*message["args"], **message["kwargs"]))
        except Failed:
            raise
        except Exception as error:
            plain = type(error) if type(error).__module__ == "builtins" else RuntimeError
            reply = ("raise", plain(str(error)))
        self._send(*reply)

    def _refusal(self, message: dict) -> Failed:
        """The failure that the child describes, read with the care that anything from there needs."""
        try:
            if "unsendable" in message:
                details = message["unsendable"]
                return messages.unsendable(*(shorten(str(details[key])) for key in ("type", "where", "why")))
            error = message["error"]
            frames = tuple((int(line), str(name)) for line, name in error["frames"][:FRAMES])
            kind, text = shorten(str(error["type"])), shorten(str(error["message"]), MESSAGE_CHARACTERS)
            ancestors = list(error["ancestors"])
            return messages.raised(kind, ancestors, text, frames, self.limits.memory)
        except (KeyError, TypeError, ValueError):
            return Failed("tampering", messages.garbled())

    def _frames(self) -> tuple[tuple[int, str], ...]:
        """Where the answer is at this moment, as far as its process can still write it down."""
        with contextlib.suppress(OSError, AttributeError):  # Windows has no SIGUSR1
            os.kill(self._process.pid, signal.SIGUSR1)
            deadline = time.monotonic() + _STACK_SECONDS
            while time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                with open(Path(self._root, STACK_FILE), encoding="utf-8", errors="replace") as file:
                    found = _FRAME.findall(file.read(65536))
                if found:
                    return tuple((int(line), name) for line, name in reversed(found[:FRAMES]))
        return ()
