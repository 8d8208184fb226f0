"""From a JSON Schema to the language of the documents that satisfy it, for constrained decoding.

Of JSON Schema (draft 2020-12): type (one or several), properties, required, additionalProperties, prefixItems, items,
minItems, maxItems, minLength, maxLength, pattern and format (see `patterns`), minimum, maximum, exclusiveMinimum,
exclusiveMaximum, enum, const, anyOf, $ref within the document, true and false; title, description and the like are
ignored. Any other keyword is an error, never ignored: the output would not satisfy the schema.

The language is a part of what the schema allows, so that a model can't go astray, and every document of it parses:
- properties come in the order in which the schema names them, as in XGrammar and OpenAI's structured outputs;
- an object has no properties but those named, unless additionalProperties is true or a schema and none are named;
- names, constants and enumerated values are spelled as `json.dumps` does, with and without `ensure_ascii`;
- whole numbers have up to 18 digits, fractions 17 more, exponents 2 (and none where a number has bounds);
- a string's escapes never name half a character;
- arrays and objects nest to `max_depth`, and at most `max_whitespace` characters of space stand between two signs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import chain
from math import ceil, floor
from urllib.parse import unquote

from sysai.serving.structured_output.grammar import (
    EMPTY,
    NEVER,
    Expression,
    byte_set,
    concat,
    literal,
    optional,
    repeat,
    union,
)
from sysai.serving.structured_output.number_ranges import MAX_DIGITS, integers, numbers
from sysai.serving.structured_output.patterns import FORMATS, compile_pattern

ALL_BYTES = frozenset(range(256))
MAX_PROPERTIES = 200  # of one object
_ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
_ANNOTATIONS |= {"$schema", "$id", "$comment", "$defs", "definitions"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"prefixItems", "items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": _BOUNDS,
    "number": _BOUNDS,
    "boolean": set(),
    "null": set(),
}


def compile_json_schema(
    schema: str | Mapping | bool,
    alphabet: frozenset[int] = ALL_BYTES,
    *,
    max_depth: int = 16,
    max_whitespace: int = 32,
) -> Expression:
    """Compile a schema to the language of its documents.

    Args:
        schema: its JSON text, or what that text parses to.
        alphabet: bytes that can be written; documents that need others are left out.
        max_depth: arrays and objects within each other.
        max_whitespace: characters of space between two signs.

    Raises:
        ValueError: no JSON, a keyword or a combination that is not supported (the message says where), or no document
            that satisfies the schema.
    """
    try:
        parsed = json.loads(schema) if isinstance(schema, str) else schema
        language = _Compiler(parsed, alphabet, max_whitespace).schema(parsed, max_depth, "#")
    except RecursionError:
        raise ValueError("the schema is nested too deeply: write it with fewer levels") from None
    if language is NEVER:
        raise ValueError(f"no document satisfies the schema with at most {max_depth} arrays and objects nested")
    return language


class _Compiler:
    """One schema on its way to a language. `depth` is how many arrays and objects may still be opened."""

    def __init__(self, root: object, alphabet: frozenset[int], max_whitespace: int) -> None:
        self.root, self.alphabet = root, alphabet
        self.space = repeat(self.bytes(b" \t\n\r"), 0, max_whitespace)
        self._compiled: dict[tuple[int, int], Expression | None] = {}  # None while in the making

    def schema(self, schema: object, depth: int, path: str) -> Expression:
        key = (id(schema), depth) if isinstance(schema, Mapping) else (bool(schema), depth)
        if key not in self._compiled:
            self._compiled[key] = None
            self._compiled[key] = self._schema(schema, depth, path)
        if self._compiled[key] is None:
            raise ValueError(f"{path} refers to itself with no array or object in between: it has no end")
        return self._compiled[key]

    def _schema(self, schema: object, depth: int, path: str) -> Expression:
        if isinstance(schema, bool):
            return self.anything(depth) if schema else NEVER
        if not isinstance(schema, Mapping):
            raise ValueError(f"{path}: a schema is an object, true or false, not {schema!r}")
        used = set(schema) - _ANNOTATIONS
        for keyword, make in (("$ref", self.reference), ("anyOf", self.any_of)):
            if keyword in used:
                self.only(used, {keyword}, path)
                return make(schema[keyword], depth, path)
        kinds = self.kinds(schema.get("type", list(_KEYWORDS)), path)
        if "enum" in used or "const" in used:
            self.only(used, {"type", "enum"} if "enum" in used else {"type", "const"}, path)
            return self.values(schema["enum"] if "enum" in used else [schema["const"]], kinds, path)
        if "type" not in used:
            self.only(used, set(), path)
            return self.anything(depth)
        self.only(used, {"type"}.union(*(_KEYWORDS[kind] for kind in kinds)), path)
        return union(*(self.kind(kind, schema, depth, path) for kind in kinds))

    def only(self, used: set[str], allowed: set[str], path: str) -> None:
        if used - allowed:
            beside = f" beside {', '.join(sorted(used & allowed))}" if used & allowed else ""
            raise ValueError(f"{path}: {', '.join(sorted(used - allowed))} is not supported{beside}")

    def kinds(self, kinds: object, path: str) -> list[str]:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not isinstance(kinds, list) or not kinds or not all(isinstance(k, str) and k in _KEYWORDS for k in kinds):
            raise ValueError(f"{path}: type must be of {', '.join(_KEYWORDS)}, not {kinds!r}")
        return kinds

    def kind(self, kind: str, schema: Mapping, depth: int, path: str) -> Expression:
        match kind:
            case "object":
                return self.object(schema, depth, path)
            case "array":
                return self.array(schema, depth, path)
            case "string":
                return self.text_of(schema, path)
            case "integer" | "number":
                return self.number_of(kind, schema, path)
            case "boolean":
                return union(self.text(b"true"), self.text(b"false"))
        return self.text(b"null")

    def reference(self, target: object, depth: int, path: str) -> Expression:
        if not isinstance(target, str) or not (target == "#" or target.startswith("#/")):
            raise ValueError(f"{path}: $ref must point into the same document (#/$defs/...), not {target!r}")
        pointed_at = self.root
        for step in target.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")  # RFC 6901, section 6
            if not isinstance(pointed_at, Mapping) or step not in pointed_at:
                raise ValueError(f"{path}: $ref {target!r} points to nothing")
            pointed_at = pointed_at[step]
        return self.schema(pointed_at, depth, target)

    def any_of(self, options: object, depth: int, path: str) -> Expression:
        if not isinstance(options, list) or not options:
            raise ValueError(f"{path}: anyOf must be a list of schemas, not {options!r}")
        return union(*(self.schema(option, depth, f"{path}/anyOf/{i}") for i, option in enumerate(options)))

    def values(self, values: object, kinds: Sequence[str], path: str) -> Expression:
        if not isinstance(values, list) or not values:
            raise ValueError(f"{path}: enum must be a list of values, not {values!r}")
        return union(*(self.constant(value, path) for value in values if not _kinds_of(value).isdisjoint(kinds)))

    def constant(self, value: object, path: str) -> Expression:
        """The language of this value alone; space may stand between its signs."""
        match value:
            case dict():
                members = [
                    concat(self.constant(k, path), self.sign(b":"), self.constant(v, path)) for k, v in value.items()
                ]
                return self.between(b"{", members, b"}")
            case list():
                return self.between(b"[", [self.constant(item, path) for item in value], b"]")
        try:
            plain = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # NaN, infinity, half a surrogate pair
            raise ValueError(f"{path}: {value!r} can't be written as JSON in UTF-8 ({error})") from None
        return union(self.text(plain), self.text(json.dumps(value).encode()))

    def between(self, begin: bytes, items: Sequence[Expression], end: bytes) -> Expression:
        spaced = [expression for item in items for expression in (self.sign(b","), item)][1:]
        return concat(self.text(begin), self.space, *spaced, self.space if items else EMPTY, self.text(end))

    def limits(self, schema: Mapping, least: str, most: str, path: str) -> tuple[int, int | None]:
        low, high = schema.get(least, 0), schema.get(most)
        for name, value in ((least, low), (most, high)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise ValueError(f"{path}: {name} must be a whole number of at least 0, not {value!r}")
        return low, high

    def object(self, schema: Mapping, depth: int, path: str) -> Expression:
        """An object of named properties, in order; a property that is not required may be left out."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or len(properties) > MAX_PROPERTIES:
            raise ValueError(f"{path}: properties must be an object of at most {MAX_PROPERTIES} schemas")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise ValueError(f"{path}: required must be a list of names, not {required!r}")
        others = schema.get("additionalProperties", False)
        if others is not False:
            if properties or required:
                message = f"{path}: additionalProperties is not supported beside properties or required"
                raise ValueError(f"{message}, unless it is false")
            return self.free_object(others, depth, f"{path}/additionalProperties")
        if not set(required) <= set(properties):
            raise ValueError(f"{path}: required names {sorted(set(required) - set(properties))} are no properties")
        if depth == 0:
            return NEVER
        openings, rest = [], concat(self.space, self.text(b"}"))  # of the members that may be the first
        for name in reversed(properties):
            value = self.schema(properties[name], depth - 1, f"{path}/properties/{name}")
            member = concat(self.constant(name, path), self.sign(b":"), value)
            opening, following = concat(member, rest), concat(self.sign(b","), member)
            openings = [opening] if name in required else [*openings, opening]
            rest = concat(following if name in required else optional(following), rest)
        if not required:
            openings.append(self.text(b"}"))
        return concat(self.text(b"{"), self.space, union(*openings))

    def free_object(self, value: object, depth: int, path: str) -> Expression:
        """An object of any names, whose values satisfy the schema `value`."""
        if depth == 0:
            return NEVER
        member = concat(self.string(), self.sign(b":"), self.schema(value, depth - 1, path))
        return self.list_of(b"{", member, b"}")

    def array(self, schema: Mapping, depth: int, path: str) -> Expression:
        """An array: the first items by `prefixItems`, each by its own schema, the others by `items`."""
        low, high = self.limits(schema, "minItems", "maxItems", path)
        prefix = schema.get("prefixItems", [])
        if not isinstance(prefix, list):
            raise ValueError(f"{path}: prefixItems must be a list of schemas, not {prefix!r}")
        if depth == 0:
            return NEVER
        item = self.schema(schema.get("items", True), depth - 1, f"{path}/items")
        if not prefix:
            return self.list_of(b"[", item, b"]", low, high)
        first = [self.schema(one, depth - 1, f"{path}/prefixItems/{i}") for i, one in enumerate(prefix)][:high]
        n = len(first)
        rest = repeat(concat(self.sign(b","), item), max(low - n, 0), None if high is None else high - n)
        for i in range(n - 1, 0, -1):
            rest = concat(self.sign(b","), first[i], rest)
            rest = optional(rest) if i >= low else rest
        some = concat(first[0], rest, self.space, self.text(b"]")) if first else NEVER
        return concat(self.text(b"["), self.space, union(some, self.text(b"]") if low == 0 else NEVER))

    def text_of(self, schema: Mapping, path: str) -> Expression:
        """A string by its length, or by a pattern or format."""
        used = [name for name in ("pattern", "format") if name in schema]
        if not used:
            return self.string(*self.limits(schema, "minLength", "maxLength", path))
        if len(used) > 1 or "minLength" in schema or "maxLength" in schema:
            raise ValueError(f"{path}: pattern, format and limits of the length are not supported beside each other")
        value = schema[used[0]]
        if not isinstance(value, str) or (used == ["format"] and value not in FORMATS):
            allowed = "a text" if used == ["pattern"] else f"one of {', '.join(FORMATS)}"
            raise ValueError(f"{path}: {used[0]} must be {allowed}, not {value!r}")
        try:
            inner = compile_pattern(FORMATS[value] if used == ["format"] else value, self.text, self.beyond_ascii)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return concat(self.text(b'"'), inner, self.text(b'"'))

    def number_of(self, kind: str, schema: Mapping, path: str) -> Expression:
        """A number, within its bounds if it has any."""
        bounds = {name: schema[name] for name in sorted(_BOUNDS) if name in schema}
        for name, value in bounds.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 10**MAX_DIGITS:
                raise ValueError(f"{path}: {name} must be a number of at most {MAX_DIGITS} digits, not {value!r}")
        if not bounds:
            return self.integer if kind == "integer" else self.number
        if not self.alphabet.issuperset(b"-.0123456789"):  # of which `number_ranges` makes its languages
            return NEVER
        exact = {name: Fraction(str(value)) for name, value in bounds.items()}
        low = max(((exact[name], name != "minimum") for name in ("minimum", "exclusiveMinimum") if name in exact),
                  default=(None, False))  # fmt: skip
        high = min(((exact[name], name == "maximum") for name in ("maximum", "exclusiveMaximum") if name in exact),
                   default=(None, True))  # fmt: skip
        if kind == "number":
            return numbers(low[0], high[0], open_low=low[1], open_high=not high[1])
        least = None if low[0] is None else floor(low[0]) + 1 if low[1] else ceil(low[0])
        most = None if high[0] is None else floor(high[0]) if high[1] else ceil(high[0]) - 1
        return integers(least, most)

    def anything(self, depth: int) -> Expression:
        """Any value, with `depth` levels of arrays and objects."""
        return union(*(self.kind(kind, {"additionalProperties": True}, depth, "") for kind in _KEYWORDS))

    def list_of(self, begin: bytes, item: Expression, end: bytes, low: int = 0, high: int | None = None) -> Expression:
        """Items between brackets, with commas."""
        more = repeat(concat(self.sign(b","), item), max(low - 1, 0), None if high is None else high - 1)
        some = concat(item, more, self.space, self.text(end)) if high != 0 else NEVER
        return concat(self.text(begin), self.space, union(some, self.text(end) if low == 0 else NEVER))

    def text(self, data: bytes) -> Expression:
        """The language of this text alone, if its bytes can be written."""
        return literal(data) if self.alphabet.issuperset(data) else NEVER

    def bytes(self, *spans: Iterable[int]) -> Expression:
        """One byte of any of the spans, of those that can be written."""
        return byte_set(self.alphabet.intersection(chain(*spans)))

    def sign(self, data: bytes) -> Expression:
        """A colon or comma, with space about it."""
        return concat(self.space, self.text(data), self.space)

    def string(self, low: int = 0, high: int | None = None) -> Expression:
        return concat(self.text(b'"'), repeat(self.character, low, high), self.text(b'"'))

    @cached_property
    def character(self) -> Expression:
        """One character within a string: as it is, in well-formed UTF-8 (Unicode 15, table 3-7), or escaped."""
        plain = self.bytes(set(range(0x20, 0x80)) - set(b'"\\'))
        hex_digit, u, d = self.bytes(b"0123456789abcdefABCDEF"), self.text(b"\\u"), self.bytes(b"dD")
        whole = union(concat(self.bytes(b"0123456789abcefABCEF"), hex_digit), concat(d, self.bytes(b"01234567")))
        pair = [d, self.bytes(b"89abAB"), hex_digit, hex_digit, u, d, self.bytes(b"cdefCDEF"), hex_digit, hex_digit]
        escaped = union(
            concat(self.text(b"\\"), self.bytes(b'"\\/bfnrt')),
            concat(u, union(concat(whole, hex_digit, hex_digit), concat(*pair))),
        )
        return union(plain, self.beyond_ascii, escaped)

    @cached_property
    def beyond_ascii(self) -> Expression:
        """One character that is not in ASCII, in well-formed UTF-8."""
        more = self.bytes(range(0x80, 0xC0))
        return union(
            concat(self.bytes(range(0xC2, 0xE0)), more),
            concat(self.bytes([0xE0]), self.bytes(range(0xA0, 0xC0)), more),
            concat(self.bytes(range(0xE1, 0xED), [0xEE, 0xEF]), more, more),
            concat(self.bytes([0xED]), self.bytes(range(0x80, 0xA0)), more),
            concat(self.bytes([0xF0]), self.bytes(range(0x90, 0xC0)), more, more),
            concat(self.bytes(range(0xF1, 0xF4)), more, more, more),
            concat(self.bytes([0xF4]), self.bytes(range(0x80, 0x90)), more, more),
        )

    @cached_property
    def integer(self) -> Expression:
        digits = concat(self.bytes(b"123456789"), repeat(self.bytes(b"0123456789"), 0, MAX_DIGITS - 1))
        return concat(optional(self.text(b"-")), union(self.text(b"0"), digits))

    @cached_property
    def number(self) -> Expression:
        digit = self.bytes(b"0123456789")
        fraction = concat(self.text(b"."), repeat(digit, 1, 17))
        exponent = concat(self.bytes(b"eE"), optional(self.bytes(b"+-")), repeat(digit, 1, 2))
        return concat(self.integer, optional(fraction), optional(exponent))


def _kinds_of(value: object) -> set[str]:
    """The types of JSON Schema that a value has."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"integer", "number"} if value.is_integer() else {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
    return {"object"}
