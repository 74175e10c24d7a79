"""Reads the indices of a dataset's local files: each row needs one of its own. Memory is bounded, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from dyff.adapters import arrow_schemas
from dyff.adapters.arrow_schemas import INDEX

MAX_AT_ONCE = 4 * 2**20
"""Indices in memory at the same time. With more rows, the files are read several times, each time for a part of the indices."""

_ROWS = 2**16
_ODD = (-7046029254386353131, -4658895280553007687)
"""Multipliers that spread indices over the parts, whatever their pattern."""

_SHIFT = 33

Files = Sequence[tuple[str, Path]]
"""Stored paths, and the files."""


def check(files: Files, declared: pa.Schema) -> None:
    """Read the columns that identify rows or that paths give too.

    Raises:
        ValueError: an index is missing or occurs twice, a file is damaged, or a column says something else than the path.
    """
    last, rows, ascending = None, 0, True
    for _, _, values in _indices(files, declared):
        if len(values):
            first = values[0].as_py()
            ascending = ascending and (last is None or first > last) and _ascends(values)
            last, rows = values[-1].as_py(), rows + len(values)
    if ascending:
        return
    parts = -(-rows // MAX_AT_ONCE)
    for part in range(parts):
        found = (_part(values, part, parts) for _, _, values in _indices(files, declared))
        if (index := _repeated(found)) is not None:
            raise ValueError(f"the {INDEX} {index} occurs twice: {_places(files, declared, index)}; each row needs an index of its own")


def _ascends(values: pa.Array[Any]) -> bool:
    return bool(pc.all(pc.greater(values[1:], values[:-1]), min_count=0).as_py())


def _part(values: pa.Array[Any], part: int, parts: int) -> pa.Array[Any]:
    """The indices of one of several parts, which are about equal, whatever the indices are."""
    if parts == 1:
        return values
    mixed = values.cast(pa.int64())
    for multiplier in _ODD:
        mixed = pc.multiply(pc.bit_wise_xor(mixed, pc.shift_right(mixed, _SHIFT)), multiplier)
    place = pc.bit_wise_and(pc.shift_right(mixed, _SHIFT), 2**30 - 1)
    return values.filter(pc.equal(pc.subtract(place, pc.multiply(pc.divide(place, parts), parts)), pa.scalar(part)))


def _repeated(found: Iterable[pa.Array[Any]]) -> int | None:
    """The smallest index that occurs twice; None if all are different."""
    kept = [each for each in found if len(each)]
    if not kept:
        return None
    joined = pa.concat_arrays(kept)
    kept.clear()
    ordered = joined.take(pc.sort_indices(joined))
    place = pc.index(pc.equal(ordered[1:], ordered[:-1]), pa.scalar(True)).as_py()
    return None if place < 0 else ordered[place].as_py()


def _places(files: Files, declared: pa.Schema, index: int) -> str:
    """Where an index is the first two times, for a message."""
    found: list[str] = []
    for path, row, values in _indices(files, declared):
        rows: list[Any] = pc.indices_nonzero(pc.equal(values, pa.scalar(index))).to_pylist()
        found += [f"in row {row + n} of {path!r}" for n in rows]
        if len(found) > 1:
            break
    return f"{' and '.join(found[:2])}, counted from 0"


def _indices(files: Files, declared: pa.Schema) -> Iterator[tuple[str, int, pa.Array[Any]]]:
    """Yield the indices of all rows, in order: the file's stored path, the number of the first row, and the values."""
    for path, local in files:
        row = 0
        try:
            for values in _of_file(path, local, declared):
                if values.null_count:
                    place = row + pc.index(pc.is_null(values), pa.scalar(True)).as_py()
                    raise ValueError(f"{path!r}: row {place}, counted from 0, has no {INDEX}")
                yield path, row, values
                row += len(values)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{path!r} is a damaged Parquet file: {reason[:200]}") from error


def _of_file(path: str, local: Path, declared: pa.Schema) -> Iterator[pa.Array[Any]]:
    given = arrow_schemas.given(path, declared)
    with pa.parquet.ParquetFile(local, pre_buffer=False) as file:
        names = [name for name in file.schema_arrow.names if name == INDEX or name in given]
        if not names and INDEX in given:
            yield pa.repeat(given[INDEX], min(2, file.metadata.num_rows))  # two show that it is not unique
            return
        for batch in file.iter_batches(batch_size=_ROWS, columns=names, use_threads=False):
            for name in given:
                if name in names and (problem := arrow_schemas.contradiction(batch.column(name), given[name], name)):
                    raise ValueError(f"{path!r} {problem}")
            yield pa.repeat(given[INDEX], batch.num_rows) if INDEX in given else batch.column(INDEX)
