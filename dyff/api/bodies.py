"""Strict decoding of request bodies, with errors that name the field and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from dyff.api import dates, json_limits
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
        raise errors.InvalidFields(errors.Problem(("body",), f"the JSON {problem}"))
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


def _problem(text: str, model: Any, body: bytes) -> errors.Problem:
    match = _AT.match(text)
    what, path = (match["what"], match["path"] or "$") if match else (text, "$")
    loc, type_ = _follow(path, model, body)
    if field := _FIELD.match(what):
        return _field_problem(field["name"], loc, type_, missing=what.startswith("Object missing"))
    if match and match["key"]:
        key_type = _key_type(type_)
        wrong_key = _refused(_at(body, loc), key_type)
        return errors.Problem((*loc, *wrong_key, "[key]"), f"the key must be {_described(key_type, what)}", "value_error")
    if wrong := _WRONG_TYPE.match(what):
        return errors.Problem(loc, f"must be {_words(wrong['want'])}, not {_words(wrong['got'])}", "type_error")
    return errors.Problem(loc, _sentence(what, type_), "value_error")


def _field_problem(name: str, loc: tuple[str | int, ...], type_: Any, *, missing: bool) -> errors.Problem:
    if missing:
        return errors.Problem((*loc, name), f"the field {name!r} is missing", "missing")
    struct = _struct(type_)
    known = sorted(struct.__struct_encode_fields__) if struct else []
    text = f"the field {suggestions.shown(name)!r} is not known; {suggestions.hint(name, known)}"
    return errors.Problem((*loc, name), text, "extra_forbidden")


def _sentence(what: str, type_: Any) -> str:
    """The library's sentence, or our own where the type describes what it accepts."""
    if what.startswith("Expected `") and "matching regex" in what:
        return f"must be {_described(type_, what)}"
    if what.startswith("Invalid enum value") and (known := _choices(type_)):
        return f"{what[0].lower()}{what[1:]}; it must be one of {', '.join(known)}"
    return re.sub(r"^Expected `([^`]*)`", lambda match: f"must be {_words(match[1])}", what)


def _choices(type_: Any) -> list[str]:
    """The values of an enumeration; empty if the type is another one."""
    return [str(value) for each in _bare(type_) if get_origin(each) is Literal for value in get_args(each)]


def _described(type_: Any, otherwise: str) -> str:
    for each in _branches(type_):
        for meta in getattr(each, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return otherwise.removeprefix("Expected ")


def _words(types: str) -> str:
    names = {
        "str": "a string",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "object": "an object",
        "array": "a list",
    }
    return " or ".join(names.get(each, each) for each in types.split(" | "))


def _follow(path: str, model: Any, body: bytes) -> tuple[tuple[str | int, ...], Any]:
    """Resolve `path` to a location in the body and to the type that is declared there (None if unknown)."""
    loc: list[str | int] = ["body"]
    for step in _STEP.finditer(path):
        if step[1] is not None:
            loc.append(step[1])
            struct = _struct(model)
            fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)} if struct else {}
            model = fields.get(step[1])
        else:
            element = _element(model)
            loc += [int(step[2])] if step[2] is not None else _wrong_value(_at(body, loc), element) or ["[...]"]
            model = element
    return tuple(loc), model


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
    return [key for key, value in pairs if not _is_a(value, type_)][:1]


def _refused(values: Any, type_: Any) -> list[str]:
    """The first key of `values` that is not of `type_`. Empty if all are."""
    return [key for key in values if not _is_a(key, type_)][:1] if isinstance(values, dict) else []


def _is_a(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except (ValueError, TypeError):
        return False
    return True


def _branches(type_: Any) -> list[Any]:
    """The members of an optional type without None, or else the type itself. Annotations are kept."""
    if type_ is None:
        return []
    if get_origin(type_) is not None and not hasattr(type_, "__metadata__") and type(None) in get_args(type_):
        return [each for each in get_args(type_) if each is not type(None)]
    return [type_]


def _bare(type_: Any) -> list[Any]:
    return [each.__origin__ if hasattr(each, "__metadata__") else each for each in _branches(type_)]


def _struct(type_: Any) -> type[msgspec.Struct] | None:
    return next((each for each in _bare(type_) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)


def _element(type_: Any) -> Any:
    """The type of a list's elements or a dict's values."""
    for each in _bare(type_):
        arguments = get_args(each)
        if arguments:
            return arguments[1] if get_origin(each) is dict else arguments[0]
    return None


def _key_type(type_: Any) -> Any:
    return next((get_args(each)[0] for each in _bare(type_) if get_origin(each) is dict and get_args(each)), None)
