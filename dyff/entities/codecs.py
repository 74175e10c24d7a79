"""Deterministic JSON encoding, and decoders that are built once.

Two families (design.md, "Tolerant readers, strict writers"): request structs forbid unknown fields; stored data is handled as
plain JSON objects, so unknown fields are kept and ignored.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder()

Json = dict[str, Any]
"""A JSON object as a Python dictionary."""


def encode(value: Any) -> bytes:
    """`value` as JSON with sorted keys and no white space. Equal values give equal bytes: hashes and replays rely on it."""
    return _ENCODER.encode(value)


def decode(data: bytes | str) -> Any:
    """Parse the JSON value in `data`.

    Raises:
        ValueError: not JSON (`msgspec.DecodeError` is a subclass), not UTF-8, or nested too deeply.
    """
    try:
        return _DECODER.decode(data)
    except RecursionError as error:
        raise ValueError("JSON is nested too deep") from error


def opened(value: Any, form: type[T]) -> T:
    """Convert `value`, which is a JSON object, or `msgspec.Raw` with the bytes of one, to `form`.

    Raises:
        msgspec.ValidationError: it does not have that form.
    """
    return msgspec.json.decode(value, type=form) if isinstance(value, msgspec.Raw) else msgspec.convert(value, form)


def plain(value: Any) -> Json:
    """`value`, which is a JSON object, or `msgspec.Raw` with the bytes of one, as a JSON object."""
    return msgspec.json.decode(value, type=dict[str, Any]) if isinstance(value, msgspec.Raw) else value


def decode_object(data: bytes | str) -> Json:
    """Parse the JSON object in `data`.

    Raises:
        ValueError: not a JSON object.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
