"""Masks against following every token of the vocabulary; walks through them that end in valid documents."""

import json
import random

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_schemas import SCHEMAS
from sysai.models.tokenizer import _SYMBOL_OF_BYTE, Tokenizer
from sysai.serving.structured_output.grammar import EMPTY, NEVER, byte_set, concat, literal, repeat, union
from sysai.serving.structured_output.token_mask import TokenGrammar, Vocabulary

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 12},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "深绿"]}, "maxItems": 3},
        "score": {"anyOf": [{"type": "number"}, {"type": "null"}, {"type": "string", "maxLength": 3}]},
        "friend": {"$ref": "#"},
    },
    "required": ["name", "score"],
}
DOCUMENT = {
    "name": "Jürg 中文\n",
    "age": 37,
    "tags": ["red", "深绿"],
    "score": -1.5,
    "friend": {"name": "Li", "score": None},
}
LIMITS = {"max_depth": 3, "max_whitespace": 4}


@pytest.fixture(scope="module")
def real(tokenizer):
    return Vocabulary(tokenizer)


def vocabulary_of(parts, left_out=()):
    """Single bytes but those left out, longer tokens, and an end of sequence, the last id."""
    tokens = [bytes([byte]) for byte in range(256) if byte not in left_out] + list(parts)
    symbols = ["".join(_SYMBOL_OF_BYTE[byte] for byte in token) for token in tokens]
    return Vocabulary(Tokenizer([*symbols, "<|end|>"], [], special_ids=[len(symbols)], eos_id=len(symbols)))


def followed(grammar, state):
    """The mask by its definition: one token after the other."""
    tokens = grammar.vocabulary.token_bytes
    mask = np.array([bool(token) and state.follow(token) is not NEVER for token in tokens])
    mask[grammar.vocabulary.eos_id] = state.nullable
    return mask


PARTS = st.lists(
    st.one_of(
        st.text(st.sampled_from('{}[]":, \n\\ua1e-.0n'), min_size=2, max_size=5).map(str.encode),
        st.lists(st.sampled_from("中🙂é".encode()), min_size=2, max_size=3).map(bytes),
        st.sampled_from([b"true", b'": "', b'","', b'{"name', b'"]}', b"null,", b'\\"', b"1, 2", b'ab"']),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(SCHEMAS, PARTS, st.integers(0, 2**32))
def test_masks_of_random_vocabularies_along_random_walks(schema, parts, seed):
    grammar = TokenGrammar.from_json_schema(schema, vocabulary_of(parts), **LIMITS)
    rng, state = random.Random(seed), grammar.start
    for _ in range(12):
        mask = grammar.mask(state)
        assert np.array_equal(mask, followed(grammar, state))
        choices = [token_id for token_id in mask.nonzero()[0] if token_id != grammar.vocabulary.eos_id]
        if not choices:
            assert grammar.is_complete(state)
            break
        longest = sorted(choices, key=lambda i: -len(grammar.vocabulary.token_bytes[i]))[:8]
        state = grammar.advance(state, rng.choice(rng.choice([choices, longest])))


@pytest.mark.parametrize("tail", [EMPTY, literal(b"b"), repeat(byte_set(b"ab"), 1, 2)])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 2), (2, 3), (3, None)])
def test_repetitions_that_can_be_read_in_several_ways(tail, low, high):
    item = union(literal(b"a"), literal(b"aa"), literal(b"aab"))
    vocabulary = vocabulary_of([b"aa", b"aaa", b"aaaa", b"aaaaa", b"aab", b"aaaab", b"aabaab", b"ab", b"aabb", b"ba"])
    grammar = TokenGrammar(concat(repeat(item, low, high), tail), vocabulary)
    for prefix in (b"", b"a", b"aa", b"aab", b"aaba"):
        state = grammar.start.follow(prefix)
        assert np.array_equal(grammar.mask(state), followed(grammar, state)), prefix


def states_of(grammar, tokenizer, text):
    """The states along the tokens of a text, each of which must be allowed."""
    states = [grammar.start]
    for token_id in tokenizer.encode(text):
        assert grammar.mask(states[-1])[token_id], (text, token_id)
        states.append(grammar.advance(states[-1], token_id))
    return states


@pytest.mark.parametrize("indent", [None, 1])
def test_a_valid_document_passes_token_by_token_and_can_end(real, tokenizer, indent):
    grammar = TokenGrammar.from_json_schema(json.dumps(PERSON), real)
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=False)
    states = states_of(grammar, tokenizer, text)
    assert [grammar.is_complete(state) for state in states] == [False] * (len(states) - 1) + [True]
    assert grammar.mask(states[-1]).nonzero()[0].tolist() == [real.eos_id]
    assert grammar.advance(states[-1], real.eos_id) is EMPTY


def test_masks_of_the_real_vocabulary_equal_following_every_token(real, tokenizer):
    grammar = TokenGrammar.from_json_schema(PERSON, real)
    states = states_of(grammar, tokenizer, json.dumps(DOCUMENT))
    for state in random.Random(0).sample(states, 10):
        assert np.array_equal(grammar.mask(state), followed(grammar, state))


