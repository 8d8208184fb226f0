"""Our tokenizer against transformers' (Hugging Face tokenizers, in Rust) from the same vocabulary."""

import json
import random
import sys
import unicodedata
from itertools import groupby
from pydoc_data.topics import topics

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.models.tokenizer import Tokenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PIECES = [
    *("don't", "I'LL", "we've", "  two", "12345", "3.14", "x=1", "中文，字", "हिन्दी", "עברית", "مرحبا", "ไทย"),
    *("🙂", "👩\u200d👩\u200d👧", "🇨🇳", "e\u0301", "\u200b", "\ufeff", "\t", "\n\n", " \n", "\r\n", "\x00", "\x1c"),
    *("\x85", "\u00a0", "\u2028", "\u3000", "½", "Ⅷ", "٣", " ", "   "),
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_"),
]


@pytest.fixture(scope="module")
def ours(smollm2):
    return smollm2[1]


@pytest.fixture(scope="module")
def theirs(ours):
    """Digits then ByteLevel, no unknown token, as in SmolLM2's published tokenizer.json."""
    merges = [pair for pair, _ in sorted(ours._rank_of.items(), key=lambda item: item[1])]
    fast = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(ours.tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    fast.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    fast.decoder = decoders.ByteLevel()
    special = [AddedToken(ours.tokens[i], special=True, normalized=False) for i in sorted(ours.special_ids)]
    fast.add_special_tokens(special)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, clean_up_tokenization_spaces=False)
    wrapped.chat_template = ours.chat_template
    return wrapped


def unicode_blocks():
    """A few strings of every run of assigned characters: all scripts, spaces, symbols, controls."""
    assigned = (c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs", "Co"))
    for _, run in groupby(assigned, key=lambda c: ord(c) // 128):
        text = "".join(run)
        yield from (text, " " + " ".join(text), "a" + text[::-1])


def varied_strings():
    rng = random.Random(0)
    yield from unicode_blocks()
    yield from (paragraph for text in topics.values() for paragraph in text.split("\n\n"))
    for _ in range(3000):
        yield "".join(rng.choices(PIECES, k=rng.randint(1, 8)))


def test_same_ids_and_text_as_transformers_on_varied_strings(ours, theirs):
    strings = list(dict.fromkeys(varied_strings()))
    assert len(strings) >= 5_000
    expected = theirs(strings, add_special_tokens=False)["input_ids"]
    different = [s for s, ids in zip(strings, expected, strict=True) if ours.encode(s) != ids]
    assert different == []
    decoded = theirs.batch_decode(expected)
    assert [ours.decode(ids) for ids in expected] == decoded
    assert sum(a == b for a, b in zip(strings, decoded, strict=True)) > 0.97 * len(strings)


@pytest.fixture(scope="module")
def missing(ours):
    """Bytes for which the vocabulary has no token."""
    known = {ours.token_bytes(i) for i in range(len(ours))}
    return {byte for byte in range(256) if bytes([byte]) not in known}


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from(PIECES)), max_size=6).map("".join))
def test_random_text_equals_transformers_and_decodes_back(ours, theirs, missing, text):
    ids = ours.encode(text)
    assert ids == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids)
    if missing.isdisjoint(text.encode()):
        assert ours.decode(ids) == text


def test_bytes_without_a_token_are_those_the_docstring_names(ours, missing):
    never_in_utf8 = {0xC0, 0xC1, *range(0xF5, 0x100)}
    assert missing - never_in_utf8 == {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2}
    assert ours.decode(ours.encode("a\x04b")) == "ab"


def test_digits_and_the_last_space_of_a_run_stand_alone():
    tokenizer = Tokenizer(["1", "2", "12", "Ġ", "ĠĠ", "a", "Ġa"], [("1", "2"), ("Ġ", "Ġ"), ("Ġ", "a")])
    assert tokenizer.encode("12") == [0, 1]
    assert tokenizer.encode("  a") == [3, 6]
    assert tokenizer.encode("  1") == [4, 0]


def test_decode_replaces_broken_utf8_and_refuses_unknown_ids(ours):
    first = ours.encode("🙂")[0]
    assert ours.decode([first]) == "\ufffd"
    for bad in (len(ours), -1):
        with pytest.raises(ValueError, match="0 to 49151"):
            ours.decode([bad])
    assert ours.decode([]) == ""
    assert ours.encode("") == []


@pytest.mark.parametrize("generation", [True, False])
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hello\n  there "}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    ],
)
def test_chat_template_equals_that_of_transformers(ours, theirs, messages, generation):
    expected = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    assert ours.apply_chat_template(messages, add_generation_prompt=generation) == expected


def test_from_json_reads_what_tokenizers_saves(ours, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|im_end|>", "chat_template": ours.chat_template})
    )
    read = Tokenizer.from_json(tmp_path / "tokenizer.json")
    text = "don't <|im_end|> 123 你好 🙂"
    assert read.encode(text) == ours.encode(text)
    assert (read.tokens, read.special_ids, read.eos_id) == (ours.tokens, ours.special_ids, ours.eos_id)
    assert read.apply_chat_template([{"role": "user", "content": "x"}])


def test_other_kinds_of_tokenizers_are_refused(tmp_path, theirs):
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    data = json.loads(path.read_text())
    data["pre_tokenizer"] = {"type": "Metaspace"}
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="Metaspace"):
        Tokenizer.from_json(path)
    with pytest.raises(ValueError, match="'llama-bpe' is unknown"):
        Tokenizer(["a"], [], pre_tokenizer="llama-bpe")


def test_without_a_template_a_conversation_is_refused():
    with pytest.raises(ValueError, match="no chat template"):
        Tokenizer(["a"], []).apply_chat_template([])


def test_a_megabyte_takes_seconds_not_minutes(ours):
    text = "\n".join(topics.values())
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    assert len(text) / len(ids) > 3  # characters a token: the merges are used
