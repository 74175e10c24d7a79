"""The adapter that builds a new JSON value from a template. Pure."""

from __future__ import annotations

from typing import Any

from dyff.adapters import computations, configurations, fields, paths


def transform_json(configuration: fields.Json, location: configurations.Location) -> fields.Step:
    """The configuration is a template of the result. Strings that begin with `$` are JSONPath queries that must match exactly one value.

    `$$` at the beginning of a string or a key stands for one `$`, and `{"$compute": steps}` for the result of a computation
    (`computations.compute`). Everything else stands for itself.
    """
    return template(configuration, location)


def template(value: Any, location: configurations.Location) -> computations.Value:
    """Compile the template `value` to a function from an item to the result; see `transform_json`.

    Raises:
        InvalidFields: the template is wrong.
    """
    if isinstance(value, dict):
        return _compile_object(value, location)
    if isinstance(value, list):
        parts = tuple(template(each, (*location, place)) for place, each in enumerate(value))
        return lambda item: [part(item) for part in parts]
    if isinstance(value, str) and value.startswith("$"):
        return _compile_text(value, location)
    return lambda _: value


def _compile_object(value: fields.Json, location: configurations.Location) -> computations.Value:
    if "$compute" in value:
        if len(value) != 1:
            raise configurations.invalid(location, "must have no other key than $compute")
        return computations.compute(value["$compute"], (*location, "$compute"))
    members = tuple((_key(key, location), template(each, (*location, key))) for key, each in value.items())
    return lambda item: {key: each(item) for key, each in members}


def _key(key: str, location: configurations.Location) -> str:
    if key.startswith("$$"):
        return key[1:]
    if key.startswith("$"):
        raise configurations.invalid((*location, key), f"keys that begin with $ are reserved; write ${key} for the key {key}")
    return key


def _compile_text(text: str, location: configurations.Location) -> computations.Value:
    if text.startswith("$$"):
        escaped = text[1:]
        return lambda _: escaped
    try:
        return paths.only_match(text)
    except ValueError as error:
        raise configurations.invalid(location, f"{error}; write ${text} for the text {text}") from error
