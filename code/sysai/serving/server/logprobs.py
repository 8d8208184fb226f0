"""Log-probabilities as the two endpoints show them.

A token may be a part of a character. The chat form tells its bytes; the older one has a text as key and writes such a
token as `bytes:\\xe4\\xbd`, as OpenAI does. JSON has no infinity: what is impossible gets -9999, as in vLLM.
"""

import codecs
from collections.abc import Sequence

from sysai.models.tokenizer import Tokenizer
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.outputs import Chunk
from sysai.serving.engine.sampler import TokenLogprobs

_IMPOSSIBLE = -9999.0
Placed = tuple[int, TokenLogprobs]  # the character at which a token begins, and its entry


class TextOffsets:
    """Where tokens begin in the text that they are decoded to together, in characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._whole = 0  # characters

    def push(self, data: bytes) -> int:
        """Add a token's bytes; return the place of the character that its first byte belongs to."""
        self._whole += len(self._decoder.decode(data[:1]))
        begun = self._whole + bool(self._decoder.getstate()[0])
        self._whole += len(self._decoder.decode(data[1:]))
        return begun - 1 if data else begun


class ShownLogprobs:
    """The entries of one completion, each told with the text in which its token begins.

    A token whose text is held back waits. Tokens that begin after the end of the text are left out: those of a stop
    string, and the one that ends the completion, unless `with_end`.
    """

    def __init__(self, tokenizer: Tokenizer, with_end: bool) -> None:
        self.tokenizer, self.with_end = tokenizer, with_end
        self._offsets = TextOffsets()
        self._shown = 0  # characters
        self._waiting: list[Placed] = []

    def push(self, chunk: Chunk) -> list[Placed]:
        """Take a chunk; return the entries that can be told with its text."""
        self._shown += len(chunk.text)
        ended, by_string = chunk.finish_reason is not None, isinstance(chunk.stop_reason, str)
        by_token = chunk.finish_reason is FinishReason.STOP and not by_string
        if chunk.logprobs is not None and (self.with_end or not by_token):
            special = by_token or chunk.token_id in self.tokenizer.special_ids  # and so no part of the text
            offset = self._offsets.push(b"" if special else self.tokenizer.token_bytes(chunk.token_id))
            self._waiting.append((offset, chunk.logprobs))
        told = [placed for placed in self._waiting if placed[0] < self._shown or (ended and not by_string)]
        self._waiting = self._waiting[len(told) :]
        return told


def for_chat(tokenizer: Tokenizer, entry: TokenLogprobs) -> dict:
    """One token's entry in the form of `responses.TokenLogprob`."""

    def shown(token_id: int, logprob: float) -> dict:
        data = tokenizer.token_bytes(token_id)
        return {
            "token": data.decode(errors="replace"),
            "logprob": max(logprob, _IMPOSSIBLE),
            "bytes": list(data),
        }

    return shown(entry.token_id, entry.logprob) | {"top_logprobs": [shown(*top) for top in entry.top]}


def of_prompt(tokenizer: Tokenizer, token_ids: Sequence[int], entries: Sequence[TokenLogprobs]) -> dict[str, list]:
    """The lists of an echoed prompt, in the form of `responses.CompletionLogprobs`; its first token has no entry."""
    offsets = TextOffsets()
    starts = [offsets.push(tokenizer.token_bytes(token_id)) for token_id in token_ids]
    first = {"tokens": [_key(tokenizer, token_ids[0])], "token_logprobs": [None], "top_logprobs": [None]}
    rest = for_completion(tokenizer, list(zip(starts[1:], entries, strict=True)))
    return {key: first.get(key, starts[:1]) + values for key, values in rest.items()}


def for_completion(tokenizer: Tokenizer, placed: Sequence[Placed], begin: int = 0) -> dict[str, list]:
    """The lists of some tokens in the form of `responses.CompletionLogprobs`, of a text that begins at `begin`.

    The token taken is among the likeliest, as a further one if need be.
    """

    def top(entry: TokenLogprobs) -> dict[str, float]:
        pairs = [*entry.top, (entry.token_id, entry.logprob)]
        return {_key(tokenizer, token_id): max(logprob, _IMPOSSIBLE) for token_id, logprob in pairs}

    return {
        "tokens": [_key(tokenizer, entry.token_id) for _, entry in placed],
        "token_logprobs": [max(entry.logprob, _IMPOSSIBLE) for _, entry in placed],
        "top_logprobs": [top(entry) for _, entry in placed],
        "text_offset": [begin + offset for offset, _ in placed],
    }


def _key(tokenizer: Tokenizer, token_id: int) -> str:
    data = tokenizer.token_bytes(token_id)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
