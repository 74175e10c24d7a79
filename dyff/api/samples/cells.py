"""Values of Arrow as cells: JSON if they are short, otherwise their beginning and the address of the whole (docs/console-data.md)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa

from dyff.adapters import sizes, values
from dyff.api.samples import asked

Cell = dict[str, Any]
Address = Callable[[str], str]
"""From the name of a column to the address of its value."""

BYTES = "application/octet-stream"
_RASTERS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"))
_IMAGE = {"bytes", "path"}
"""The fields of a struct in which libraries for datasets store an image."""

_UNSENDABLE = (pa.ArrowException, OverflowError, RecursionError, UnicodeError, ValueError)


def media_type(data: bytes) -> str:
    """The type of an image whose pixels are all that it has; of anything else `BYTES`, so that no browser runs it."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _RASTERS if data.startswith(start)), BYTES)


def cell(name: str, array: Any, address: Address, cut_bytes: int) -> Cell:
    """The cell of an array of length 1. `address`: of whole values. `cut_bytes`: the longest value that is not cut."""
    array = _plain(array)
    kind = _kind(array.type)
    if kind == "json" or not array[0].is_valid:
        return _json(name, array, address, cut_bytes)
    try:
        data = _data(array, kind)
    except _UNSENDABLE as error:
        return _none(name, _reason(error))
    if kind == "bytes":
        return {**_cell(name, "bytes", None, len(data), address(name)), "mediaType": media_type(data[:16])}
    if len(data) <= cut_bytes:
        return _cell(name, "text", data.decode(), len(data))
    return _cell(name, "text", data[:cut_bytes].decode(errors="ignore"), len(data), address(name), cut=True)


def readable(array: Any) -> Any:
    """An array of length 1 with bytes that are text in UTF-8, as text; any other as it is. For what was sent and received."""
    if values.is_bytes(array.type) and array[0].is_valid:
        try:
            return pa.array([array[0].as_py().decode()], pa.large_string())
        except UnicodeDecodeError:
            pass
    return array


def given(name: str, text: str | None, address: Address, cut_bytes: int) -> Cell:
    """The cell of a value that the path of a file gives."""
    return cell(name, pa.array([text], pa.string()), address, cut_bytes)


def whole(array: Any) -> asked.Value:
    """The value of an array of length 1."""
    array = _plain(array)
    kind = _kind(array.type)
    try:
        if sizes.of(array) > 4 * asked.MAX_VALUE_BYTES:
            return asked.Value(kind="none", data=b"the value is too large")
        if kind == "json" or not array[0].is_valid:
            kind, data = "json", msgspec.json.encode(_converter(array.type)(array)[0])
        else:
            data = _data(array, kind)
    except _UNSENDABLE as error:
        return asked.Value(kind="none", data=_reason(error).encode(errors="replace"))
    if len(data) > asked.MAX_VALUE_BYTES:
        return asked.Value(kind="none", data=b"the value is too large")
    return asked.Value(kind=kind, data=data, media_type=media_type(data[:16]) if kind == "bytes" else "")


def _plain(array: Any) -> Any:
    """The value itself: of a dictionary, of an extension, and of an image the bytes."""
    if isinstance(array.type, pa.BaseExtensionType) and _kind(array.type.storage_type) != "json":
        known = getattr(array.type, "extension_name", "")
        return array if known == "arrow.uuid" else _plain(array.storage)
    if pa.types.is_dictionary(array.type):
        index = array.indices[0].as_py()
        return pa.nulls(1, array.type.value_type) if index is None else array.dictionary.slice(index, 1)
    if pa.types.is_struct(array.type) and {field.name for field in array.type} == _IMAGE and array[0].is_valid:
        inner = array.field("bytes")
        if values.is_bytes(inner.type) and inner[0].is_valid:
            return inner
    return array


def _kind(kind: Any) -> str:
    return "text" if values.is_text(kind) else "bytes" if values.is_bytes(kind) else "json"


def _data(array: Any, kind: str) -> bytes:
    """The bytes of a text, which is checked, or of bytes."""
    value = array[0].as_py()
    return value.encode() if kind == "text" else value  # type: ignore[no-any-return]


def _json(name: str, array: Any, address: Address, cut_bytes: int) -> Cell:
    try:
        if sizes.of(array) > asked.MAX_VALUE_BYTES:
            return _cell(name, "json", "", None, address(name), cut=True)
        value = _converter(array.type)(array)[0]
        text = msgspec.json.encode(value)
    except _UNSENDABLE as error:
        return _none(name, _reason(error))
    if len(text) <= cut_bytes:
        return _cell(name, "json", value, len(text))
    return _cell(name, "json", text[:cut_bytes].decode(errors="ignore"), len(text), address(name), cut=True)


def _cell(name: str, kind: str, value: Any, size: int | None, url: str | None = None, *, cut: bool = False) -> Cell:
    return {"name": name, "kind": kind, "value": value, "bytes": size, "cut": cut, "url": url}


def _none(name: str, reason: str) -> Cell:
    return _cell(name, "none", reason[:300], None)


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, values.Unsendable) else str(error) or type(error).__name__


@functools.lru_cache(maxsize=1024)
def _converter(kind: Any) -> values.Convert:
    return values.converter(kind)
