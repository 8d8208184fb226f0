"""The language of a schema: it has the schema's documents, and only those. jsonschema is the judge."""

import itertools
import json
import random
import re

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_schemas import ANYTHING, SCHEMAS, documents, spellings
from sysai.serving.structured_output.grammar import NEVER
from sysai.serving.structured_output.json_schema import ALL_BYTES, compile_json_schema


def accepts(language, text):
    return language.follow(text.encode()).nullable


def is_valid(value, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def random_document(language, rng, ending):
    """A walk over bytes; from `ending` bytes on it ends where it can, and prefers bytes that close."""
    written = bytearray()
    while True:
        if language.nullable and (not language.first or len(written) > ending or rng.random() < 0.3):
            return bytes(written)
        options = sorted(language.first)
        closing = [byte for byte in b'"]}' if byte in language.first]
        byte = closing[0] if closing and (len(written) > ending or rng.random() < 0.2) else rng.choice(options)
        written.append(byte)
        language = language.derivative(byte)
        assert language is not NEVER
        assert len(written) < 3000


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_documents_that_satisfy_the_schema_are_in_the_language(data):
    schema = data.draw(SCHEMAS)
    language = compile_json_schema(json.dumps(schema))
    for _ in range(3):
        document = data.draw(documents(schema))
        assert is_valid(document, schema)
        for text in spellings(document):
            assert accepts(language, text), text


@settings(max_examples=80, deadline=None)
@given(SCHEMAS, st.integers(0, 2**32))
def test_what_is_in_the_language_parses_and_satisfies_the_schema(schema, seed):
    language = compile_json_schema(schema)
    rng = random.Random(seed)
    for ending in (0, 30, 100):
        document = json.loads(random_document(language, rng, ending))
        jsonschema.validate(document, schema, jsonschema.Draft202012Validator)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_other_documents_are_in_the_language_only_if_they_satisfy_the_schema(data):
    schema, other = data.draw(SCHEMAS), data.draw(SCHEMAS)
    language = compile_json_schema(schema)
    for document in (data.draw(ANYTHING), data.draw(documents(other))):
        for text in spellings(document):
            assert not accepts(language, text) or is_valid(document, schema), text
    text = data.draw(st.sampled_from(spellings(data.draw(documents(schema)))))
    place = data.draw(st.integers(0, len(text)))
    edit = data.draw(st.text(st.sampled_from('{}[]",:\\01e.- tnu'), max_size=2))
    text = text[:place] + edit + text[place + data.draw(st.integers(0, 2)) :]
    if accepts(language, text):
        assert is_valid(json.loads(text), schema), text


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (PERSON, ['{"name":"","age":-3}', '{ "name" : "x", "age": 0,\n"note":"" }'], ['{"name":""}']),
        (PERSON, [], ['{"age":1,"name":""}', '{"name":"","age":1,"name":""}']),
        (PERSON, [], ['{"name":"x","age":01}', '{"name":"x","age":1,}', '{"name":"x","age":1.0}', "{}", ""]),
        ({"type": "string", "maxLength": 1}, ['""', r'"\n"', r'"\u00e9"', r'"\uD83d\uDE00"'], ['"ab"', '"🙂a"']),
        ({"type": "string"}, ['"\x7f"'], ['"\n"', r'"\ud83d"', r'"\ude00\ud83d"', r'"\x"', '"', '"a"b"', r'"\u12g4"']),
        ({"type": "number"}, ["-0", "1.5e-7", "0.25", "1E+9"], ["+1", ".5", "1.", "00", "1e", "NaN", "-", "1e100"]),
        ({"type": "integer"}, ["9" * 18, "-" + "9" * 18], ["9" * 19, "1e1", "-", ""]),
        ({"type": ["integer", "null"]}, ["null", "7"], ["true", "nul", "7.5"]),
        ({"enum": [1, "1", None]}, ["1", '"1"', "null"], ["true", "1.0"]),
        ({"type": "string", "enum": [1, "1"]}, ['"1"'], ["1"]),
        ({"const": "é\n"}, ['"é\\n"', r'"\u00e9\n"'], ['"\\u00E9\\n"', '"é"', '"é\n"']),
        ({"const": {"a": [1, 2]}}, ['{"a":[1,2]}', '{ "a": [ 1, 2 ] }'], ['{"a":[2,1]}', '{"a":[1,2],}', "[]"]),
        ({"type": "array", "minItems": 1, "maxItems": 2}, ["[1]", '[1 , "a"]'], ["[]", "[1,2,3]", "[1,]"]),
        ({"type": "array", "items": False}, ["[]"], ["[1]"]),
        ({"type": "object"}, ["{}", "{ }"], ['{"a":1}']),
        ({"type": "object", "additionalProperties": True}, ["{}", '{"a":{"b":[]}}'], ["[]", '{"a"}']),
    ],
)  # fmt: skip
def test_examples(schema, good, bad):
    language = compile_json_schema(schema)
    assert [text for text in good if not accepts(language, text)] == []
    assert [text for text in bad if accepts(language, text)] == []


