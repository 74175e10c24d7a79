"""Finds rows of Parquet files by their index, from the statistics of row groups and the column of indices; and indices in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from dyff.adapters import partitions
from dyff.adapters.fitting import INDEX, REPLICATION
from dyff.api.samples import asked, remote

BATCH_ROWS = 1024
INDEX_ROWS = 2**16
BATCH_BYTES = 4 * 2**20
"""Rows that are decoded at a time, as the footer says how large they are."""

NEW_FOOTERS = 256
"""Footers that one request reads to find rows. The server remembers what they say, so the next one finds more."""

_OPEN = 4
"""Row groups that are kept open, so that what follows is read on from there."""


class Row(NamedTuple):
    """A row of a batch. `given`: the columns that the path of its file gives, as text."""

    batch: pa.RecordBatch
    at: int
    given: dict[str, str | None]

    def array(self, name: str) -> Any:
        """The value of a column as an array of length 1; None if the file does not have it."""
        place = self.batch.schema.get_field_index(name)
        return None if place < 0 else self.batch.column(place).slice(self.at, 1)

    def text(self, name: str) -> str | None:
        """The value of a column of texts."""
        array = self.array(name)
        if array is None:
            return self.given.get(name)
        value = array[0].as_py()
        return value if isinstance(value, str) else None


class _Group:
    """The rows of a row group, read from its beginning on."""

    def __init__(self, file: pa.parquet.ParquetFile, number: int, columns: list[str] | None) -> None:
        self._file, self._number, self._columns = file, number, columns
        group = file.metadata.row_group(number)
        average = max(1, group.total_byte_size // max(1, group.num_rows))
        self._rows = min(BATCH_ROWS, max(1, BATCH_BYTES // average))
        self._begin()

    def _begin(self) -> None:
        self._batches = self._file.iter_batches(self._rows, row_groups=[self._number], columns=self._columns, use_threads=False)
        self._batch: pa.RecordBatch | None = None
        self._start = self._end = 0

    def row(self, position: int) -> tuple[pa.RecordBatch, int]:
        """The batch with a row, and the row's place in it."""
        if position < self._start:
            self._begin()
        while self._batch is None or position >= self._end:
            self._batch = next(self._batches)
            self._start, self._end = self._end, self._end + self._batch.num_rows
        return self._batch, position - self._start


class _Indices:
    """The indices of a row group, read as far as they are needed."""

    def __init__(self, file: pa.parquet.ParquetFile, number: int, group: asked.Group) -> None:
        self._parts: list[tuple[int, Any, bool]] = []
        self._rows = 0
        self._rest = self._batches(file, number, group)

    @staticmethod
    def _batches(file: pa.parquet.ParquetFile, number: int, group: asked.Group) -> Iterator[Any]:
        rows, least, most = group
        if INDEX not in file.schema_arrow.names:  # then the path gives the same index to all rows
            yield pa.repeat(pa.scalar(least if least == most else None, pa.int64()), rows)
            return
        for batch in file.iter_batches(INDEX_ROWS, row_groups=[number], columns=[INDEX], use_threads=False):
            yield batch.column(0).cast(pa.int64())

    def positions(self, wanted: Sequence[int], *, unique: bool) -> Iterator[tuple[int, int]]:
        """Yield index and position of the rows that have one of these indices. `unique`: there is one row of each at most."""
        value_set, left = pa.array(wanted, pa.int64()), len(wanted)
        for start, part, is_sorted in self._each():
            low, high = 0, len(part)
            if is_sorted:
                low = bisect_left(part, wanted[0], key=lambda each: each.as_py())
                high = bisect_right(part, wanted[-1], lo=low, key=lambda each: each.as_py())
            near = part.slice(low, high - low)
            places = pc.indices_nonzero(pc.is_in(near, value_set=value_set))
            for index, place in zip(near.take(places).to_pylist(), places.to_pylist(), strict=True):
                yield index, start + low + place
                left -= 1
            if unique and left <= 0:
                return

    def _each(self) -> Iterator[tuple[int, Any, bool]]:
        yield from self._parts
        for part in self._rest:
            in_order = not part.null_count and bool(pc.all(pc.less_equal(part[:-1], part[1:]), min_count=0).as_py())
            self._parts.append((self._rows, part, in_order))
            self._rows += len(part)
            yield self._parts[-1]


