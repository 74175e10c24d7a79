"""The rows of a dataset as JSON values, one after the other, with a bound on the bytes in memory whatever a file contains.

A file of 10 KiB can have 2,000 cells of 5 MB each, because equal values are stored once, and nothing in the file says how large the next
row will be. So as many rows are read at once as surely fit, which in large files is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from dyff.adapters import arrow_schemas, columns, sendable, sizes, values
from dyff.adapters.fields import Json
from dyff.adapters.fitting import INDEX
from dyff.workflows import trees

MAX_ROW_BYTES = 128 * 2**20
"""A row that takes more as values of Python is not converted."""

BYTES_AT_ONCE = 8 * 2**20
"""The bound of several rows that are read at once, as values of Python. One row alone can be larger."""

_ROWS_AT_ONCE = 256
_JOINED_BYTES = 2**17
"""Of rows that are converted together, as Arrow has them. As values of Python they are at most 64 times as large, usually three times."""

_VALUE_BYTES = 72
"""What the smallest values take, as an upper bound."""

_SECOND = len("2024-02-29T13:05:00")
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


class Row(msgspec.Struct, frozen=True):
    """A row. `index`: of the column `_index_`, if it is a whole number. `problem`: why the row cannot be sent, else None."""

    index: Any
    values: Json
    problem: str | None = None


def wanted(schema: pa.Schema, pipeline: Iterable[Json]) -> list[str]:
    """Return the names of the columns that a pipeline uses.

    If it uses one that does not exist, these are all that it does not drop, because its error lists what there is.
    """
    used, others, gone = columns.used(pipeline)
    names = dict.fromkeys(schema.names)
    return [name for name in names if name not in gone] if others or not used <= names.keys() else [name for name in names if name in used]


def read(dataset: pa.dataset.Dataset, names: list[str]) -> Iterator[Row]:
    """Yield the rows of a dataset that `trees.Reader.open` returned, in order, with these columns. Blocking.

    A value that cannot be sent exactly, or a row that is too large, is a row with a problem. A page of a column is always read whole.

    Raises:
        READ_ERRORS (of `trees`): a file is damaged.
    """
    for fragment in dataset.get_fragments():
        if isinstance(fragment, pa.dataset.ParquetFileFragment):  # not so for the empty table of a dataset without files
            yield from _of(fragment, dataset.schema, names)


def _of(fragment: pa.dataset.ParquetFileFragment, schema: pa.Schema, names: list[str], unit: str | None = None) -> Iterator[Row]:
    """The rows of a file. `unit`: of times that are stored as INT96; None for nanoseconds or microseconds, whichever is right."""
    partition = arrow_schemas.given(fragment.path, schema)
    with fragment.filesystem.open_input_file(fragment.path) as source, trees.parquet_file(source, unit) as file:
        table = _Table(schema, file.schema_arrow, partition, names)
        leaves = [(number, leaf) for number in range(file.metadata.num_columns) if table.has(leaf := file.schema.column(number))]
        is_int96 = unit is None and any(leaf.physical_type == "INT96" for _, leaf in leaves)
        wide = _of(fragment, schema, names, "us") if is_int96 else None
        for group in range(file.metadata.num_row_groups):
            most = _rows_at_once(file.metadata.row_group(group), leaves)
            batches = file.iter_batches(batch_size=most, row_groups=[group], columns=table.stored, use_threads=False)
            for batch in batches if table.expands else _joined(batches):
                table.compare(batch, fragment.path)
                for row in table.rows(batch):
                    yield row if wide is None else _right(row, next(wide))


def _right(row: Row, wide: Row) -> Row:
    """A row with times from INT96, which Arrow reads in nanoseconds (`row`) or microseconds (`wide`).

    Nanoseconds silently begin again in 2262, so a time that is not in the same second in both is right in microseconds.
    """
    if row.problem or wide.problem:
        return row if row.problem else wide
    return row if row == wide else Row(row.index, _right_value(row.values, wide.values))


def _right_value(value: Any, wide: Any) -> Any:
    if isinstance(value, dict):
        return {name: _right_value(each, wide[name]) for name, each in value.items()}
    if isinstance(value, list):
        return [_right_value(each, other) for each, other in zip(value, wide, strict=True)]
    return wide if isinstance(value, str) and value[:_SECOND] != wide[:_SECOND] else value


def _rows_at_once(group: Any, leaves: list[tuple[int, Any]]) -> int:
    """How many rows of a row group surely fit in `BYTES_AT_ONCE`; at least one.

    No value can have more bytes than all that is stored of its column, and a row not more values than the column.
    """
    bound = 1
    for number, leaf in leaves:
        chunk = group.column(number)
        fixed = leaf.length if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else _WIDTHS.get(leaf.physical_type)
        value_bytes = max(0, chunk.total_uncompressed_size) if fixed is None else fixed
        bound += (max(1, chunk.num_values) if leaf.max_repetition_level else 1) * (3 * value_bytes + _VALUE_BYTES)
    return min(_ROWS_AT_ONCE, max(1, BYTES_AT_ONCE // bound))


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join small batches, because converting rows together takes a tenth of the time. Not for types that expand."""
    held, size_bytes = list[pa.RecordBatch](), 0
    for batch in batches:
        more = batch.get_total_buffer_size()
        if held and (size_bytes + more > _JOINED_BYTES or len(held) == _ROWS_AT_ONCE):
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, size_bytes = [], 0
        held.append(batch)
        size_bytes += more
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


