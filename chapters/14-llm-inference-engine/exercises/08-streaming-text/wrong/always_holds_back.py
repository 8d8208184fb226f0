"""Always holds back as many characters as the longest stop string has, less one."""

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
        certain = max(0, len(text) - max([0, *(len(stop) - 1 for stop in self.stop)]))
        self._held = text[certain:]
        return text[:certain]


def stream(tokens: Iterable[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    detokenizer = Detokenizer(stop)
    pieces = [detokenizer.push(token) for token in tokens]
    return [*pieces, detokenizer.finish()], detokenizer.met
