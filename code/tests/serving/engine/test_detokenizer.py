"""Streamed text against decoding everything at once, with the real vocabulary and with random bytes."""

import random
from pydoc_data.topics import topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.models.tokenizer import _SYMBOL_OF_BYTE, Tokenizer
from sysai.serving.engine.detokenizer import Detokenizer

TEXTS = [
    "The quick brown fox, don't you know, jumps over 13 lazy dogs.\n\n```python\nprint('x')\n```\n",
    "系统为人工智能而生：编译器后端、计算图、推理引擎。价格是￥１２，约合 3 万元。",
    "🙂👩\u200d👩\u200d👧🇨🇳 e\u0301 हिन्दी ไทย مرحبا 𝒳𝒴 𠀀𪚥",
]


@pytest.fixture(scope="module")
def byte_tokenizer():
    """Every byte alone, pairs that cut characters in two, and a special token, id 256 + 64."""
    rng = random.Random(0)
    pairs = [bytes(rng.choices("中🙂é".encode(), k=2)) for _ in range(64)]
    symbols = ["".join(_SYMBOL_OF_BYTE[byte] for byte in part) for part in [*(bytes([b]) for b in range(256)), *pairs]]
    return Tokenizer([*symbols, "<|end|>"], [], special_ids=[len(symbols)])


def streamed(tokenizer, ids, stop=()):
    """The parts that are shown, the last one from `finish`, and the reason."""
    detokenizer = Detokenizer(tokenizer, stop)
    parts = [detokenizer.push(token_id) for token_id in ids]
    return [*parts, detokenizer.finish()], detokenizer.stop_reason


def plain(tokenizer, ids):
    return tokenizer.decode([i for i in ids if i not in tokenizer.special_ids])


def cut(text, stops):
    """The text up to the stop string that a reader who goes by characters sees completed first, and that string."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest
    return text, None


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_and_no_character_in_halves(tokenizer, text):
    ids = tokenizer.encode(text)
    parts, reason = streamed(tokenizer, ids)
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts)
    assert (parts[-1], reason) == ("", None)
    assert any(part == "" for part in parts[:-1]) == (not text.isascii())  # some tokens end within a character


def test_whole_characters_come_at_once(tokenizer):
    """Without stop strings, what is shown after each token is all whole characters so far."""
    ids = [i for text in TEXTS for i in tokenizer.encode(text)]
    detokenizer, shown = Detokenizer(tokenizer), ""
    for count, token_id in enumerate(ids, 1):
        shown += detokenizer.push(token_id)
        assert shown == b"".join(map(tokenizer.token_bytes, ids[:count])).decode(errors="ignore")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_random_tokens_equal_decoding_at_once(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    assert "".join(streamed(tokenizer, ids)[0]) == plain(tokenizer, ids)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.integers(0, 320), max_size=30))
def test_random_bytes_equal_decoding_at_once(byte_tokenizer, ids):
    assert "".join(streamed(byte_tokenizer, ids)[0]) == plain(byte_tokenizer, ids)


@settings(max_examples=250, deadline=None)
@given(
    st.text(st.sampled_from("ab中🙂"), max_size=12).flatmap(
        lambda text: st.tuples(
            st.just(text), st.lists(st.text(st.sampled_from("ab中🙂\ufffd"), min_size=1, max_size=4), max_size=4)
        )
    ),
    st.binary(max_size=2),
    st.data(),
)
def test_stop_strings_cut_the_text_whatever_the_tokens(byte_tokenizer, text_and_stops, broken, data):
    text, stops = text_and_stops
    ids, raw = [], text.encode() + broken
    known = [byte_tokenizer.token_bytes(i) for i in range(320)]
    while raw:  # cut into random tokens
        options = [i for i in {raw[0], *range(256, 320)} if raw.startswith(known[i])]
        ids.append(data.draw(st.sampled_from(sorted(options))))
        raw = raw[len(known[ids[-1]]) :]
    expected = cut(plain(byte_tokenizer, ids), stops)
    detokenizer, shown = Detokenizer(byte_tokenizer, stops), ""
    for count, token_id in enumerate(ids, 1):
        shown += detokenizer.push(token_id)
        assert expected[0].startswith(shown)
        if detokenizer.stop_reason is None:
            # No more is held back than could become a stop string.
            whole = b"".join(known[i] for i in ids[:count])
            whole = whole.decode(errors="replace") if not ends_within(whole) else None
            if whole is not None:
                held = whole.removeprefix(shown)
                assert shown + held == whole
                assert held == "" or any(stop.startswith(held) for stop in stops)
    shown += detokenizer.finish()
    assert (shown, detokenizer.stop_reason) == expected


def ends_within(raw):
    """Whether bytes could go on in the middle of a character."""
    return any(
        raw[len(raw) - size :].startswith(bytes([lead])) and size < length
        for size in range(1, 4)
        for length, leads in ((2, range(0xC2, 0xE0)), (3, range(0xE0, 0xF0)), (4, range(0xF0, 0xF5)))
        for lead in leads
    )


def test_real_text_with_stop_strings_that_span_tokens(tokenizer):
    rng = random.Random(1)
    text = topics["assert"] + TEXTS[1] + TEXTS[2] + topics["while"]
    ids = tokenizer.encode(text)
    spanning = 0
    for _ in range(200):
        begin = rng.randrange(len(text) - 12)
        stops = [text[begin : begin + rng.randint(1, 12)], text[begin + 2 : begin + 7], "never in it"]
        parts, reason = streamed(tokenizer, ids, stops)
        assert ("".join(parts), reason) == cut(text, stops)
        spanning += len(tokenizer.encode(reason)) > 1
    assert spanning > 100


def test_text_that_could_begin_a_stop_string_waits_and_comes_when_it_does_not(byte_tokenizer):
    detokenizer = Detokenizer(byte_tokenizer, ["aab"])
    assert [detokenizer.push(ord(c)) for c in "xaaac"] == ["x", "", "", "a", "aac"]
    assert [detokenizer.push(ord(c)) for c in "aa"] == ["", ""]
    assert detokenizer.finish() == "aa"
    assert detokenizer.finish() == ""


def test_nothing_comes_after_a_stop_string(byte_tokenizer):
    detokenizer = Detokenizer(byte_tokenizer, ["b"])
    assert [detokenizer.push(ord(c)) for c in "abc"] == ["a", "", ""]
    assert (detokenizer.finish(), detokenizer.stop_reason) == ("", "b")


def test_special_tokens_are_left_out_unless_asked_for(byte_tokenizer):
    first, second = "é".encode()
    assert "".join(streamed(byte_tokenizer, [first, 320, second, 320])[0]) == "é"
    detokenizer = Detokenizer(byte_tokenizer, ["<|end|>"], skip_special_tokens=False)
    assert [detokenizer.push(ord("a")), detokenizer.push(320)] == ["a", ""]
    assert detokenizer.stop_reason == "<|end|>"


def test_wrong_arguments_are_refused(byte_tokenizer):
    with pytest.raises(ValueError, match="stop string is empty"):
        Detokenizer(byte_tokenizer, ["a", ""])
    for bad in (-1, 321):
        with pytest.raises(ValueError, match="from 0 to 320"):
            Detokenizer(byte_tokenizer).push(bad)