class _Column:
    """How one column of a file is converted. `type`: that of the dataset, to which values of another form are cast first."""

    def __init__(self, name: str, stored: pa.DataType, declared: pa.DataType) -> None:
        self.name, self._type = name, None if sendable.form(stored) == sendable.form(declared) else declared
        self._convert = values.converter(stored if self._type is None else self._type)
        self.expands = sizes.can_expand(stored)

    def size_of(self, array: Any) -> int:
        """The bytes of the values, about."""
        return sizes.of(array, expands=self.expands)

    def of(self, array: Any) -> list[Any]:
        """The JSON values. Raises `Unsendable`."""
        if self._type is not None:
            try:
                array = array.cast(self._type)
            except (pa.ArrowException, ValueError) as error:
                raise values.Unsendable(f"it is not of the type {values.named(self._type)} that the dataset declares: {error}") from error
        try:
            return self._convert(array)
        except (pa.ArrowException, OverflowError, RecursionError, UnicodeError) as error:
            raise values.Unsendable(str(error) or type(error).__name__) from error


class _Table:
    """Converts the rows of one file. `stored`: the columns to read from it. `expands`: see `sizes.can_expand`."""

    def __init__(self, schema: pa.Schema, found: pa.Schema, partition: dict[str, Any], names: list[str]) -> None:
        """`schema`: of the dataset. `found`: of the file. `partition`: scalars from the file's path. `names`: of the columns to return."""
        self._names = names
        self._twice = {name: partition[name] for name in names if name in partition and name in found.names}
        self._constant: dict[str, Any] = {}
        self._problem: str | None = None
        self._columns: list[_Column] = []
        for name in dict.fromkeys([INDEX, *names]):
            self._constant[name] = None
            try:
                self._add(name, schema, found, partition)
            except values.Unsendable as error:
                self._problem = self._problem or _about(name, error)
        self.stored = [*(column.name for column in self._columns), *self._twice]
        self.expands = any(column.expands for column in self._columns)

    def _add(self, name: str, schema: pa.Schema, found: pa.Schema, partition: dict[str, Any]) -> None:
        count = max(len(schema.get_all_field_indices(name)), len(found.get_all_field_indices(name)))
        if count > 1:
            raise values.Unsendable(values.twice("column", name, count))
        if name in partition:
            [self._constant[name]] = values.converter(partition[name].type)(pa.repeat(partition[name], 1))
        elif name in found.names and name in schema.names:
            self._columns.append(_Column(name, found.field(name).type, schema.field(name).type))
            del self._constant[name]

    def has(self, leaf: Any) -> bool:
        """Whether a column of Parquet belongs to one of those to read."""
        return any(leaf.path == name or leaf.path.startswith(f"{name}.") for name in self.stored)

    def compare(self, batch: pa.RecordBatch, path: str) -> None:
        """Compare the columns that file and path both have.

        Raises:
            ArrowInvalid: they do not agree.
        """
        for name, given in self._twice.items():
            if problem := arrow_schemas.contradiction(batch.column(name), given, name):
                raise pa.ArrowInvalid(f"{path!r} {problem}")

    def rows(self, batch: pa.RecordBatch) -> Iterator[Row]:
        """The rows of a batch. If a value cannot be sent, they are converted one by one."""
        size_bytes = sum(column.size_of(batch.column(column.name)) for column in self._columns)
        if batch.num_rows > 1 and (size_bytes > MAX_ROW_BYTES or self._problem):
            yield from self._one_by_one(batch)
            return
        if self._problem or size_bytes > MAX_ROW_BYTES:
            too_large = f"the row takes about {size_bytes} bytes in memory, and at most {MAX_ROW_BYTES} can be sent: make it smaller"
            yield Row(self._index(batch), {}, self._problem or too_large)
            return
        try:
            found = {column.name: _named(column, batch) for column in self._columns}
        except values.Unsendable as error:
            if batch.num_rows > 1:
                yield from self._one_by_one(batch)
            else:
                yield Row(self._index(batch), {}, error.reason)
            return
        count = batch.num_rows
        lists = [found[name] if name in found else [self._constant[name]] * count for name in self._names]
        indices = found[INDEX] if INDEX in found else [self._constant[INDEX]] * count
        for index, row in zip(indices, zip(*lists, strict=True) if lists else [()] * count, strict=True):
            yield Row(index, dict(zip(self._names, row, strict=True)))

    def _one_by_one(self, batch: pa.RecordBatch) -> Iterator[Row]:
        for place in range(batch.num_rows):
            yield from self.rows(batch.slice(place, 1))

    def _index(self, batch: pa.RecordBatch) -> Any:
        """The index of a single row."""
        for column in self._columns:
            if column.name == INDEX:
                return column.of(batch.column(INDEX))[0]
        return self._constant.get(INDEX)


def _named(column: _Column, batch: pa.RecordBatch) -> list[Any]:
    try:
        return column.of(batch.column(column.name))
    except values.Unsendable as error:
        raise values.Unsendable(_about(column.name, error)) from error


def _about(name: str, error: values.Unsendable) -> str:
    return f"the column {name + error.place!r} cannot be sent: {error.reason}"
