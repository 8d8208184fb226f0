"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "always_holds_back",
        "Always holds back as many characters as the longest stop string has, less one.",
        told="You always hold back as many characters as a stop string",
        text="""\
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
""",
    ),
    Fault(
        "broken_tail_dropped",
        "Leaves out the bytes of an unfinished character at the end.",
        told="The bytes of the unfinished character at the end are",
        edits=[
            (
                '''\
    """The text of one request, as soon as it is certain."""

''',
                "",
            ),
            (
                """\
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # keeps the bytes of half a character
        self._held = ""  # certain characters that begin a stop string""",
                '        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")\n        self._held = ""',
            ),
            (
                '''\
        """Return the text that has become certain by this token."""
''',
                "",
            ),
            (
                '''\
        """Return what is still held back."""
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held''',
                "        text = self._held",
            ),
            (
                '''\
    """How many characters at the end of `text` begin `stop`."""
''',
                "",
            ),
            (
                '''\
    """Return the pieces, one a token and a last one, and the stop string met."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "goes_on_behind_the_stop",
        "Shows what stands behind a stop string in later tokens.",
        told="The stop string is no part of the text, nor is anything",
        edits=[
            (
                '''\
    """The text of one request, as soon as it is certain."""

''',
                "",
            ),
            (
                """\
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # keeps the bytes of half a character
        self._held = ""  # certain characters that begin a stop string""",
                '        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")\n        self._held = ""',
            ),
            (
                '''\
        """Return the text that has become certain by this token."""
''',
                "",
            ),
            (
                '''\
        """Return what is still held back."""
''',
                "",
            ),
            (
                """\
        if self.met is not None:
            return ""
""",
                "",
            ),
            (
                '''\
    """How many characters at the end of `text` begin `stop`."""
''',
                "",
            ),
            (
                '''\
    """Return the pieces, one a token and a last one, and the stop string met."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "no_flush",
        "Forgets at the end what it has held back.",
        told="Something is held back still: text that might have become a",
        edits=[
            (
                '''\
    """The text of one request, as soon as it is certain."""

''',
                "",
            ),
            (
                """\
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # keeps the bytes of half a character
        self._held = ""  # certain characters that begin a stop string""",
                '        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")\n        self._held = ""',
            ),
            (
                '''\
        """Return the text that has become certain by this token."""
''',
                "",
            ),
            (
                '''\
        """Return what is still held back."""
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text''',
                '        return ""',
            ),
            (
                '''\
    """How many characters at the end of `text` begin `stop`."""
''',
                "",
            ),
            (
                '''\
    """Return the pieces, one a token and a last one, and the stop string met."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "shortest_stop",
        "Takes the first stop string in the list that stands in the text.",
        told="Of stop strings that end with the same character, the",
        text="""\
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
        for stop in self.stop:
            if stop in text:
                self.met, self._held = stop, ""
                return text[: text.index(stop)]
        certain = len(text) - max(_overlap(text, stop) for stop in [*self.stop, ""])
        self._held = text[certain:]
        return text[:certain]


def _overlap(text: str, stop: str) -> int:
    return max((n for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


def stream(tokens: Iterable[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    detokenizer = Detokenizer(stop)
    pieces = [detokenizer.push(token) for token in tokens]
    return [*pieces, detokenizer.finish()], detokenizer.met
""",
    ),
    Fault(
        "stop_in_one_token",
        "Looks for a stop string in the newest characters only, and holds nothing back.",
        told="This is too early: the end of the text may be the beginning",
        text="""\
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
""",
    ),
    Fault(
        "token_by_token",
        "Decodes each token by itself.",
        told="You decoded the token by itself. A character may begin in",
        edits=[
            (
                """\
import codecs
""",
                "",
            ),
            (
                '''\
    """The text of one request, as soon as it is certain."""

''',
                "",
            ),
            (
                """\
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # keeps the bytes of half a character
        self._held = ""  # certain characters that begin a stop string""",
                '        self._held = ""',
            ),
            (
                '''\
        """Return the text that has become certain by this token."""
        return self._extend(self._decoder.decode(token))''',
                '        return self._extend(token.decode("utf-8", errors="replace"))',
            ),
            (
                '''\
        """Return what is still held back."""
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held''',
                "        text = self._held",
            ),
            (
                '''\
    """How many characters at the end of `text` begin `stop`."""
''',
                "",
            ),
            (
                '''\
    """Return the pieces, one a token and a last one, and the stop string met."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "waits_for_valid_text",
        "Waits until all its bytes can be decoded, and a broken one holds up everything.",
        told="Only the bytes of the unfinished character must wait. The",
        edits=[
            (
                """\
import codecs
""",
                "",
            ),
            (
                '''\
    """The text of one request, as soon as it is certain."""

''',
                "",
            ),
            (
                """\
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # keeps the bytes of half a character
        self._held = ""  # certain characters that begin a stop string""",
                '        self._bytes = b""\n        self._held = ""',
            ),
            (
                '''\
        """Return the text that has become certain by this token."""
        return self._extend(self._decoder.decode(token))''',
                """\
        self._bytes += token
        try:
            text = self._bytes.decode()
        except UnicodeDecodeError:
            return ""
        self._bytes = b""
        return self._extend(text)""",
            ),
            (
                '''\
        """Return what is still held back."""
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held''',
                '        text = self._extend(self._bytes.decode("utf-8", errors="replace")) + self._held',
            ),
            (
                '''\
    """How many characters at the end of `text` begin `stop`."""
''',
                "",
            ),
            (
                '''\
    """Return the pieces, one a token and a last one, and the stop string met."""
''',
                "",
            ),
        ],
    ),
]
