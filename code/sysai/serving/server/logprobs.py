"""Log-probabilities as the two endpoints show them.

A token may be a part of a character. The chat form tells its bytes; the older one has a text as key and writes such a
token as `bytes:\\xe4\\xbd`, as OpenAI does. JSON has no infinity: what is impossible gets -9999, as in vLLM.
"""

from sysai.models.tokenizer import Tokenizer
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.outputs import Chunk
from sysai.serving.engine.sampler import TokenLogprobs

_IMPOSSIBLE = -9999.0


def shown_logprobs(chunk: Chunk) -> TokenLogprobs | None:
    """A chunk's entry, unless its token is the end and no part of the text."""
    ended_by_token = chunk.finish_reason is FinishReason.STOP and not isinstance(chunk.stop_reason, str)
    return None if ended_by_token else chunk.logprobs


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


def for_completion(tokenizer: Tokenizer, entry: TokenLogprobs, offset: int) -> dict:
    """One token's lists in the form of `responses.CompletionLogprobs`; it begins at character `offset`.

    The token taken is among the likeliest, as a further one if need be.
    """
    top = [*entry.top, (entry.token_id, entry.logprob)]
    return {
        "tokens": [_key(tokenizer, entry.token_id)],
        "token_logprobs": [max(entry.logprob, _IMPOSSIBLE)],
        "top_logprobs": [{_key(tokenizer, token_id): max(logprob, _IMPOSSIBLE) for token_id, logprob in top}],
        "text_offset": [offset],
    }


def _key(tokenizer: Tokenizer, token_id: int) -> str:
    data = tokenizer.token_bytes(token_id)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