TREE = {
    "$defs": {"tree/x": {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"$ref": "#/$defs/list"}}},
              "list": {"type": "array", "items": {"$ref": "#/$defs/tree~1x"}}},
    "$ref": "#/$defs/tree~1x",
}  # fmt: skip


def test_recursion_goes_to_the_depth_allowed_and_leaves_no_dead_ends():
    def tree(levels):
        return {"v": 1, "kids": [tree(levels - 1)]} if levels > 1 else {"v": 1}

    language = compile_json_schema(TREE, max_depth=5)
    for levels, expected in [(1, True), (3, True), (4, False)]:
        assert is_valid(tree(levels), TREE)
        assert accepts(language, json.dumps(tree(levels))) == expected
    rng = random.Random(0)
    texts = [random_document(language, rng, 60) for _ in range(50)]
    assert all(is_valid(json.loads(text), TREE) for text in texts)
    assert max(text.count(b"kids") for text in texts) > 2


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_nesting_of_any_value_ends_at_the_limit(depth):
    language = compile_json_schema(True, max_depth=depth)
    for open_, close in ("[]", ('{"a":', "}")):
        assert accepts(language, open_ * depth + "0" + close * depth)
        assert not accepts(language, open_ * (depth + 1) + "0" + close * (depth + 1))


def test_a_character_is_well_formed_utf8_and_nothing_else():
    language = compile_json_schema({"type": "string", "maxLength": 1, "minLength": 1})
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]
    leads = [0x1F, 0x20, 0x7F, 0x80, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, *range(0xF0, 0x100)]
    for length in range(1, 5):
        for raw in map(bytes, itertools.product(leads, *[edges] * (length - 1))):
            try:
                expected = len(raw.decode()) == 1 and raw >= b" "
            except UnicodeDecodeError:
                expected = False
            assert language.follow(b'"' + raw + b'"').nullable == expected, raw


def test_space_ends_at_the_limit():
    language = compile_json_schema({"type": "array"}, max_whitespace=2)
    assert accepts(language, "[ \n1\t\t,2]")
    assert not accepts(language, "[   1]")
    assert not accepts(compile_json_schema({"type": "array"}, max_whitespace=0), "[ ]")