def test_random_walks_through_masks_end_in_valid_documents(real):
    grammar = TokenGrammar.from_json_schema(PERSON, real, **LIMITS)
    rng, tokens_made, names = random.Random(0), 0, set()
    for _ in range(40):
        state, made, token_id = grammar.start, [], None
        while token_id != real.eos_id:
            choices = grammar.mask(state).nonzero()[0]
            assert len(choices)
            token_id = int(rng.choice(choices))
            state = grammar.advance(state, token_id)
            made.append(token_id)
        document = json.loads(b"".join(real.token_bytes[i] for i in made).decode())
        jsonschema.validate(document, PERSON, jsonschema.Draft202012Validator)
        tokens_made += len(made)
        names.add(document["name"])
    assert tokens_made > 40 * 10
    assert len(names) == 40


def test_limits_of_length_count_characters_and_not_tokens(real, tokenizer):
    for limit in (3, 4, 100):
        grammar = TokenGrammar.from_json_schema({"type": "string", "maxLength": limit, "minLength": 2}, real)
        inside = grammar.start.follow(b'"')
        mask = grammar.mask(inside)
        (four,) = tokenizer.encode("like")
        assert mask[four] == (limit >= 4)
        assert not mask[tokenizer.encode('"')[0]]  # too short to end
        assert np.array_equal(mask, followed(grammar, inside))


def test_a_vocabulary_without_some_bytes_never_comes_to_a_dead_end():
    # No token writes the second byte of these characters or an escape, but a token begins one.
    lost = "中é".encode()[1:] + b"\\"
    vocabulary = vocabulary_of(["中".encode()[:1] + b"x", "é".encode()[:1] * 2], left_out=lost)
    grammar = TokenGrammar.from_json_schema({"enum": ["中", "é", "ok"]}, vocabulary)
    assert [vocabulary.token_bytes[i] for i in grammar.mask(grammar.start.follow(b'"')).nonzero()[0]] == [b"o"]
    with pytest.raises(ValueError, match="no document satisfies"):
        TokenGrammar.from_json_schema({"enum": ["中", "é"]}, vocabulary)


def test_tokens_that_are_not_allowed_are_refused_and_states_are_values(real, tokenizer):
    grammar = TokenGrammar.from_json_schema({"type": "boolean"}, real)
    before = grammar.mask(grammar.start)
    for token_id in (real.eos_id, tokenizer.encode("false")[0] + 1, min(tokenizer.special_ids - {real.eos_id})):
        with pytest.raises(ValueError, match="not allowed here"):
            grammar.advance(grammar.start, token_id)
    ends = [states_of(grammar, tokenizer, text)[-1] for text in ("true", "false", "true")]
    assert ends == [EMPTY] * 3
    assert grammar.mask(grammar.start) is before
    with pytest.raises(ValueError, match="read-only"):
        before[0] = True


def test_what_is_known_inside_one_string_serves_all_others(real, monkeypatch):
    """The walk over nearly all of the vocabulary is made once, whatever the schema and the limit of length."""
    walks = []
    walk = Vocabulary._walk_repeated
    monkeypatch.setattr(Vocabulary, "_walk_repeated", lambda self, item: walks.append(item) or walk(self, item))
    fresh = Vocabulary.__new__(Vocabulary)
    fresh.__dict__ = {**real.__dict__, "_repeated": {}}
    for schema in ({"type": "string"}, PERSON["properties"]["name"], {"type": "array", "items": {"type": "string"}}):
        grammar = TokenGrammar.from_json_schema(schema, fresh)
        start = grammar.start.follow(b'["' if schema["type"] == "array" else b'"')
        for text in (b"", b"a", b"ab", b"abc"):
            grammar.mask(start.follow(text))
    assert len(walks) == len(set(walks)) <= 3  # characters, space and digits


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(ValueError, match="no end-of-sequence"):
        Vocabulary(Tokenizer(["a"], []))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([r"(a|b|[ab]{1,3}){1,6}c", r"(.*a){3}", r"a.{4}", r"(a+a+)+b", r"([ab]{1,4}b){2,3}"]),
    st.lists(st.text(st.sampled_from('ab"c'), min_size=2, max_size=4).map(str.encode), max_size=12),
    st.integers(0, 2**32),
)
def test_patterns_that_can_be_read_in_several_ways(pattern, parts, seed):
    grammar = TokenGrammar.from_json_schema({"type": "string", "pattern": pattern}, vocabulary_of(parts))
    rng, state = random.Random(seed), grammar.start
    for _ in range(10):
        mask = grammar.mask(state)
        assert np.array_equal(mask, followed(grammar, state))
        state = grammar.advance(state, rng.choice(mask.nonzero()[0]))
        if state is EMPTY:
            break


def test_a_pattern_that_would_hold_up_the_engine_allows_nothing_after_a_bounded_search(real, tokenizer):
    grammar = TokenGrammar.from_json_schema({"type": "string", "pattern": "^(a|b|[a-z]{1,5}){1,50}$"}, real)
    state = grammar.start.follow(b'"abcabc')
    assert state is not NEVER
    assert not grammar.mask(state).any()
    plain = TokenGrammar.from_json_schema({"type": "string", "pattern": "^[a-z]{1,50}$"}, real)
    assert plain.mask(plain.start.follow(b'"abcabc')).any()
