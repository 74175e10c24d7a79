"""Where a value is in a dataset, for messages that name the file and the row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from dyff.workflows import trees


def find(dataset: pa.dataset.Dataset, column: str, value: Any, most: int) -> list[tuple[str, int]]:
    """Return where a value is in a column: the path of the file and the number of the row, from 0; at most `most` places. Blocking.

    `value`: an Arrow scalar of the column's type.

    Raises:
        KeyError: the column does not exist.
        READ_ERRORS (of `trees`): a file is damaged.
    """
    found: list[tuple[str, int]] = []
    schema = pa.schema([dataset.schema.field(column)])
    for fragment in dataset.get_fragments():
        one = pa.dataset.FileSystemDataset([fragment], schema, fragment.format, fragment.filesystem)
        row = 0
        for batch in trees.batches(one, 2**16, [column]):
            rows: list[Any] = pc.indices_nonzero(pc.equal(batch.column(0), value)).to_pylist()
            found += [(fragment.path, row + place) for place in rows]
            row += batch.num_rows
            if len(found) >= most:
                return found[:most]
    return found