def test_bytes_that_can_not_be_written_are_left_out():
    schema = {"type": "object", "properties": {"é": {"type": "null"}, "s": {"enum": ["ü", "u"]}}, "required": ["s"]}
    language = compile_json_schema(schema, ALL_BYTES - {0xC3})
    for text in ('{"é":null,"s":"u"}', '{"s":"ü"}'):
        assert language.follow(text.encode()) is NEVER
        assert accepts(compile_json_schema(schema), text)
        assert accepts(language, text.replace("é", r"\u00e9").replace("ü", r"\u00fc"))
    with pytest.raises(ValueError, match="no document satisfies"):
        compile_json_schema({"const": "ü"}, ALL_BYTES - set(b"\xc3\\"))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "contentEncoding": "base64"}, "#: contentEncoding is not supported beside type"),
        ({"properties": {"a": {"type": "integer", "multipleOf": 2}}, "type": "object"}, "multipleOf is not"),
        ({"type": "array", "items": {"format": "date"}}, "#/items: format is not supported"),
        ({"type": "integer", "maxLength": 3}, "maxLength is not supported beside type"),
        ({"properties": {}}, "properties is not supported"),
        ({"anyOf": [{"type": "null"}], "type": "null"}, "type is not supported beside anyOf"),
        ({"enum": ["a"], "maxLength": 2}, "maxLength is not supported beside enum"),
        ({"oneOf": []}, "oneOf"),
        ({"type": "text"}, "type must be of"),
        ({"type": []}, "type must be of"),
        ({"enum": []}, "enum must be a list"),
        ({"anyOf": {}}, "anyOf must be a list"),
        ({"anyOf": [3]}, "#/anyOf/0: a schema is an object"),
        ({"type": "string", "minLength": -1}, "minLength must be a whole number"),
        ({"type": "array", "maxItems": True}, "maxItems must be a whole number"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "no document satisfies"),
        ({"type": "array", "items": False, "minItems": 1}, "no document satisfies"),
        ({"type": "object", "required": ["a"]}, r"\['a'\] are no properties"),
        ({"type": "object", "required": "a"}, "required must be a list"),
        ({"type": "object", "properties": []}, "properties must be an object"),
        ({"type": "object", "properties": {str(i): True for i in range(201)}}, "at most 200"),
        ({"type": "object", "additionalProperties": True, "properties": {"a": True}}, "beside properties"),
        ({"$ref": "#"}, "# refers to itself"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "refers to itself"),
        ({"$ref": "#/$defs/x"}, "points to nothing"),
        ({"$ref": "other.json"}, "same document"),
        ({"$ref": {}}, "same document"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no document satisfies"),
        ({"const": float("nan")}, "can't be written"),
        ({"const": "\ud800"}, "can't be written"),
        (False, "no document satisfies"),
        ([], "a schema is an object"),
        ("{", "Expecting"),
        ("[" * 100_000, "nested too deeply"),
        ('{"anyOf":[' * 5_000 + "true" + "]}" * 5_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_with_its_place(schema, message):
    with pytest.raises(ValueError, match=message):
        compile_json_schema(schema)


def test_many_optional_properties_are_linear_to_compile_and_to_follow():
    names = [f"p{i}" for i in range(200)]
    language = compile_json_schema({"type": "object", "properties": {name: {"type": "null"} for name in names}})
    for chosen in (names, names[::7], names[-1:], []):
        assert accepts(language, json.dumps(dict.fromkeys(chosen)))
    assert not accepts(language, json.dumps(dict.fromkeys(reversed(names))))


def judged(schema, text):
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(json.loads(text))


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "object", "additionalProperties": {"type": "integer"}}, ["{}", '{"a":1, "b":-2}'], ['{"a":"x"}']),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
         ['[1,"x"]', '[ 1 , "" ]'], ["[]", "[1]", '["x",1]', '[1,"x",2]']),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": {"type": "boolean"}},
         ["[]", "[1]", "[1,null]", "[1,null,true,false]"], ["[null]", "[1,true]", "[1,null,1]"]),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, ["[]", "[1]"], ["[1,1]"]),
        ({"type": "array", "prefixItems": [True, True], "maxItems": 1}, ["[]", "[1]"], ["[1,1]"]),
        ({"type": "array", "prefixItems": [{"type": "null"}], "items": {"enum": [1, 2, 3]}, "minItems": 3}
         | {"maxItems": 4},
         ["[null,1,2]", "[null,1,2,3]"], ["[null]", "[null,1]", "[null,1,2,3,4]"]),
        ({"type": "integer", "minimum": 0, "maximum": 120}, ["0", "9", "99", "120"], ["-1", "121", "007", "1000"]),
        ({"type": "integer", "exclusiveMinimum": -12, "maximum": 7}, ["-11", "-1", "0", "7"], ["-12", "8", "10"]),
        ({"type": "integer", "minimum": 1}, ["1", "9" * 18], ["0", "-1"]),
        ({"type": "integer", "minimum": 0.5, "maximum": 2.5}, ["1", "2"], ["0", "3"]),
        ({"type": "number", "minimum": 0, "maximum": 1}, ["0", "1", "0.5", "0.125", "0.999999"], ["1.5", "-0.1", "2"]),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, ["0.5", "0.01"], ["0", "1", "1.0", "0.0"]),
        ({"type": "number", "minimum": -1.5, "maximum": 0.25}, ["-1.5", "-1.49", "0", "0.25"], ["-1.51", "0.26", "-2"]),
        ({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}, ['"AB-7"', '"ZZ-123"'], ['"AB-"', '"A-1"', '"AB-1 "']),
        ({"type": "string", "pattern": "^(a|bc)?[^x-z ]$"}, ['"é"', '"a\\""', '"bcq"'], ['"ax"', '"a "', '"bc"']),
        ({"type": "string", "pattern": "^a$|^b.$"}, ['"a"', '"bé"'], ['"b"', '"aa"']),
        ({"type": "string", "format": "date"}, ['"2026-02-28"', '"2026-12-31"'], ['"2026-02-30"', '"2026-13-01"']),
        ({"type": "string", "format": "date-time"}, ['"2026-04-30T23:59:59Z"', '"2026-04-30T00:00:00.5+08:00"'],
         ['"2026-04-30"', '"2026-04-31T00:00:00Z"']),
        ({"type": "string", "format": "time"}, ['"23:59:59Z"'], ['"24:00:00Z"']),
        ({"type": "string", "format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], ['"123e4567"']),
        ({"type": "string", "format": "email"}, ['"a.b+c@example.org"'], ['"a@b"', '"@example.org"', '"a b@c.de"']),
        ({"type": "string", "format": "ipv4"}, ['"192.168.0.255"'], ['"192.168.0.256"', '"1.2.3"', '"01.2.3.4"']),
        ({"type": "string", "format": "uri"}, ['"https://example.org/a/b"'], ['"example"', '"https://"']),
    ],
)  # fmt: skip
def test_examples_of_ranges_patterns_formats_and_tuples(schema, good, bad):
    language = compile_json_schema(schema)
    assert [text for text in good if not accepts(language, text)] == []
    assert [text for text in bad if accepts(language, text)] == []
    assert all(judged(schema, text) for text in good)
    rng = random.Random(0)
    assert all(judged(schema, random_document(language, rng, ending)) for ending in (0, 5, 30) for _ in range(20))


