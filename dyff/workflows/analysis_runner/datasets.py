"""Open the data of an input, as the published package does, but with the schema that is known."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

from . import places

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import dataset as arrow_dataset

DEPTH = 20
"""Levels of folders in which partitions are looked for."""


def decoded(schema: str) -> pyarrow.Schema:
    """Decode a schema, as the published package does."""
    import pyarrow

    return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(schema)))


def opened(place: places.Place, entity: str) -> arrow_dataset.Dataset:
    """Open the data of an entity. Files and folders whose name begins with a dot are no part of it.

    With the declared schema, every column has its declared type in every file, also the columns that are partitions. Without one, pyarrow
    reads the types from the first file and from the names of the folders.
    """
    import pyarrow
    from pyarrow import dataset

    path = place.root / entity
    declared = place.declared(entity)
    if declared is None:
        return dataset.dataset(str(path), partitioning="hive", format="parquet", ignore_prefixes=["."])
    schema = decoded(declared)
    keys = partitions(path)
    fields = [schema.field(key) if key in schema.names else pyarrow.field(key, pyarrow.string()) for key in keys]
    for each in fields:
        if each.name not in schema.names:
            schema = schema.append(each)
    hive = dataset.partitioning(pyarrow.schema(fields), flavor="hive") if fields else None
    return dataset.dataset(str(path), schema=schema, partitioning=hive, format="parquet", ignore_prefixes=["."])


def partitions(path: Path) -> list[str]:
    """Return the names of the columns that the folders have, from the outermost to the innermost: `name=value`."""
    keys: list[str] = []
    folder = path
    for _ in range(DEPTH):
        below = [each for each in os.scandir(folder) if "=" in each.name and not each.name.startswith(".") and each.is_dir()]
        if not below:
            break
        keys.append(below[0].name.partition("=")[0])
        folder = Path(below[0].path)
    return keys
