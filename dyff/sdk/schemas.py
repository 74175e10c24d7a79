"""Arrow schemas in the form of the API. pyarrow is imported only when it is used, because that takes a quarter of a second."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from dyff.sdk import arrow, requests

if TYPE_CHECKING:
    import pyarrow as pa


def encode(schema: pa.Schema) -> requests.DataSchema:
    """Return the `DataSchema` of an Arrow schema: `{"arrowSchema": base64 of its serialized form}`, without large metadata.

    Example:
        `schemas.encode(pa.schema([("_index_", pa.int64()), ("text", pa.string())]))`
    """
    arrow.require("an Arrow schema")
    from dyff.adapters import arrow_schemas

    return {"arrowSchema": base64.b64encode(arrow_schemas.reduced(schema).serialize().to_pybytes()).decode()}


def decode(encoded: str) -> pa.Schema:
    """Return the Arrow schema of a `DataSchema`'s `arrowSchema`.

    Raises:
        ValueError: it is none.

    Example:
        `schemas.decode(client.datasets.get(dataset.id).schema["arrowSchema"])`
    """
    arrow.require("decoding an Arrow schema")
    import pyarrow as pa

    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded, validate=True)))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"this is not the base64 of an Arrow schema: {error}") from error


def output_schema(response: pa.Schema) -> requests.DataSchema:
    """Return the `DataSchema` of the outputs of an evaluation whose individual responses have the fields of `response`.

    A row has `_replication_`, `_index_` and `responses`: a list of structs of `_response_index_` and those fields.

    Example:
        `schemas.output_schema(pa.schema([("text", pa.string())]))`
    """
    arrow.require("an Arrow schema")
    import pyarrow as pa

    item = pa.struct([pa.field("_response_index_", pa.int64()), *response])
    fields: list[pa.Field[Any]] = [
        pa.field("_replication_", pa.string()),
        pa.field("_index_", pa.int64()),
        pa.field("responses", pa.list_(item)),
    ]
    return encode(pa.schema(fields))
