"""Expressions and their derivatives against the sets of strings that they denote."""

import gc
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.serving import grammar
from sysai.serving.grammar import EMPTY, NEVER, byte_set, choice, literal, optional, repeat, sequence


def cat(*sets):
    return {b"".join(parts) for parts in itertools.product(*sets)}


def powers(strings, low, high):
    return set().union(*(cat(*[strings] * count) for count in range(low, high + 1)))


def both(make, combine):
    """An expression beside its set, from (expression, set) pairs."""
    return lambda pairs: (make(*(e for e, _ in pairs)), combine(*(s for _, s in pairs)))


LEAVES = st.one_of(
    st.sampled_from([b"", b"a", b"ab", b"b", b"ba"]).map(lambda data: (literal(data), {data})),
    st.sets(st.sampled_from(b"ab")).map(lambda some: (byte_set(some), {bytes([byte]) for byte in some})),
)


def larger(parts):
    return st.one_of(
        st.lists(parts, max_size=3).map(both(sequence, cat)),
        st.lists(parts, max_size=3).map(both(choice, lambda *sets: set().union(*sets))),
        parts.map(lambda pair: (optional(pair[0]), pair[1] | {b""})),
        st.tuples(parts.filter(lambda pair: not pair[0].nullable), st.integers(0, 2), st.integers(0, 2)).map(
            lambda args: (repeat(args[0][0], args[1], args[2]), powers(args[0][1], args[1], args[2]))
        ),
    )


LANGUAGES = st.recursive(LEAVES, larger, max_leaves=6).filter(lambda pair: len(pair[1]) < 500)


@settings(max_examples=300, deadline=None)
@given(LANGUAGES, st.lists(st.binary(max_size=6).map(lambda raw: bytes(b"ab"[i % 2] for i in raw)), max_size=20))
def test_derivatives_know_the_members_and_their_beginnings(language, others):
    expression, strings = language
    beginnings = {string[:size] for string in strings for size in range(len(string) + 1)}
    for string in {*strings, *beginnings, *others}:
        rest = expression.follow(string)
        assert rest.nullable == (string in strings)
        assert (rest is NEVER) == (string not in beginnings)
        assert rest.first == {begun[len(string)] for begun in beginnings if begun[:-1] == string and begun}


def test_repetition_without_end_comes_back_to_itself():
    many = repeat(literal(b"ab"))
    assert many.follow(b"abab") is many
    assert many.follow(b"aba") is many.follow(b"a")
    assert repeat(byte_set(b"x"), 2).follow(b"xx") is repeat(byte_set(b"x"))
    assert not repeat(byte_set(b"x"), 2).follow(b"x").nullable


def test_equal_expressions_are_one_object_while_they_are_in_use():
    def make():
        return sequence(literal(b"q"), choice(byte_set(b"xy"), literal(b"long")), repeat(byte_set(b"z"), 0, 5))

    assert make() is make()
    assert sequence(sequence(literal(b"a"), byte_set(b"b")), EMPTY, byte_set(b"c")) is sequence(
        literal(b"a"), sequence(byte_set(b"b"), byte_set(b"c"))
    )
    gc.collect()
    before = len(grammar._known)
    kept = make()
    kept.follow(b"qxzz")
    assert len(grammar._known) > before
    del kept
    gc.collect()
    assert len(grammar._known) == before


def test_a_long_literal_and_a_long_sequence_need_no_deep_recursion():
    data = bytes(range(256)) * 40
    assert literal(data).follow(data) is EMPTY
    assert sequence(*(byte_set([byte]) for byte in data)).follow(data) is EMPTY
