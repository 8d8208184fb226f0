"""Which tokens keep the text a prefix of a language's strings: constrained decoding by a mask on the logits.

A grammar goes by bytes, a model by tokens of many bytes. The vocabulary becomes a trie, and a token is allowed if the
language can follow its path (Willard and Louf 2023, arXiv 2307.09702). To walk 49,152 tokens at every step would be
slow. So a state is taken apart at its `Concatenation`, as XGrammar does (arXiv 2411.15100, section 3.1): most tokens
end within its head, whatever its tail is, and those are known once the head has been met anywhere; the few paths on
which the head is complete go on in the tail. Inside a string, whose limits of length differ from state to state, a
token's number of characters is remembered instead, and compared with the number that is still allowed.

The language is built of bytes that the vocabulary has as tokens of their own, so that every state but the last has a
token. A mask is empty only where a pattern such as `(a|[a-z]{1,5}){1,50}` can be read in so many ways that finding the
mask would hold up the engine: its request fails, and the others go on.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sysai.models.tokenizer import Tokenizer
from sysai.serving.structured_output.grammar import EMPTY, NEVER, Concatenation, Expression, Repeat, Union, concat
from sysai.serving.structured_output.json_schema import compile_json_schema

_ROOT = 0
_MAX_REPEATS = 256  # remembered for a vocabulary
_MAX_MASKS = 512  # remembered for a grammar, a byte a token each
_MAX_STEPS = 300_000  # of the walks for one mask: about half a second
_MAX_REPEATED_STEPS = 3_000_000  # of the walk for a repetition, once a vocabulary


class TooManyStatesError(Exception):
    """The text so far can be read in so many ways that a mask would hold up the engine."""


class _Budget:
    """Steps that a walk may still take."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooManyStatesError


class _Repeated(NamedTuple):
    """The tokens that spell the beginning of any number of one item, found by walks from the root."""

    token_ids: np.ndarray  # tokens that end within an item or after one
    started: np.ndarray  # how many items each of them begins, at least
    ends: dict[int, list[tuple[int, int]]]  # next byte -> (node, items complete there)


