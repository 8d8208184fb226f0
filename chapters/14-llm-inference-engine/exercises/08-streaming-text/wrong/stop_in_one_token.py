"""Looks for a stop string in the newest characters only, and holds nothing back."""

import codecs
from collections.abc import Iterable


class Detokenizer:
    def __init__(self, stop: list[str]):
        self.stop = stop
        self.met: str | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, token: bytes) -> str:
        return self._extend(self._decoder.decode(token))

    def finish(self) -> str:
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _extend(self, characters: str) -> str:
        if self.met is not None:
            return ""
        text = self._held + characters
        ends = [(text.index(stop) + len(stop), -len(stop), stop) for stop in self.stop if stop in text]
        if ends:
            end, _, self.met = min(ends)
            self._held = ""
            return text[: end - len(self.met)]
        return text


def stream(tokens: Iterable[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    detokenizer = Detokenizer(stop)
    pieces = [detokenizer.push(token) for token in tokens]
    return [*pieces, detokenizer.finish()], detokenizer.met
