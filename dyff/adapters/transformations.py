"""The adapter that makes a new JSON value from a template. Pure."""

from __future__ import annotations

from typing import Any

from dyff.adapters import computations, configurations, fields, paths


def transform_json(configuration: fields.Json, location: configurations.Location) -> fields.Step:
    """A template of the result: strings that begin with `$` are JSONPath queries that must match exactly one value.

    `$$` at the beginning of a string or a key stands for one `$`; `{"$compute": steps}` for a computation
    (`computations.compute`); all else for itself.
    """
    value = _compile(configuration, location)
    return lambda item: [value(item)]


def _compile(template: Any, location: configurations.Location) -> computations.Value:
    if isinstance(template, dict):
        return _compile_object(template, location)
    if isinstance(template, list):
        parts = tuple(_compile(each, (*location, place)) for place, each in enumerate(template))
        return lambda item: [part(item) for part in parts]
    if isinstance(template, str) and template.startswith("$"):
        return _compile_text(template, location)
    return lambda _: template


def _compile_object(template: fields.Json, location: configurations.Location) -> computations.Value:
    if "$compute" in template:
        if len(template) != 1:
            raise configurations.invalid(location, "must have no other key beside $compute")
        return computations.compute(template["$compute"], (*location, "$compute"))
    members = tuple((_key(key, location), _compile(value, (*location, key))) for key, value in template.items())
    return lambda item: {key: value(item) for key, value in members}


def _key(key: str, location: configurations.Location) -> str:
    if key.startswith("$$"):
        return key[1:]
    if key.startswith("$"):
        raise configurations.invalid((*location, key), f"keys that begin with $ are reserved; write ${key} for the key {key}")
    return key


def _compile_text(template: str, location: configurations.Location) -> computations.Value:
    if template.startswith("$$"):
        text = template[1:]
        return lambda _: text
    try:
        return paths.only_match(template)
    except ValueError as error:
        raise configurations.invalid(location, f"{error}; write ${template} for the text {template}") from error
