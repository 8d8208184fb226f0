"""Decodes each token by itself."""

from collections.abc import Iterable


class Detokenizer:
    def __init__(self, stop: list[str]):
        self.stop = stop
        self.met: str | None = None
        self._held = ""

    def push(self, token: bytes) -> str:
        return self._extend(token.decode("utf-8", errors="replace"))

    def finish(self) -> str:
        text = self._held
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
        certain = len(text) - max(_overlap(text, stop) for stop in [*self.stop, ""])
        self._held = text[certain:]
        return text[:certain]


def _overlap(text: str, stop: str) -> int:
    return max((n for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


def stream(tokens: Iterable[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    detokenizer = Detokenizer(stop)
    pieces = [detokenizer.push(token) for token in tokens]
    return [*pieces, detokenizer.finish()], detokenizer.met