class Vocabulary:
    """A tokenizer's tokens as a trie over bytes; special tokens are left out. Built once, shared by all grammars.

    Raises:
        ValueError: a tokenizer that has no token for the end.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if tokenizer.eos_id is None:
            raise ValueError("the tokenizer has no end-of-sequence token: a document could never be ended")
        self.eos_id = tokenizer.eos_id
        texts = map(tokenizer.token_bytes, range(len(tokenizer)))
        self.token_bytes = [b"" if i in tokenizer.special_ids else text for i, text in enumerate(texts)]
        self.alphabet = frozenset(data[0] for data in self.token_bytes if len(data) == 1)
        self.children: list[dict[int, int]] = [{}]
        self.token_ids: list[list[int]] = [[]]  # tokens that end at the node
        for token_id, data in enumerate(self.token_bytes):
            if data:
                self._insert(token_id, data)
        self._repeated: dict[Expression, _Repeated] = {}

    def _insert(self, token_id: int, data: bytes) -> None:
        node = _ROOT
        for byte in data:
            if byte not in self.children[node]:
                self.children[node][byte] = len(self.children)
                self.children.append({})
                self.token_ids.append([])
            node = self.children[node][byte]
        self.token_ids[node].append(token_id)

    def allow(self, state: Expression, allowed_V: np.ndarray) -> None:
        """Set `allowed_V` to True for the tokens that can follow at `state`.

        Raises:
            TooManyStatesError: `allowed_V` is not complete then.
        """
        budget = _Budget(_MAX_STEPS)
        seen, walked, todo = set(), defaultdict(set), [(state, _ROOT)]
        while todo:
            budget.spend(1)
            state, node = todo.pop()
            if (state, node) in seen:
                continue
            seen.add((state, node))
            head, tail = (state.head, state.tail) if isinstance(state, Concatenation) else (state, EMPTY)
            if isinstance(head, Union):
                todo += [(concat(option, tail), node) for option in head.options]
            elif isinstance(head, Repeat) and node == _ROOT:
                todo += [(tail, end) for end in self._ends_of_repeat(head, tail, allowed_V)]
            else:
                ends = self._ends(head, node, allowed_V, walked[tail], budget)
                todo += [(tail, end) for end in ends if not tail.first.isdisjoint(self.children[end])]

    def _ends(self, head: Expression, node: int, allowed_V: np.ndarray, walked: set, budget: _Budget) -> list[int]:
        """Allow the tokens that end within `head`, walked from a node on; return the nodes where it is complete.

        `walked` holds the pairs (node, rest of the head) of earlier walks before the same tail: they are left out, so
        that paths that meet again are followed once.
        """
        ends, todo = [node] if head.nullable else [], [(node, head)]
        while todo:
            budget.spend(1)
            node, state = todo.pop()
            if (node, state) in walked:
                continue
            walked.add((node, state))
            for byte in state.first.intersection(self.children[node]):
                budget.spend(state.cost(byte))
                child, after = self.children[node][byte], state.derivative(byte)
                allowed_V[self.token_ids[child]] = True
                if after.nullable:
                    ends.append(child)
                todo.append((child, after))
        return ends

    def _ends_of_repeat(self, head: Repeat, tail: Expression, allowed_V: np.ndarray) -> list[int]:
        """Do as `_ends` does for a repetition, from the root on; only nodes where `tail` can go on."""
        if head.item not in self._repeated:
            if len(self._repeated) == _MAX_REPEATS:
                del self._repeated[next(iter(self._repeated))]  # the one in the dictionary for the longest time
            self._repeated[head.item] = self._walk_repeated(head.item)
        repeated, high = self._repeated[head.item], len(self.children) if head.high is None else head.high
        allowed_V[repeated.token_ids[repeated.started <= high]] = True
        return [node for byte in tail.first for node, count in repeated.ends.get(byte, ()) if head.low <= count <= high]

    def _walk_repeated(self, item: Expression) -> _Repeated:
        started: dict[int, int] = {}
        budget = _Budget(_MAX_REPEATED_STEPS)
        ends = defaultdict(list)
        seen, todo = set(), [(_ROOT, item, 0)]  # node, the rest of the item, items complete
        while todo:
            budget.spend(1)
            node, state, count = here = todo.pop()
            if here in seen:  # an item that can be read in two ways: its paths meet again
                continue
            seen.add(here)
            if state is item:
                for byte in self.children[node]:
                    ends[byte].append((node, count))
            for byte in state.first.intersection(self.children[node]):
                budget.spend(state.cost(byte))
                child, after = self.children[node][byte], state.derivative(byte)
                for token_id in self.token_ids[child]:
                    started[token_id] = min(count + 1, started.get(token_id, count + 1))
                if after.nullable:
                    todo.append((child, item, count + 1))
                if after.first:
                    todo.append((child, after, count))
        return _Repeated(
            np.array(list(started), dtype=np.int64), np.array(list(started.values()), dtype=np.int64), ends
        )


class TokenGrammar:
    """A language as an automaton over tokens. States are values: to go back to an earlier one costs nothing.

    Args:
        language: built of the bytes in `vocabulary.alphabet`.
        vocabulary: the tokens.
    """

    def __init__(self, language: Expression, vocabulary: Vocabulary) -> None:
        self.start, self.vocabulary = language, vocabulary
        self.mask = lru_cache(maxsize=_MAX_MASKS)(self._mask)

    @classmethod
    def from_json_schema(cls, schema: str | Mapping | bool, vocabulary: Vocabulary, **limits: int) -> "TokenGrammar":
        """Make the grammar of documents that satisfy a schema; see `compile_json_schema` for limits and errors."""
        return cls(compile_json_schema(schema, vocabulary.alphabet, **limits), vocabulary)

    def advance(self, state: Expression, token_id: int) -> Expression:
        """Go to the state after one more token.

        Raises:
            ValueError: a token that the state's mask forbids.
        """
        if token_id == self.vocabulary.eos_id and state.nullable:
            return EMPTY
        data = self.vocabulary.token_bytes[token_id]
        after = state.follow(data)
        if after is NEVER or not data:
            raise ValueError(f"token {token_id} ({data!r}) is not allowed here: choose one of the mask's")
        return after

    def is_complete(self, state: Expression) -> bool:
        """Whether the text so far is a whole string of the language."""
        return state.nullable

    def _mask(self, state: Expression) -> np.ndarray:
        """bool [V], read-only: tokens that may follow; the end of sequence if the text may end here.

        None at all if the text so far can be read in too many ways at once.
        """
        allowed_V = np.zeros(len(self.vocabulary.token_bytes), dtype=bool)
        try:
            self.vocabulary.allow(state, allowed_V)
            allowed_V[self.vocabulary.eos_id] = state.nullable
        except TooManyStatesError:
            allowed_V[:] = False
        allowed_V.setflags(write=False)
        return allowed_V
