"""Strict decoding of request bodies, with errors that name the field and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from dyff.api import dates, expected, json_limits
from dyff.kernel import errors, suggestions

T = TypeVar("T")

IN_A_THREAD_BYTES = 64 * 2**10
"""A larger body is decoded and checked in a thread, which takes milliseconds to seconds."""

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key` in `)?(?P<path>\$[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")
_FIELD = re.compile(r"^Object (contains unknown|missing required) field `(?P<name>.*)`$", re.DOTALL)
_WRONG_TYPE = re.compile(r"^Expected `(?P<want>[^`]*)`, got `(?P<got>[^`]*)`$")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode `body`. In a thread, if it is large (`IN_A_THREAD_BYTES`): other work waits for it.

    Raises:
        InvalidFields: it is not JSON, or not what the decoder expects, or it has a time that cannot be used. Names the field.
    """
    if problem := json_limits.problem(body):
        raise errors.InvalidFields(errors.Problem(("body",), f"the JSON {problem}")).of_limit("json_values")
    try:
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise errors.InvalidFields(_problem(str(error), decoder.type, body)) from error
    except RecursionError as error:
        raise errors.InvalidFields(errors.Problem(("body",), "the JSON is nested too deep", "json_invalid")) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = "the body is empty; JSON is expected" if not body.strip() else f"the body is not valid JSON in UTF-8: {error}"
        raise errors.InvalidFields(errors.Problem(("body",), text, "json_invalid")) from error
    dates.check(request, decoder.type)
    return request


class _Place(msgspec.Struct, frozen=True):
    """Where a problem is. `type_`: what is declared there, None if unknown. `trail`: the fields on the way, each with its struct."""

    loc: tuple[str | int, ...]
    type_: Any
    trail: tuple[tuple[type[msgspec.Struct] | None, str | int], ...]


def _problem(text: str, model: Any, body: bytes) -> errors.Problem:
    match = _AT.match(text)
    what, path = (match["what"], match["path"] or "$") if match else (text, "$")
    place = _follow(path, model, body)
    loc, type_ = place.loc, place.type_
    if field := _FIELD.match(what):
        return _field_problem(field["name"], place, body, missing=what.startswith("Object missing"))
    if match and match["key"]:
        key_type = expected.key_type(type_)
        wrong_key = _refused(_at(body, loc), key_type)
        return errors.Problem(
            (*loc, *wrong_key, "[key]"),
            f"the key must be {expected.description(key_type) or what.removeprefix('Expected ')}",
            "value_error",
        )
    if wrong := _WRONG_TYPE.match(what):
        sentence = f"must be {expected.words(wrong['want'])}, not {expected.words(wrong['got'])}"
        advice = expected.advice(_at(body, loc), type_)
        return errors.Problem(loc, f"{sentence}{advice}{expected.hints(place.trail[-1:])}", "type_error")
    return errors.Problem(loc, f"{_sentence(what, type_, _at(body, loc))}{expected.hints(place.trail[-1:])}", "value_error")


def _field_problem(name: str, place: _Place, body: bytes, *, missing: bool) -> errors.Problem:
    struct, loc = expected.struct(place.type_), (*place.loc, name)
    whole = expected.whole_entity(_at(body, place.loc)) if len(place.loc) > 1 else ""
    end = f"{whole}{expected.hints((*place.trail[-1:], (struct, name)))}"
    if missing:
        return errors.Problem(loc, f"the field {name!r} is missing{end}", "missing")
    known = sorted(struct.__struct_encode_fields__) if struct else []
    text = f"the field {suggestions.shown(name)!r} is not known; {suggestions.hint(name, known)}"
    return errors.Problem(loc, f"{text}{end}", "extra_forbidden")


def _sentence(what: str, type_: Any, value: Any) -> str:
    """The library's sentence, or our own where the type describes what it accepts."""
    if what.startswith("Expected `") and "matching regex" in what:
        return f"must be {expected.description(type_) or what.removeprefix('Expected ')}"
    if what.startswith("Invalid enum value") and (known := expected.choices(type_)):
        return f"{what[0].lower()}{what[1:]}; {expected.choice(str(value), known)}"
    return re.sub(r"^Expected `([^`]*)`", lambda match: f"must be {expected.words(match[1])}", what)


def _follow(path: str, model: Any, body: bytes) -> _Place:
    """Resolve `path` to a place in the body."""
    loc: list[str | int] = ["body"]
    trail: list[tuple[type[msgspec.Struct] | None, str | int]] = []
    for step in _STEP.finditer(path):
        struct = expected.struct(model)
        if step[1] is not None:
            loc.append(step[1])
            fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)} if struct else {}
            model = fields.get(step[1])
        else:
            element = expected.element(model)
            loc += [int(step[2])] if step[2] is not None else _wrong_value(_at(body, loc), element) or ["[...]"]
            model = element
        trail.append((struct, loc[-1]))
    return _Place(tuple(loc), model, tuple(trail))


def _at(body: bytes, loc: Iterable[str | int]) -> Any:
    """Return the value in the body at `loc`; None if it cannot be found, because something after the first problem is wrong, too."""
    try:
        value = msgspec.json.decode(body)
        for step in list(loc)[1:]:
            value = value[step]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return value


def _wrong_value(values: Any, type_: Any) -> list[str | int]:
    """The key of the first value that is not of `type_`; the library does not name it. Empty if all are."""
    pairs = values.items() if isinstance(values, dict) else ()
    return [key for key, value in pairs if not expected.is_a(value, type_)][:1]


def _refused(values: Any, type_: Any) -> list[str]:
    """The first key of `values` that is not of `type_`. Empty if all are."""
    return [key for key in values if not expected.is_a(key, type_)][:1] if isinstance(values, dict) else []
