"""Arrow schemas of fields of different types: the stubs of `pa.schema` take a list of one type only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa


def schema_of(*fields: tuple[str, pa.DataType] | pa.Field[Any], metadata: Mapping[str | bytes, str | bytes] | None = None) -> pa.Schema:
    """A schema of these fields, each a `pa.field` or a name with a type."""
    made = [pa.field(*each) if isinstance(each, tuple) else each for each in fields]
    return pa.schema(made, dict(metadata) if metadata is not None else None)
