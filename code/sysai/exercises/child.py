"""The process in which an answer runs: it loads the answer, serves the grader's calls, and sends back data.

Nothing here is trusted once the answer has been loaded, since the answer can change any of it. Whatever it changes,
all that leaves this process are bytes on one pipe, and the grader reads them with `encoding.decode`.

Three pipes: requests (pickled, from the grader), replies (encoded, to it), and what the answer prints.
"""

import faulthandler
import io
import linecache
import os
import pickle
import signal
import struct
import sys
import traceback
import types

from sysai.exercises.encoding import Unsendable, encode
from sysai.exercises.limits import Limits, impose

FILE = "answer.py"
STACK_FILE = "stack"
FRAME = struct.Struct("<Q")
MESSAGE_CHARACTERS = 2000
FRAMES = 8

_server: "AnswerServer | None" = None


def main(requests: int, replies: int, prints: int) -> None:
    """Serve the grader over three file descriptors until it says ``end`` or goes away; does not return."""
    requests, replies = os.dup(requests), os.dup(replies)
    prints = os.dup(prints)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (prints, 1), (prints, 2)):
        os.dup2(source, target)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout = _text_writer(1)
    sys.stderr = _text_writer(2)
    global _server
    _server = AnswerServer(io.BufferedReader(io.FileIO(requests)), io.FileIO(replies, "w"))
    _server.serve()


def _text_writer(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


class AnswerServer:
    """Answers requests ``(number, action, *details)``, one at a time; a callback's reply comes in between."""

    def __init__(self, requests: io.BufferedReader, replies: io.FileIO):
        self.requests, self.replies = requests, replies
        self.answer: types.ModuleType | None = None
        self.number = 0

    def serve(self) -> None:
        """Answer requests until ``end`` comes."""
        actions = {"load": self.load, "call": self.call}
        while True:
            self.number, action, *details = self.receive()
            if action == "end":
                os._exit(0)  # without the answer's exit handlers
            try:
                reply = {"value": actions[action](*details)}
            except BaseException as error:
                reply = {"error": describe(error)}
            self.reply(reply)

    def load(self, source: str, folder: str, limits: Limits) -> None:
        """Run the answer's text as the module `answer`, in `folder`, under `limits`."""
        os.chdir(folder)
        sys.path.insert(0, folder)
        impose(limits)
        if hasattr(signal, "SIGUSR1"):  # how the grader asks where the code is, before it ends it
            self.stack_file = io.FileIO(os.path.join(os.path.dirname(folder), STACK_FILE), "w")
            faulthandler.register(signal.SIGUSR1, self.stack_file, all_threads=False)
        linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
        module = types.ModuleType("answer")
        module.__file__ = os.path.join(folder, FILE)
        sys.modules["answer"] = self.answer = module
        exec(compile(source, FILE, "exec", dont_inherit=True), module.__dict__)

    def call(self, name: str, pickled: bytes) -> object:
        """The value of the answer's function `name`."""
        args, kwargs = pickle.loads(pickled)
        function = getattr(self.answer, name, None)
        if not callable(function):
            raise MissingFunction(name)
        return function(*args, **kwargs)

    def reply(self, content: dict) -> None:
        """Send `content`, or what of it cannot be sent."""
        try:
            data = encode({"number": self.number, **content})
        except Unsendable as error:
            where = error.where.removeprefix("['value']")
            details = {"type": error.type_name, "where": where, "why": error.why}
            data = encode({"number": self.number, "unsendable": details})
        self.send(data)

    def send(self, data: bytes) -> None:
        """Write a whole frame."""
        view = memoryview(FRAME.pack(len(data)) + data)
        while view:
            view = view[self.replies.write(view) :]

    def receive(self) -> tuple:
        """Read a whole frame; without one, the grader is gone."""
        head = self.requests.read(FRAME.size)
        if len(head) < FRAME.size:
            os._exit(0)
        return pickle.loads(self.requests.read(FRAME.unpack(head)[0]))

    def ask(self, callback: int, args: tuple, kwargs: dict) -> object:
        """Have the grader call one of its own functions, and return or raise what it does."""
        try:
            data = encode({"number": self.number, "callback": callback, "args": args, "kwargs": kwargs})
        except Unsendable as error:
            raise TypeError(f"cannot pass an object of type {error.type_name} to this function") from None
        self.send(data)
        kind, content = self.receive()
        if kind == "raise":
            raise content
        return content


class MissingFunction(Exception):  # noqa: N818
    """The answer does not define this function."""


class Proxy:
    """A function of the grader's, as the answer sees it."""

    def __init__(self, callback: int, name: str):
        self._callback, self.__name__ = callback, name

    def __call__(self, *args, **kwargs):
        """Call the grader's function with these arguments and return its value."""
        return _server.ask(self._callback, args, kwargs)

    def __repr__(self) -> str:
        return f"<function {self.__name__}>"


def describe(error: BaseException) -> dict:
    """An exception as data: type, ancestors, message, and its (line, function) pairs in the answer, outermost first."""
    frames = [(f.lineno, f.name) for f in traceback.extract_tb(error.__traceback__) if f.filename == FILE]
    if isinstance(error, SyntaxError) and error.filename == FILE:
        frames = [(error.lineno or 0, "")]
    if len(frames) > FRAMES:
        frames = frames[: FRAMES // 2] + frames[-FRAMES // 2 :]
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:
        message = ""
    return {
        "type": type(error).__name__[:100],
        "ancestors": [kind.__name__[:100] for kind in type(error).__mro__[:20]],
        "message": message[:MESSAGE_CHARACTERS],
        "frames": [[line or 0, name[:100]] for line, name in frames],
    }


if __name__ == "__main__":
    from sysai.exercises import child

    child.main(0, 1, 2)
