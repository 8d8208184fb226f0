"""Random JSON schemas of the supported kind, with documents that satisfy them."""

import json

from hypothesis import strategies as st

NAMES = ["a", "b", "name", 'quo"te', "中文", "back\\slash", ""]
CHARACTERS = st.one_of(st.sampled_from('ab"\\/\n\x7f é中🙂'), st.characters(exclude_categories=["Cs"]))
LETTERS = st.text(CHARACTERS, max_size=6)
INTEGERS = st.integers(-(10**18) + 1, 10**18 - 1)
NUMBERS = st.one_of(INTEGERS, st.floats(-1e15, 1e15).map(lambda x: round(x, 3)), st.sampled_from([0.5, -1e-7, 2e22]))
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, NUMBERS, LETTERS)
ANYTHING = st.recursive(
    SCALARS, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(LETTERS, v, max_size=3)), max_leaves=6
)


def _simple():
    string = st.fixed_dictionaries(
        {"type": st.just("string")}, optional={"minLength": st.integers(0, 2), "maxLength": st.integers(2, 6)}
    )
    plain = st.sampled_from(["integer", "number", "boolean", "null"]).map(lambda kind: {"type": kind})
    several = st.lists(st.sampled_from(["integer", "number", "boolean", "null", "string"]), min_size=1, unique=True)
    values = st.lists(st.one_of(SCALARS, st.just({"k": [1, "x y"]})), min_size=1, max_size=4)
    return st.one_of(
        string,
        plain,
        several.map(lambda kinds: {"type": kinds, "description": "one of several"}),
        values.map(lambda some: {"enum": some}),
        SCALARS.map(lambda value: {"const": value}),
        st.sampled_from([True, {}, {"type": "object", "additionalProperties": True}, {"type": "array"}]),
    )


def _compound(schemas):
    properties = st.lists(st.sampled_from(NAMES), unique=True, max_size=4).flatmap(
        lambda names: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.fixed_dictionaries(dict.fromkeys(names, schemas)),
                "required": st.lists(st.sampled_from(names), unique=True) if names else st.just([]),
                "additionalProperties": st.just(False),
            }
        )
    )
    array = st.fixed_dictionaries(
        {"type": st.just("array"), "items": schemas},
        optional={"minItems": st.integers(0, 2), "maxItems": st.integers(2, 4)},
    )
    any_of = st.lists(schemas, min_size=1, max_size=3).map(lambda options: {"anyOf": options, "title": "x"})
    return st.one_of(properties, array, any_of)


SCHEMAS = st.recursive(_simple(), _compound, max_leaves=6)


def documents(schema):
    """Values that satisfy a schema, properties in its order."""
    if schema is True or schema == {}:
        return ANYTHING
    if "anyOf" in schema:
        return st.one_of([documents(option) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if isinstance(schema["type"], list):
        return st.one_of([documents({**schema, "type": kind}) for kind in schema["type"]])
    match schema["type"]:
        case "object" if schema["additionalProperties"]:
            return st.dictionaries(LETTERS, ANYTHING, max_size=3)
        case "object":
            absent = [name for name in schema["properties"] if name not in schema["required"]]
            return st.tuples(
                st.fixed_dictionaries({name: documents(value) for name, value in schema["properties"].items()}),
                st.sets(st.sampled_from(absent)) if absent else st.just(set()),
            ).map(lambda made: {name: made[0][name] for name in schema["properties"] if name not in made[1]})
        case "array":
            low, high = schema.get("minItems", 0), schema.get("maxItems", 4)
            return st.lists(documents(schema.get("items", True)), min_size=low, max_size=high)
        case "string":
            low, high = schema.get("minLength", 0), schema.get("maxLength", 12)
            return st.text(CHARACTERS, min_size=low, max_size=high)
        case "integer":
            return INTEGERS
        case "number":
            return NUMBERS
        case "boolean":
            return st.booleans()
    return st.none()


def spellings(value):
    """Ways to write a value that differ in space and escapes."""
    return [
        json.dumps(value, separators=(",", ": ")),
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        json.dumps(value, ensure_ascii=False),
        json.dumps(value, ensure_ascii=False, indent=2),
    ]
