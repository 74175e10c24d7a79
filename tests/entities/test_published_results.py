"""What is stored of analyses, against the published schema package: every field that its readers need is there, and of a fitting type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dyff.schema import platform

from dyff.entities import analyses, registry

SHIPPED = json.loads((Path(platform.__file__).parent / "jsonschema" / "dyff.json").read_text())["definitions"]
"""The definitions that the package has as a file."""


def shipped(name: str) -> dict[str, Any]:
    """A definition of that file with all that it refers to."""
    return {**SHIPPED[f"dyff__schema__v0__r1__platform__{name}"], "$defs": SHIPPED}


def made(model: Any) -> dict[str, Any]:
    """The definition of a model that the file does not have."""
    schema: dict[str, Any] = model.model_json_schema(by_alias=True, mode="serialization")
    return schema


KINDS = ("Measurement", "SafetyCase", "Report", "Method", "Module", "Family", "UseCase")
CASES: list[tuple[Any, dict[str, Any]]] = [
    *((registry.BY_KIND[name].entity, shipped(name)) for name in KINDS),
    (analyses.Score, made(platform.Score)),
    (analyses.Curve, made(platform.Curve)),
]  # fmt: skip

FILLED = {"creationTime"}
"""Fields whose type allows null, which the creation of an entity always fills in."""
OMITTED = {"Score": {"points"}, "Measurement": {"securityContext"}, "SafetyCase": {"securityContext"}}
"""Optional fields that our structs do not have: points belong to curves; a security context is stored and only the platform reads it."""


def types(schema: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """The JSON types that a schema allows; empty for any."""
    if schema.get("$ref", "").startswith("#"):  # others name a struct whose type stands next to it
        return types(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return set().union(*(types(each, definitions) for each in schema[several]))
    if "allOf" in schema:
        return types(schema["allOf"][0], definitions)
    if "const" in schema or "enum" in schema:
        return {"string"}
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=[each.__name__ for each, _ in CASES])
def test_every_published_field_is_there(ours, theirs):
    """A required one is always there, and no value that we store has a type that published readers refuse."""
    whole = msgspec.json.schema(ours)
    mine, theirs_of = whole["$defs"][ours.__name__], theirs.get("$defs", {})
    omitted = OMITTED.get(ours.__name__, set())
    missing = set(theirs["properties"]) - set(mine["properties"]) - omitted
    assert missing == set()
    assert omitted & set(theirs.get("required", ())) == set()
    for name, field in theirs["properties"].items():
        if name not in mine["properties"]:
            continue
        have, want = types(mine["properties"][name], whole["$defs"]), types(field, theirs_of)
        integers = {"integer"} if "number" in want else set()
        assert not (have and want) or have - {"null"} <= want | integers, (name, have, want)
        if name in theirs.get("required", ()):
            always = name in mine["required"] or "default" in mine["properties"][name]
            assert always, f"{name} is required by published readers"
            assert name in FILLED or "null" not in have or "null" in want, f"{name} may be null here, and not as published"
