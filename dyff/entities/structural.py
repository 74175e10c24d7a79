"""Converts structs to the structural schemas that Kubernetes accepts: no references, no unions, every type explicit. Pure.

Unions can have two forms there. Text or integer (a quantity) stays a union. Structs that are distinguished by a tag become one
object with the fields of all of them, and validation rules say which fields belong to which tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dyff.entities import codecs, described

_VALUES = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "enum", "format")
_PLAIN = ("string", "integer", "number", "boolean")


def of(structs: Sequence[type[msgspec.Struct]]) -> list[codecs.Json]:
    """The schema of each struct.

    Raises:
        TypeError: a field has no structural schema.
    """
    references, components = msgspec.json.schema_components(structs, ref_template="{name}")
    return [_schema(each, components, (struct.__name__,)) for each, struct in zip(references, structs, strict=True)]


def _schema(given: codecs.Json, components: codecs.Json, path: tuple[str, ...]) -> codecs.Json:
    """`path`: for error messages."""
    if "$ref" in given:
        found = _schema(components[given["$ref"]], components, path)
    elif "anyOf" in given:
        found = _union(given, components, path)
    elif given.get("type") == "object":
        found = _object(given, components, path)
    elif given.get("type") == "array":
        found = {"type": "array", "items": _schema(given["items"], components, (*path, "[]"))}
    elif "enum" in given and all(isinstance(each, str) for each in given["enum"]):
        found = {"type": "string"}
    elif given.get("type") in _PLAIN:
        found = {"type": given["type"]}
    else:
        raise TypeError(f"{'.'.join(path)} has no structural schema: {given}")
    found.update({key: given[key] for key in _VALUES if key in given})
    if "pattern" in given:
        found["pattern"] = described.pattern(given["pattern"])
    if found["type"] == "integer":
        found["format"] = "int64"
    words = _words(given)
    return {key: value for key, value in {**found, **({"description": words} if words else {})}.items() if value is not None}


def _words(given: codecs.Json) -> str:
    """The description in one paragraph, and the default value of the field."""
    words = " ".join(given.get("description", "").split())
    default = given.get("default")
    if isinstance(default, bool) or (default and isinstance(default, str | int)):
        said = f"Default: {codecs.encode(default).decode()}."
        words = f"{words.rstrip('.')}. {said}" if words else said
    return words


def _object(given: codecs.Json, components: codecs.Json, path: tuple[str, ...]) -> codecs.Json:
    if "properties" not in given:
        return {"type": "object", "additionalProperties": _schema(given["additionalProperties"], components, (*path, "*"))}
    properties = {name: _schema(each, components, (*path, name)) for name, each in given["properties"].items()}
    required = {"required": given["required"]} if given["required"] else {}
    return {"type": "object", **required, "properties": properties}


def _union(given: codecs.Json, components: codecs.Json, path: tuple[str, ...]) -> codecs.Json:
    members = [each for each in given["anyOf"] if each != {"type": "null"}]
    if len(members) == 1:
        return _schema(members[0], components, path)
    by_type = {each.get("type"): each for each in members}
    if set(by_type) == {"string", "integer"} and len(members) == 2:
        of_number = {key: value for key, value in by_type["integer"].items() if key in _VALUES}
        return {**_schema(by_type["string"], components, path), **of_number, "type": None, "x-kubernetes-int-or-string": True}
    if "discriminator" in given:
        return _tagged(given["discriminator"], components, path)
    raise TypeError(f"{'.'.join(path)} is a union without a structural schema")


def _tagged(discriminator: codecs.Json, components: codecs.Json, path: tuple[str, ...]) -> codecs.Json:
    tag, mapping = discriminator["propertyName"], discriminator["mapping"]
    members = {name: _schema(components[struct], components, path) for name, struct in mapping.items()}
    properties: codecs.Json = {}
    for member in members.values():
        properties.update({name: value for name, value in member["properties"].items() if name != tag})
    common = set.intersection(*(set(member["required"]) for member in members.values()))
    rules = [
        {
            "rule": f"self.{tag} != '{name}' || has(self.{field})",
            "message": f"{field} is needed where {tag} is {name}",
            "fieldPath": f".{field}",
            "reason": "FieldValueRequired",
        }
        for name, member in members.items()
        for field in member["required"]
        if field not in common
    ]
    whole = {tag: {"type": "string", "enum": sorted(mapping)}, **properties}
    words = " ".join(f"{name}: {member.get('description', '')}" for name, member in members.items())
    return {
        "type": "object",
        "description": words,
        "required": sorted(common),
        "properties": whole,
        "x-kubernetes-validations": rules,
    }


def pruned(schema: codecs.Json, value: Any) -> Any:
    """What an API server keeps of `value`: the fields that the schema names. Values of another type are left to validation."""
    if isinstance(value, list) and "items" in schema:
        return [pruned(schema["items"], each) for each in value]
    if not isinstance(value, dict):
        return value
    if "properties" in schema:
        return {name: pruned(schema["properties"][name], each) for name, each in value.items() if name in schema["properties"]}
    if "additionalProperties" in schema:
        return {name: pruned(schema["additionalProperties"], each) for name, each in value.items()}
    return value
