"""Serialised Arrow schemas in requests. PyArrow is imported on first use, to keep a third of a second out of start-up."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

INDEX = "_index_"
_SCHEMAS_CACHED = 256


def warm() -> None:
    """Import what the checks need, so that no request has to wait for it. Blocks."""
    import pyarrow.ipc  # noqa: F401


@lru_cache(_SCHEMAS_CACHED)
def schema_problem(text: str, *, indexed: bool) -> str | None:
    """Return what is wrong with a base64-encoded, serialised Arrow schema, as the end of a sentence; None if nothing is.

    `indexed`: the schema describes rows, which are identified by the column `_index_`.
    """
    import pyarrow as pa

    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
        fields = {field.name: field.type for field in schema}
    except (binascii.Error, ValueError, OSError, pa.ArrowException):
        return "must be the base64 of a serialised Arrow schema (in Python: base64.b64encode(schema.serialize()))"
    if indexed and fields.get(INDEX) != pa.int64():
        return f"must be the schema of rows with the column {INDEX!r} of type int64, which tells them apart"
    return None