BOUND = st.one_of(st.integers(-1200, 1200), st.integers(-3000, 3000).map(lambda n: n / 100))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["integer", "number"]),
    st.dictionaries(st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), BOUND, min_size=1),
    st.lists(st.integers(-13000, 13000), max_size=40),
    st.integers(0, 2**32),
)
def test_numbers_within_bounds_are_in_the_language_and_no_others(kind, bounds, hundredths, seed):
    schema = {"type": kind} | bounds
    try:
        language = compile_json_schema(schema)
    except ValueError:  # none, or none that differs from an excluded bound by more than the places written
        language = NEVER
    for n in hundredths:
        text = str(n // 10) if kind == "integer" else json.dumps(n / 100)
        assert accepts(language, text) == is_valid(json.loads(text), schema), text
    if language is not NEVER:
        rng = random.Random(seed)
        for ending in (0, 2, 20):
            document = random_document(language, rng, ending).decode()
            assert is_valid(json.loads(document), schema), document


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "pattern": "(?=a)"}, "of the groups with"),
        ({"type": "string", "pattern": "a(b"}, "a group has no end"),
        ({"type": "string", "pattern": "(a$|b)"}, r"\$ is not supported there"),
        ({"type": "string", "pattern": "a)b"}, r"a \) without"),
        ({"type": "string", "pattern": "[b-a]"}, "wrong order"),
        ({"type": "string", "pattern": "*"}, r"\* is not supported there"),
        ({"type": "string", "pattern": "a^b"}, "is not supported there"),
        ({"type": "string", "pattern": "\\"}, "ends too early"),
        ({"type": "string", "pattern": r"\b"}, "is not supported"),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "beside each other"),
        ({"type": "string", "format": "iri"}, "format must be one of date, "),
        ({"type": "integer", "minimum": "1"}, "minimum must be a number"),
        ({"type": "array", "prefixItems": {}}, "prefixItems must be a list"),
    ],
)
def test_what_is_not_regular_or_wrong_is_refused(schema, message):
    with pytest.raises(ValueError, match=message):
        compile_json_schema(schema)


def test_a_reference_may_be_percent_encoded():
    schema = {"$defs": {"a b/c": {"type": "null"}}, "$ref": "#/$defs/a%20b~1c"}
    assert accepts(compile_json_schema(schema), "null")


def test_a_pattern_without_anchors_may_stand_anywhere():
    language = compile_json_schema({"type": "string", "pattern": "b+[^\\s]"})
    assert all(accepts(language, json.dumps(text)) for text in ("bc", 'a"bba', "bb\n", "\\bc"))
    assert accepts(language, '"é🙂abba"')
    assert not any(accepts(language, json.dumps(text)) for text in ("", "b", "ab ", "ac", "b\n"))


def test_a_bounded_number_is_of_bytes_that_the_vocabulary_has():
    with pytest.raises(ValueError, match="no document"):
        compile_json_schema({"type": "integer", "minimum": 7, "maximum": 7}, frozenset(range(256)) - frozenset(b"7"))


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "."]),
    lambda inner: st.one_of(
        st.builds("({}|{})".format, inner, inner),
        st.builds("{}{}".format, inner, inner),
        st.builds("({}){}".format, inner, st.sampled_from(["?", "*", "+", "{0,2}", "{2}", "{2,}", "*?"])),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(PATTERNS)
def test_random_patterns_have_the_strings_that_pythons_own_have(pattern):
    """Repetitions of what may be empty among them."""
    language = compile_json_schema({"type": "string", "pattern": f"^{pattern}$"})
    for length in range(5):
        for text in map("".join, itertools.product("ab", repeat=length)):
            assert accepts(language, f'"{text}"') == bool(re.fullmatch(pattern, text)), text
