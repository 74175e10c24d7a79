"""JSON bytes in one deterministic form, and decoders built once.

Two families (design.md, "Tolerant readers, strict writers"): request structs forbid unknown fields; what is stored
keeps and ignores what it does not know, so it is handled as plain JSON objects.
"""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder()

Json = dict[str, Any]
"""A JSON object as Python sees it."""


def encode(value: Any) -> bytes:
    """`value` as JSON: keys sorted, no white space. Same value, same bytes: hashes and replays rely on it."""
    return _ENCODER.encode(value)


def decode(data: bytes | str) -> Any:
    """The JSON value in `data`.

    Raises:
        ValueError: it is not JSON (`msgspec.DecodeError` is one), not UTF-8, or nested too deep.
    """
    try:
        return _DECODER.decode(data)
    except RecursionError as error:
        raise ValueError("JSON is nested too deep") from error


def decode_object(data: bytes | str) -> Json:
    """The JSON object in `data`.

    Raises:
        ValueError: it is not a JSON object.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
