"""Write the rows of a measurement as Parquet files with the method's schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import batches
from .failures import Failed

if TYPE_CHECKING:
    import pyarrow

GROUP_ROWS, GROUP_BYTES = 2**17, 2**24
"""Batches are put together until they have so much, because a file of many small groups is slow to read."""
FILE_BYTES = 2**28
"""Of one file, about; then the next one is begun."""


def write(output: Any, schema: pyarrow.Schema, folder: Path, name: str, function: Any) -> int:
    """Write batches, each after a check against the schema. There is always a file, also if there are no rows.

    Args:
        output: what the method's function returned; if it is a generator, the code runs here.
        schema: what the method declares.
        folder: for the files.
        name: the function's, for messages.
        function: the function itself.

    Returns:
        The number of rows.

    Raises:
        Failed: a batch does not fit, or Parquet cannot hold such a column.
    """
    files = _Files(schema, folder)
    try:
        for number, batch in enumerate(batches.produced(output, name), 1):
            files.add(batches.fitted(batch, schema, f"the {batches._ordinal(number)} batch of {name}"))
        files.flush()
    except Failed as error:
        error.place = error.place or batches.maker(output, function)
        raise
    finally:
        files.close()
    return files.rows


class _Files:
    """The files of one output. One is open at a time."""

    def __init__(self, schema: pyarrow.Schema, folder: Path) -> None:
        self._schema = schema
        self._folder = folder
        self._held: list[pyarrow.RecordBatch] = []
        self._held_rows = self._held_bytes = 0
        self.rows = 0
        self._number = 0
        self._open()

    def add(self, batch: pyarrow.RecordBatch) -> None:
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes
        if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        import pyarrow

        if not self._held_rows:
            return
        if self._sink.tell() > FILE_BYTES:
            self.close()
            self._open()
        self._writer.write_table(pyarrow.Table.from_batches(self._held, schema=self._schema))
        self.rows += self._held_rows
        self._held = []
        self._held_rows = self._held_bytes = 0

    def close(self) -> None:
        self._writer.close()
        self._sink.close()

    def _open(self) -> None:
        import pyarrow
        from pyarrow import parquet

        path = self._folder / f"part-{self._number}.parquet"
        self._number += 1
        self._sink = pyarrow.OSFile(str(path), "wb")
        try:
            self._writer = parquet.ParquetWriter(self._sink, self._schema)
        except pyarrow.ArrowNotImplementedError as error:
            raise Failed(f"the method's schema has a column that Parquet cannot hold: {error}") from error
