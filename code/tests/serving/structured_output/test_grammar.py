"""Expressions and their derivatives against the sets of strings that they denote."""

import gc
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.serving.structured_output import grammar
from sysai.serving.structured_output.grammar import EMPTY, NEVER, byte_set, concat, literal, optional, repeat, union


def cat(*sets):
    return {b"".join(parts) for parts in itertools.product(*sets)}


def powers(strings, low, high):
    return set().union(*(cat(*[strings] * count) for count in range(low, high + 1)))


LEAVES = st.one_of(
    st.sampled_from([b"a", b"ab", b"b", b"ba", b"aa", b""]).map(lambda data: (literal(data), {data})),
    st.sampled_from([b"a", b"b", b"ab", b""]).map(lambda some: (byte_set(some), {bytes([byte]) for byte in some})),
)


@st.composite
def languages(draw, depth=3):
    """An expression and the set that it denotes."""
    kind = draw(st.sampled_from(["sequence", "choice", "optional", "repeat", "leaf"])) if depth else "leaf"
    if kind == "leaf":
        return draw(LEAVES)
    pairs = [draw(languages(depth - 1)) for _ in range(1 if kind in ("optional", "repeat") else 2)]
    expressions, sets = zip(*pairs, strict=True)
    match kind:
        case "sequence":
            return concat(*expressions), cat(*sets)
        case "choice":
            return union(*expressions), set().union(*sets)
        case "optional":
            return optional(*expressions), {b"", *sets[0]}
    item, strings = pairs[0]
    if item.nullable or len(strings) > 6:
        return item, strings
    low, high = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    return repeat(item, low, high), powers(strings, low, high)


@settings(max_examples=300, deadline=None)
@given(
    languages().filter(lambda pair: len(pair[1]) < 300),
    st.lists(st.binary(max_size=6).map(lambda raw: bytes(b"ab"[i % 2] for i in raw)), max_size=20),
)
def test_derivatives_know_the_members_and_their_beginnings(language, others):
    expression, strings = language
    beginnings = {string[:size] for string in strings for size in range(len(string) + 1)}
    for string in {*strings, *beginnings, *others}:
        rest = expression.follow(string)
        assert rest.nullable == (string in strings)
        assert (rest is NEVER) == (string not in beginnings)
        assert rest.first == {begun[len(string)] for begun in beginnings if begun[:-1] == string and begun}


def test_a_concatenation_goes_on_after_a_head_that_is_done_or_not():
    expression = concat(union(EMPTY, literal(b"a"), literal(b"ab")), repeat(literal(b"ab"), 0, 1), literal(b"b"))
    strings = [b"", b"a", b"b", b"ab", b"abb", b"aab", b"aabb", b"abab", b"ababb", b"ababab"]
    accepted = [string for string in strings if expression.follow(string).nullable]
    assert accepted == [b"b", b"ab", b"abb", b"aabb", b"ababb"]


def test_repetition_without_end_comes_back_to_itself():
    many = repeat(literal(b"ab"))
    assert many.follow(b"abab") is many
    assert many.follow(b"aba") is many.follow(b"a")
    assert repeat(byte_set(b"x"), 2).follow(b"xx") is repeat(byte_set(b"x"))
    assert not repeat(byte_set(b"x"), 2).follow(b"x").nullable


def test_equal_expressions_are_one_object_while_they_are_in_use():
    def make():
        return concat(literal(b"q"), union(byte_set(b"xy"), literal(b"long")), repeat(byte_set(b"z"), 0, 5))

    assert make() is make()
    assert concat(concat(literal(b"a"), byte_set(b"b")), EMPTY, byte_set(b"c")) is concat(
        literal(b"a"), concat(byte_set(b"b"), byte_set(b"c"))
    )
    gc.collect()
    before = len(grammar._interned)
    kept = make()
    kept.follow(b"qxzz")
    assert len(grammar._interned) > before
    del kept
    gc.collect()
    assert len(grammar._interned) == before


def test_a_long_literal_and_a_long_sequence_need_no_deep_recursion():
    data = bytes(range(256)) * 40
    assert literal(data).follow(data) is EMPTY
    assert concat(*(byte_set([byte]) for byte in data)).follow(data) is EMPTY
