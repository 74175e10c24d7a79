"""How much memory values of Arrow will need as values of Python, before they are converted. Pure.

A file of a few KiB can have rows of many MiB: repeated values are stored once, and a list of a million nulls takes no bytes at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dyff.adapters import values

_NUMBER, _TEXT, _LIST, _OBJECT, _MEMBER, _CONSTANT = 40, 72, 72, 96, 48, 8
"""The bytes of a value in CPython, with the reference to it: of a number, an empty text, a list, an object, a member of it, and of
true, false and null, which exist once.
"""

_IN_JSON = 20
"""The text of a number and what is around it."""

_QUICK_BYTES = 2**16
"""Rows up to this size in Arrow are not large, if their types cannot expand: true and false at most 64 times, others less."""

_EXPANDING: tuple[Callable[[Any], bool], ...] = (
    pa.types.is_dictionary, pa.types.is_run_end_encoded, pa.types.is_null, pa.types.is_string_view, pa.types.is_binary_view,
    pa.types.is_list_view, pa.types.is_large_list_view,
)  # fmt: skip


def can_expand(kind: Any) -> bool:
    """Return whether a few bytes of Arrow can be any number of values of this type."""
    if isinstance(kind, pa.BaseExtensionType):
        return can_expand(kind.storage_type)
    if any(is_kind(kind) for is_kind in _EXPANDING):
        return True
    if pa.types.is_struct(kind):
        return not kind.num_fields or any(can_expand(field.type) for field in kind)
    if pa.types.is_map(kind):
        return can_expand(kind.key_type) or can_expand(kind.item_type)
    return values.is_list(kind) and can_expand(kind.value_type)


def of(array: Any, *, expands: bool = True) -> int:
    """Return the approximate bytes that an array needs when it is converted. `expands`: what `can_expand` says of its type."""
    if not expands and (size := array.nbytes) <= _QUICK_BYTES:
        return int(size)
    return _of(array)


def check(value: Any, most_bytes: int) -> None:
    """Check the size of a JSON value, which a template can multiply: it may have the same text many times.

    Raises:
        ValueError: its texts have about more than `most_bytes`, or it has so many values that their text would have.
    """
    left = most_bytes
    level = [value]
    while level:
        each = level.pop()
        if isinstance(each, str):
            left -= len(each)
        elif isinstance(each, dict):
            left -= sum(map(len, each))
            level.extend(each.values())
        elif isinstance(each, list | tuple):
            level.extend(each)
        left -= _IN_JSON
        if left < _IN_JSON * len(level):
            raise ValueError(f"it has more than {most_bytes} bytes: make it smaller")


def _of(array: Any) -> int:
    kind, length, types = array.type, len(array), pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _of(array.storage)
    if values.is_text(kind) or values.is_bytes(kind):
        return _TEXT * length + _bytes_of(array)
    if values.is_list(kind):
        return _LIST * length + _of(array.flatten())
    if types.is_map(kind):
        return _of(array.cast(pa.list_(pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)]))))
    if types.is_struct(kind):
        inner = sum(_of(array.field(number)) for number in range(kind.num_fields))
        return (_OBJECT + _MEMBER * kind.num_fields) * length + inner
    if types.is_dictionary(kind):
        return _of_dictionary(array)
    if types.is_run_end_encoded(kind):
        return _of(pc.call_function("run_end_decode", [array]))
    return (_CONSTANT if types.is_null(kind) or types.is_boolean(kind) else _NUMBER) * length


def _bytes_of(array: Any) -> int:
    """The bytes of all texts; of bytes, those of their base64 and of the bytes themselves."""
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    total = pc.sum(pc.binary_length(array)).as_py() or 0
    return int(total if values.is_text(array.type) else total * 7 // 3)


def _of_dictionary(array: Any) -> int:
    """The size as if each value were stored on its own, as it is in the body of a request."""
    if not (values.is_text(array.type.value_type) or values.is_bytes(array.type.value_type)):
        return _of(values.chosen(array.dictionary, array.indices.drop_null()))
    lengths = pc.binary_length(array.dictionary).take(array.indices.cast(pa.int64()))
    return _TEXT * len(array) + int(pc.sum(lengths).as_py() or 0)
