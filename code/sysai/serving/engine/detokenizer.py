"""From tokens to text while they come: no character in halves, and nothing of a stop string shown.

A token of a byte-level vocabulary is a run of bytes, and may end in the middle of a character: the bytes go through an
incremental UTF-8 decoder, which keeps an unfinished character until it is whole or cannot become one. A stop string
may begin in one token and end in another: of the text so far, the longest end that could still become a stop string
is held back. So what is shown never has to be taken back, and at the end equals decoding all tokens at once, up to
the stop string. Which stop string is met is a matter of the text alone, not of how it falls into tokens: the one that
is complete first, and of several that end with the same character the longest.

Cost: O(characters of the token + of the longest stop string) per stop string and token. vLLM searches the same way,
but always holds back as many characters as the longest stop string has, less one.
"""

import codecs
from collections.abc import Sequence

from sysai.models.tokenizer import Tokenizer


class Detokenizer:
    """The text of one sequence's output.

    Args:
        tokenizer: gives the bytes of a token.
        stop: strings that end the text; none of them empty.
        skip_special_tokens: leave out special tokens, such as the end of a sequence.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), *, skip_special_tokens: bool = True) -> None:
        if not all(stop):
            raise ValueError("a stop string is empty: it would end every text at once")
        self.tokenizer, self.stop, self.skip_special_tokens = tokenizer, tuple(stop), skip_special_tokens
        self.stop_reason: str | None = None  # the stop string that was met; no text comes after it
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""  # whole characters that could begin a stop string

    def push(self, token_id: int) -> str:
        """Add a token; return the text that is certain with it, "" if none.

        Raises:
            ValueError: an id that the vocabulary lacks.
        """
        if not 0 <= token_id < len(self.tokenizer):
            raise ValueError(f"token id {token_id} is out of range: ids go from 0 to {len(self.tokenizer) - 1}")
        if self.skip_special_tokens and token_id in self.tokenizer.special_ids:
            return ""
        return self._extend(self._decoder.decode(self.tokenizer.token_bytes(token_id)))

    def finish(self) -> str:
        """End the text, and return what was held back; the bytes of an unfinished character become U+FFFD."""
        text = self._extend(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _extend(self, new: str) -> str:
        """Append whole characters `new` to those held back; return the text that may be shown."""
        if self.stop_reason is not None:
            return ""
        text = self._held + new
        met = [(text.index(stop) + len(stop), -len(stop), stop) for stop in self.stop if stop in text]
        if met:
            end, _, self.stop_reason = min(met)
            self._held = ""
            return text[: end - len(self.stop_reason)]
        held = max((_overlap(text, stop) for stop in self.stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`, which does not stand in `text`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
