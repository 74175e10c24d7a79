"""Objects as bytes: JSON with sorted keys, so equal objects are equal bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel import errors

LIMIT_BYTES = 1_572_864
"""Maximum size of an object, as in etcd."""
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(dict[str, Any])


def encode(obj: Any) -> bytes:
    """Encode an object for storage.

    Raises:
        InvalidFields: the object is not JSON, or too large.
    """
    try:
        body = _ENCODER.encode(obj)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidFields(errors.Problem(("body",), f"is not JSON: {error}")) from error
    if len(body) > LIMIT_BYTES:
        raise errors.InvalidFields(errors.Problem(("body",), f"has {len(body)} bytes; an object has at most {LIMIT_BYTES}"))
    return body


def decode(body: bytes) -> port.Object:
    """Decode an object. Each call returns a new copy.

    Raises:
        InvalidFields: the bytes are not a JSON object.
    """
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise errors.InvalidFields(errors.Problem(("body",), f"must be an object: {error}")) from error


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON, unlike `==`, for which 1 equals true."""
    return bool(_ENCODER.encode(one) == _ENCODER.encode(other))
