"""What the schemas of a dataset's files reveal."""

from __future__ import annotations

import pyarrow as pa

from dyff.adapters import arrow_schemas


def test_only_large_metadata_is_dropped():
    """Of the schema and of its columns; a schema without any stays the same bytes."""
    small: dict[str | bytes, str | bytes] = {"__doc__": "short"}
    large: dict[str | bytes, str | bytes] = {"huge": "x" * arrow_schemas.MAX_METADATA_BYTES}
    given = pa.schema([pa.field("a", pa.int8(), metadata={**small, **large}), pa.field("b", pa.int8())], {**small, **large})
    assert not arrow_schemas.is_reduced(given)
    found = arrow_schemas.reduced(given)
    assert arrow_schemas.is_reduced(found)
    assert (found.metadata, found.field("a").metadata, found.field("b").metadata) == ({b"__doc__": b"short"},) * 2 + (None,)
    assert arrow_schemas.reduced(found).serialize() == found.serialize()
