"""The adapter that turns an item into a file upload, which is sent as `multipart/form-data`. Pure."""

from __future__ import annotations

import binascii
import functools
import json
from collections.abc import Callable
from typing import Any, TypeGuard

import msgspec

from dyff.adapters import configurations, fields, paths, transformations

ENCODINGS = ("base64", "binary", "utf-8", "json")
_OPTIONS = ("field", "encoding", "name", "filename", "contentType", "formFields")


class Upload(msgspec.Struct, frozen=True):
    """A request to send as `multipart/form-data`: one file, and any number of plain-text parts.

    `name`: the name of the file's part. `filename`, `content_type`: describe the file; the latter has no control characters.
    `form_fields`: the text parts, by name.
    """

    name: str
    filename: str
    content_type: str
    content: bytes
    form_fields: dict[str, str]


def file_upload(configuration: fields.Json, location: configurations.Location) -> fields.Step:
    """`{"field": query, "encoding", "name", "filename", "contentType", "formFields": {...}}`: the item becomes an `Upload`.

    `field`: the location of the file's content; the only required key. `encoding`: its encoding there: `base64` (also accepts
    bytes; the default), `binary` (bytes), `utf-8` (text) or `json` (any value). `filename`, `contentType` and the values of
    `formFields` are templates as in TransformJSON. In `formFields`, numbers and booleans become text; objects and lists are refused.
    """
    configurations.an_object(configuration, location, _OPTIONS)
    find = _field(configuration, location)
    encoding = configuration.get("encoding", "base64")
    if encoding not in ENCODINGS:
        raise configurations.invalid((*location, "encoding"), f"must be one of {', '.join(ENCODINGS)}")
    name = configuration.get("name", "file")
    if not _is_text(name):
        raise configurations.invalid((*location, "name"), "must be the name of the file's part, a string", "type_error")
    filename = _template(configuration, "filename", "file", location)
    content_type = _template(configuration, "contentType", "application/octet-stream", location)
    form_fields = _form_fields(configuration.get("formFields", {}), (*location, "formFields"))
    decode = _DECODERS[encoding]
    return lambda item: Upload(name, filename(item), content_type(item), decode(find(item)), form_fields(item))


def _field(configuration: fields.Json, location: configurations.Location) -> Callable[[Any], Any]:
    query = configuration.get("field")
    if query is None:
        raise configurations.invalid((*location, "field"), "is missing: give the JSONPath query of the file's content", "missing")
    if not isinstance(query, str):
        raise configurations.invalid((*location, "field"), "must be a JSONPath query such as $.image.data", "type_error")
    try:
        return paths.only_match(query)
    except ValueError as error:
        raise configurations.invalid((*location, "field"), str(error)) from error


def _template(configuration: fields.Json, key: str, default: str, location: configurations.Location) -> Callable[[Any], str]:
    """Compile the template under `key`, whose results must be text."""
    template = configuration.get(key, default)
    place = (*location, key)
    if not isinstance(template, str) and not _is_computed(template):
        raise configurations.invalid(place, "must be a string, a JSONPath query or an object with $compute", "type_error")
    value = transformations.template(template, place)

    def text(item: Any) -> str:
        found = value(item)
        if not _is_text(found):
            raise ValueError(f"{key} must be text, not {paths.shown(found)}")
        if key == "contentType" and any(char < " " or char == "\x7f" for char in found):
            raise ValueError(f"contentType must be a media type such as image/png, not {paths.shown(found)}")
        return found

    if _is_constant(template):
        _checked(functools.partial(text, None), place)
    return text


def _form_fields(template: Any, location: configurations.Location) -> Callable[[Any], dict[str, str]]:
    if not isinstance(template, dict):
        raise configurations.invalid(location, "must be an object from names of parts to their values", "type_error")
    value = transformations.template(template, location)

    def form(item: Any) -> dict[str, str]:
        found = value(item)
        if not isinstance(found, dict):
            raise ValueError(f"formFields must be an object, not {paths.shown(found)}")
        return {key: _form_value(key, each) for key, each in found.items()}

    for key, each in template.items():
        if key != "$compute" and _is_constant(each):
            _checked(functools.partial(_form_value, key, each), (*location, key))
    return form


def _form_value(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else str(value) if isinstance(value, bool | int | float) else None
    if not _is_text(key) or not _is_text(text):
        raise ValueError(f"the form field {key!r} must be text, a number or a boolean, not {paths.shown(value)}")
    return text


def _is_constant(template: Any) -> bool:
    """Whether the template has the same value for all items, so that its type can be checked early."""
    return not _is_computed(template) and not (isinstance(template, str) and template.startswith("$"))


def _is_computed(template: Any) -> bool:
    return isinstance(template, dict) and "$compute" in template


def _checked(value: Callable[[], str], location: configurations.Location) -> None:
    try:
        value()
    except ValueError as error:
        raise configurations.invalid(location, str(error)) from error


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether it is a string that can be encoded. One with half a surrogate pair cannot."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _from_base64(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return binascii.a2b_base64("".join(value.split()), strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"the file's content is not base64: {error}, in {paths.shown(value)}") from error
    return _from_bytes(value)


def _from_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    hint = "an evaluation's input pipeline is given the bytes of a dataset in base64, so use encoding base64, which takes both"
    raise ValueError(f"the file's content must be bytes, not {paths.shown(value)}; {hint}")


def _from_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"the file's content must be text with encoding utf-8, not {paths.shown(value)}")
    return value.encode()


def _from_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


_DECODERS: dict[str, Callable[[Any], bytes]] = {
    "base64": _from_base64, "binary": _from_bytes, "utf-8": _from_text, "json": _from_json,
}  # fmt: skip
