"""Byte-level byte-pair encoding: text to token ids and back.

Text is cut into words, digits and runs of space by a regular expression; each piece becomes bytes; then the
pair of neighbours that was merged first in training (its rank is lowest) is joined again and again until no
pair is known. A piece of n bytes costs O(n log n) with a heap of pairs, and pieces repeat, so the ids of short ones
are kept. Sennrich et al. 2016, arXiv 1508.07909; the byte form: Radford et al. 2019 (GPT-2). Production tokenizers do
the same in compiled code, on many threads.

A byte that the vocabulary lacks is dropped, as the published tokenizer drops it: SmolLM2's has no token for
six control characters, nor for the first bytes of planes that Unicode has not assigned.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path

import regex

from sysai.models.gguf_file import GGUFFile, open_gguf

_DIGITS_ALONE = (
    r"\p{N}"  # every digit is a piece of its own
    r"|'(?:s|t|re|ve|m|ll|d)"
    r"| ?\p{L}+"
    r"| ?[^\s\p{L}\p{N}]+"
    r"|\s+(?![^\s\p{N}])|\s+"  # a run of space leaves its last one to the word after it, not to a digit
)
PRE_TOKENIZERS = {"smollm": _DIGITS_ALONE}
_KEPT_PIECE = 64  # characters; longer ones hardly repeat, and would fill the memory
_ADDED = (3, 4)  # GGUF's kinds of tokens that are matched whole: control, user-defined


def _byte_symbols() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte: itself where printable, else a character from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}


_SYMBOL_OF_BYTE = _byte_symbols()
_BYTE_OF_SYMBOL = {symbol: byte for byte, symbol in _SYMBOL_OF_BYTE.items()}


class Tokenizer:
    """A vocabulary with its merges, special tokens and chat template.

    Args:
        tokens: the vocabulary, in the order of ids, in GPT-2's symbols for bytes.
        merges: pairs of symbols, in the order in which training joined them.
        special_ids: ids of tokens that stand for themselves and are never split or merged.
        pre_tokenizer: which of `PRE_TOKENIZERS` cuts the text.
        chat_template: Jinja source that turns messages into a prompt, or None.
        eos_id: the token that ends an answer, or None.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        merges: Sequence[tuple[str, str]],
        special_ids: Sequence[int] = (),
        pre_tokenizer: str = "smollm",
        chat_template: str | None = None,
        eos_id: int | None = None,
    ) -> None:
        if pre_tokenizer not in PRE_TOKENIZERS:
            raise ValueError(f"pre-tokenizer {pre_tokenizer!r} is unknown: known are {sorted(PRE_TOKENIZERS)}")
        self.tokens = list(tokens)
        self.special_ids = frozenset(special_ids)
        self.chat_template, self.eos_id = chat_template, eos_id
        self._id_of = {token: i for i, token in enumerate(self.tokens)}
        self._rank_of = {tuple(pair): rank for rank, pair in enumerate(merges)}
        self._pieces = regex.compile(PRE_TOKENIZERS[pre_tokenizer])
        special = sorted((self.tokens[i] for i in self.special_ids), key=len, reverse=True)
        self._special = regex.compile("|".join(map(regex.escape, special)) or r"(?!)")
        self._encode_piece = lru_cache(maxsize=100_000)(self._merge)

    @classmethod
    def from_gguf(cls, source: str | Path | GGUFFile) -> "Tokenizer":
        """Read the tokenizer that a GGUF file carries.

        Raises:
            ValueError: no GGUF file, or its tokenizer is of another kind than this one.
        """
        fields = open_gguf(source).fields

        def value(key: str, default=None):
            return fields[key].contents() if key in fields else default

        if value("tokenizer.ggml.model") != "gpt2":
            raise ValueError(f"tokenizer is {value('tokenizer.ggml.model')!r}: only 'gpt2' is supported")
        return cls(
            value("tokenizer.ggml.tokens"),
            [tuple(pair.split(" ")) for pair in value("tokenizer.ggml.merges")],
            [i for i, kind in enumerate(value("tokenizer.ggml.token_type")) if kind in _ADDED],
            value("tokenizer.ggml.pre"),
            value("tokenizer.chat_template"),
            value("tokenizer.ggml.eos_token_id"),
        )

    @classmethod
    def from_json(cls, path: str | Path) -> "Tokenizer":
        """Read a Hugging Face ``tokenizer.json``, and the ``tokenizer_config.json`` beside it if there is one.

        Raises:
            ValueError: the file describes another kind of tokenizer than this one.
        """
        path = Path(path)
        data = json.loads(path.read_text(encoding="utf-8"))
        cuts = data["pre_tokenizer"] or {}
        kinds = [step["type"] for step in cuts.get("pretokenizers", [cuts])] if cuts else []
        if data["model"].get("type") != "BPE" or kinds != ["Digits", "ByteLevel"]:
            raise ValueError(f"{path}: only BPE after Digits and ByteLevel is supported, this has {kinds}")
        added = {token["id"]: token["content"] for token in data["added_tokens"]}
        by_id = {i: token for token, i in data["model"]["vocab"].items()} | added
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in data["model"]["merges"]]
        beside = path.with_name("tokenizer_config.json")
        config = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
        tokens = [by_id[i] for i in range(len(by_id))]
        eos = config.get("eos_token")
        eos = eos["content"] if isinstance(eos, Mapping) else eos
        eos_id = tokens.index(eos) if eos in tokens else None
        return cls(tokens, merges, list(added), "smollm", config.get("chat_template"), eos_id)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text. Special tokens written in it are recognized, as in production tokenizers."""
        ids, end = [], 0
        for match in self._special.finditer(text):
            ids += self._encode_plain(text[end : match.start()])
            ids.append(self._id_of[match.group()])
            end = match.end()
        return ids + self._encode_plain(text[end:])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; bytes that are no valid UTF-8 become U+FFFD.

        Raises:
            ValueError: an id that the vocabulary lacks.
        """
        if ids and not 0 <= min(ids) <= max(ids) < len(self.tokens):
            raise ValueError(f"token id out of range: ids go from 0 to {len(self.tokens) - 1}")
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one token stands for."""
        token = self.tokens[token_id]
        if token_id in self.special_ids:
            return token.encode("utf-8")
        return bytes(_BYTE_OF_SYMBOL[symbol] for symbol in token)

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """The prompt that a conversation becomes: messages are {"role": ..., "content": ...}.

        Raises:
            ValueError: the tokenizer has no template.
        """
        if self.chat_template is None:
            raise ValueError("this tokenizer has no chat template: write the prompt as text")
        return self._template.render(messages=messages, add_generation_prompt=add_generation_prompt)

    @cached_property
    def _template(self):
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # templates come with weights: not trusted

        return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(self.chat_template)

    def _encode_plain(self, text: str) -> list[int]:
        return [
            i
            for piece in self._pieces.findall(text)
            for i in (self._encode_piece(piece) if len(piece) <= _KEPT_PIECE else self._merge(piece))
        ]

    def _merge(self, piece: str) -> tuple[int, ...]:
        """Byte-pair encode one piece: always the known pair of the lowest rank, the leftmost of several."""
        symbols = [_SYMBOL_OF_BYTE[byte] for byte in piece.encode("utf-8")]
        symbols = [symbol for symbol in symbols if symbol in self._id_of]
        before = list(range(-1, len(symbols) - 1))  # neighbours, as symbols disappear into the one on their left
        after = list(range(1, len(symbols) + 1))
        ranks = self._rank_of
        candidates = [(ranks[pair], i, pair) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
        heapify(candidates)
        while candidates:
            _, i, pair = heappop(candidates)
            j = after[i]
            if j == len(symbols) or (symbols[i], symbols[j]) != pair:  # one of the two has been merged since
                continue
            symbols[i], symbols[j], after[i] = pair[0] + pair[1], "", after[j]
            if after[i] < len(symbols):
                before[after[i]] = i
            for k in (before[i], i):
                if k >= 0 and after[k] < len(symbols):
                    pair = symbols[k], symbols[after[k]]
                    if pair in ranks:
                        heappush(candidates, (ranks[pair], k, pair))
        return tuple(self._id_of[symbol] for symbol in symbols if symbol)
