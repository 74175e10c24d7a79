"""What a request should have had in the place of a wrong value, in words. And what the types of requests say about their parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

import msgspec

from dyff.kernel import suggestions

_NOTHING = {type(None), msgspec.UnsetType}
_SHOWN_FIELDS = 12
"""Of an object with more fields, only the first ones are named."""
_ENTITY = {"id", "kind", "account", "status"}
_MAX_JSON_CHARS = 100_000
_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "datetime": "a time such as 2099-01-31T12:00:00Z",
}


def words(types: str) -> str:
    """The library's names of JSON types, such as `object | null`, in words."""
    return " or ".join(_NAMES.get(each, each) for each in types.split(" | "))


def advice(value: Any, type_: Any) -> str:
    """How to fix a value of a wrong JSON type, as the end of a sentence; empty if there is nothing to add.

    `type_`: the declared type; None if it is unknown.
    """
    if isinstance(value, str) and (inside := _json_inside(value)) is not None and is_a(inside, type_):
        return "; the string contains JSON: send that JSON itself, not as a string"
    if isinstance(value, dict) and isinstance(value.get("id"), str) and is_a("", type_):
        return f"; give only the ID, {suggestions.shown(value['id'])!r}"
    if isinstance(value, str) and any(is_a(number, type_) for number in _numbers(value)):
        return "; write the number without quotes"
    if (of := element(type_)) is not None and not _is_map(type_):
        one = "; put it in a list" if is_a(value, of) else ""
        return f"; it is a list of {_kind_of(of)}{one}"
    if isinstance(value, list) and len(value) == 1 and is_a(value[0], type_):
        return "; give the value itself, not a list of it"
    if (shape := struct(type_)) is not None:
        return f"; it is {_object(shape)}"
    if _is_map(type_) and (shape := struct(element(type_))) is not None:
        return f"; each value of it is {_object(shape)}"
    said = description(type_)
    return "" if said is None else f"; it must be {said}"


def whole_entity(value: Any) -> str:
    """What to say if a whole entity is given where a part of a request is expected; else empty."""
    if not isinstance(value, dict) or not value.keys() >= _ENTITY:
        return ""
    return f"; this is the whole {suggestions.shown(str(value['kind']))} {suggestions.shown(str(value['id']))}"


def choice(value: str, known: Sequence[str]) -> str:
    """The end of the sentence that a value is none of those that are known."""
    near = suggestions.nearest(value, known)
    return f"{'' if near is None else f'did you mean {near!r}? '}it must be one of {', '.join(known)}"


def hints(path: Sequence[tuple[type[msgspec.Struct] | None, str | int]]) -> str:
    """What the requests' structs say about the last fields of a path; the innermost one that says something."""
    found = [text for owner, name in path if (text := getattr(owner, "hints", {}).get(name))]
    return f"; {found[-1]}" if found else ""


def branches(type_: Any) -> list[Any]:
    """The members of a type that is optional, or that may be absent, without None; or else the type itself. Annotations are kept."""
    if type_ is None:
        return []
    plain = getattr(type_, "__origin__", None) if hasattr(type_, "__metadata__") else type_
    if get_origin(plain) is not None and not _NOTHING.isdisjoint(get_args(plain)):
        return [each for each in get_args(plain) if each not in _NOTHING]
    return [type_]


def bare(type_: Any) -> list[Any]:
    """The same without annotations."""
    return [each.__origin__ if hasattr(each, "__metadata__") else each for each in branches(type_)]


def description(type_: Any) -> str | None:
    """What the type itself says that it accepts; None if it says nothing."""
    metas = (meta for each in branches(type_) for meta in getattr(each, "__metadata__", ()))
    return next((meta.description for meta in metas if isinstance(meta, msgspec.Meta) and meta.description), None)


def struct(type_: Any) -> type[msgspec.Struct] | None:
    """The struct that a type stands for; None if it is another type."""
    return next((each for each in bare(type_) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)


def element(type_: Any) -> Any:
    """The type of a list's elements or a dict's values."""
    for each in bare(type_):
        arguments = get_args(each)
        if arguments and get_origin(each) is not Literal:
            return arguments[1] if get_origin(each) is dict else arguments[0]
    return None


def key_type(type_: Any) -> Any:
    """The type of a dict's keys; None if it is another type."""
    return next((get_args(each)[0] for each in bare(type_) if get_origin(each) is dict and get_args(each)), None)


def choices(type_: Any) -> list[str]:
    """The values of an enumeration; empty if the type is another one."""
    return [str(value) for each in bare(type_) if get_origin(each) is Literal for value in get_args(each)]


def is_a(value: Any, type_: Any) -> bool:
    """Whether a JSON value is of a type; False if the type is unknown."""
    if type_ is None:
        return False
    try:
        msgspec.convert(value, type_)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _is_map(type_: Any) -> bool:
    return key_type(type_) is not None


def _json_inside(text: str) -> Any:
    """The object or list that a string spells; None if it spells none."""
    if len(text) > _MAX_JSON_CHARS or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _numbers(text: str) -> Iterable[int | float]:
    if len(text) <= 20 and text.isascii():
        for read in (int, float):
            try:
                yield read(text)
            except ValueError:
                continue


def _kind_of(type_: Any) -> str:
    shape = struct(type_)
    if shape is not None:
        return _object(shape).replace("an object", "objects", 1)
    return "strings" if str in bare(type_) else "values"


def _object(shape: type[msgspec.Struct]) -> str:
    fields = [each for each in msgspec.structs.fields(shape) if each.encode_name != "schemaVersion"]
    needed = [each.encode_name for each in fields if each.required]
    others = [each.encode_name for each in fields if not each.required][:_SHOWN_FIELDS]
    parts = [_listed(needed)] * bool(needed) + ["optional " + _listed(others)] * bool(others)
    return f"an object with {' and '.join(parts)}" if parts else "an object"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{each}'" for each in names)
