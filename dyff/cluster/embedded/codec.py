"""Objects as bytes: JSON with sorted keys, so equal objects are equal bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel import errors

LIMIT_BYTES = 1_572_864
"""Of one object, as etcd has it."""
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(dict[str, Any])


def encode(obj: Any) -> bytes:
    """The bytes to be stored.

    Raises:
        InvalidFields: it is not JSON, or larger than an object may be.
    """
    try:
        body = _ENCODER.encode(obj)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidFields(errors.Problem(("body",), f"is not JSON: {error}")) from error
    if len(body) > LIMIT_BYTES:
        raise errors.InvalidFields(errors.Problem(("body",), f"has {len(body)} bytes; an object has at most {LIMIT_BYTES}"))
    return body


def decode(body: bytes) -> port.Object:
    """The object, a copy of its own.

    Raises:
        InvalidFields: it is not an object.
    """
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise errors.InvalidFields(errors.Problem(("body",), f"must be an object: {error}")) from error


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; unlike `==`, which takes 1 for true."""
    return bool(_ENCODER.encode(one) == _ENCODER.encode(other))