class Lookup:
    """The rows of one table. `is_partial`: not all files were looked at."""

    def __init__(self, files: remote.Files, table: asked.Table, columns: Sequence[str] | None = None) -> None:
        """`columns`: those to read; None for all."""
        self.table, self.is_partial = table, False
        self._files, self._columns = files, columns
        self._indices: OrderedDict[tuple[int, int], _Indices] = OrderedDict()
        self._open: OrderedDict[tuple[int, int], _Group] = OrderedDict()
        self._new = 0

    def names(self) -> list[str]:
        """The columns of the first file."""
        for file in self.table.files[:1]:
            return list(self._files.metadata(file).schema.to_arrow_schema().names)
        return []

    def rows(self, wanted: Sequence[int]) -> dict[int, list[Row]]:
        """The rows with these indices, which are in order and each there once."""
        found: dict[int, list[Row]] = {}
        for file in self._candidates(wanted) if wanted else ():
            given = partitions.given(file.path)
            for number, (_, least, most) in enumerate(self._files.groups(file)):
                needed = wanted[bisect_left(wanted, least) : bisect_right(wanted, most)]
                for index, position in self._positions(file, number, needed) if needed else ():
                    batch, at = self._group(file, number).row(position)
                    found.setdefault(index, []).append(Row(batch, at, given))
            if self.table.unique and len(found) == len(wanted):
                break
        return found

    def _candidates(self, wanted: Sequence[int]) -> Iterator[asked.File]:
        if self.table.is_sorted:
            yield from between(self._files, self.table, wanted[0], wanted[-1])
            return
        unknown = []
        for file in self.table.files:
            if file.groups is None and file.number not in self._files.learned:
                unknown.append(file)
            elif any(least <= wanted[-1] and most >= wanted[0] for _, least, most in self._files.groups(file)):
                yield file
        for file in unknown:
            if self._new == NEW_FOOTERS:
                self.is_partial = True
                return
            self._new += 1
            yield file

    def _group(self, file: asked.File, number: int) -> _Group:
        key = (file.number, number)
        if key not in self._open:
            opened = self._files.open(file)
            names = None if self._columns is None else [name for name in opened.schema_arrow.names if name in self._columns]
            self._open[key] = _Group(opened, number, names)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]

    def _positions(self, file: asked.File, number: int, wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The rows with these indices: index and position in the row group."""
        key = (file.number, number)
        if key not in self._indices:
            self._indices[key] = _Indices(self._files.open(file), number, self._files.groups(file)[number])
            while len(self._indices) > _OPEN:
                self._indices.popitem(last=False)
        self._indices.move_to_end(key)
        yield from self._indices[key].positions(wanted, unique=self.table.unique)


def between(files: remote.Files, table: asked.Table, first: int, last: int) -> Iterator[asked.File]:
    """The files of a sorted table that can have indices from `first` to `last`. It reads the footers of few others."""
    low, high = 0, len(table.files)
    while low < high:
        middle = (low + high) // 2
        groups = files.groups(table.files[middle])
        if groups and groups[-1][2] < first:
            low = middle + 1
        else:
            high = middle
    for file in table.files[low:]:
        groups = files.groups(file)
        if groups and groups[0][1] > last:
            return
        yield file


def keys(files: remote.Files, table: asked.Table, start: int) -> Iterator[tuple[int, str]]:
    """The indices from `start` on, each with its replication, of a sorted table."""
    for file in between(files, table, start, 2**63 - 1):
        opened = files.open(file)
        for number, (_, _, most) in enumerate(files.groups(file)):
            if most < start:
                continue
            names = [name for name in (INDEX, REPLICATION) if name in opened.schema_arrow.names]
            for batch in opened.iter_batches(BATCH_ROWS, row_groups=[number], columns=names, use_threads=False):
                indices = batch.column(INDEX).to_pylist()
                replications = batch.column(REPLICATION).to_pylist() if REPLICATION in names else [""] * len(indices)
                for index, replication in zip(indices, replications, strict=True):
                    if index is not None and index >= start:
                        yield index, replication or ""
