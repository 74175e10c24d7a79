"""Trees of Parquet files in the object store, read in small batches with Arrow. Works with every kind of store.

Arrow's threads reach the store through the event loop (with a portal), so do not call the blocking functions in the event
loop's own thread: use `anyio.to_thread`.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from anyio import from_thread

from dyff.adapters import arrow_schemas, partitions, values
from dyff.kernel import seekable
from dyff.objects import manifests, port

SMALL_BYTES = 2**20
"""Objects up to this size are fetched whole: reading their footer and columns separately would take several calls."""

READ_ERRORS = (pa.ArrowException, OSError)
"""What Arrow raises for files that are damaged or missing."""


class File(msgspec.Struct, frozen=True):
    """A file of a dataset. `path`: unique; its partitions are read from it. `key`: the object with its bytes."""

    path: str
    key: str
    size_bytes: int


def stored(found: Iterable[port.ObjectInfo]) -> list[File]:
    """Objects as files with their keys as paths."""
    return [File(each.key, each.key, each.size_bytes) for each in found]


def listed(artifacts: Iterable[manifests.Artifact]) -> list[File]:
    """The files that a manifest lists."""
    return [File(each.path, each.key, each.size) for each in artifacts]


async def objects(store: port.Objects, root: str) -> list[port.ObjectInfo]:
    """List the data objects below `root`, in order of their keys. Files and directories that begin with a dot are not data."""
    found = [info async for info in store.list(root)]
    return [info for info in found if not any(part.startswith(".") for part in info.key.removeprefix(root).split("/"))]


class Reader:
    """Opens Parquet files of the store as Arrow datasets."""

    def __init__(self, store: port.Objects, portal: from_thread.BlockingPortal) -> None:
        """Use `reader` to make one."""
        self._store, self._portal = store, portal

    def open(self, files: Sequence[File], schema: pa.Schema | None = None) -> pa.dataset.Dataset:
        """Open these files as a dataset. `schema`: None for that of the first file, with the partitions in its path. Blocking.

        Raises:
            READ_ERRORS: a file is not Parquet.
        """
        if not files:
            return pa.dataset.dataset(pa.table([] if schema is None else schema.empty_table(), schema=schema or pa.schema([])))
        by_path = {each.path: each for each in files}
        filesystem = pa.fs.PyFileSystem(_Handler(self._store, self._portal, by_path))
        partitioning = "hive" if schema is None else None
        try:
            return pa.dataset.dataset(list(by_path), schema=schema, filesystem=filesystem, format="parquet", partitioning=partitioning)
        except pa.ArrowInvalid as error:
            with filesystem.open_input_file(files[0].path) as source, parquet_file(source) as file:
                for name, count in values.repeated(file.schema_arrow.names):
                    raise pa.ArrowInvalid(f"{files[0].path}: {values.twice('column', name, count)}") from error
            raise

    def rows(self, files: Sequence[File], declared: pa.Schema | None) -> pa.dataset.Dataset:
        """Open the files of a dataset for `batches`, with the columns that were declared. Blocking.

        Columns that only paths give, which nobody declared, come after them. `declared`: None if that is not known.

        Raises:
            READ_ERRORS: a file is not Parquet.
        """
        if declared is None:
            return self.open(files)
        given = partitions.by_path(each.path for each in files)
        more = [pa.field(name, arrow_schemas.inferred(texts)) for name, texts in given.items() if name not in declared.names]
        return self.open(files, pa.schema([*declared, *more]))


@asynccontextmanager
async def reader(store: port.Objects) -> AsyncIterator[Reader]:
    """Yield a reader. The datasets that it opens can be used until the end of the block."""
    async with from_thread.BlockingPortal() as portal:
        yield Reader(store, portal)


def batches(
    dataset: pa.dataset.Dataset, rows: int, names: list[str] | None = None, *, size_bytes: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset that `Reader.open` returned, in order, at most `rows` at a time. Blocking.

    `size_bytes`: limits the size of a batch, as estimated from the file's metadata; None for no limit. A page of a column is always
    read whole, and Arrow by default writes pages of 1,024 rows, however large they are.

    Little more than one batch is in memory, whatever the size of the files and their row groups. Arrow's own scanner of
    datasets decodes whole row groups: for a file of 100 MB it took 250 MB, this function 30 MB.

    `names`: of columns; None for all, including those of the partitions. A column has the type that it has in its
    file, which differs from the schema's only in how values are kept, such as the unit of times. So no value is changed.

    Raises:
        KeyError: a column does not exist.
        READ_ERRORS: a file is damaged.
    """
    schema = dataset.schema if names is None else pa.schema([dataset.schema.field(name) for name in names])
    for fragment in dataset.get_fragments():
        if not isinstance(fragment, pa.dataset.ParquetFileFragment):
            continue  # the empty table of a dataset without files
        partition = arrow_schemas.given(fragment.path, schema)
        with fragment.filesystem.open_input_file(fragment.path) as source, parquet_file(source) as file:
            stored = [name for name in schema.names if name in file.schema_arrow.names]
            most = rows if size_bytes is None else min(rows, rows_of(file, size_bytes))
            for batch in file.iter_batches(batch_size=most, columns=stored, use_threads=False):
                yield _conformed(batch, schema, partition, fragment.path)


def rows_of(file: pa.parquet.ParquetFile, size_bytes: int) -> int:
    """How many rows of the file fit in `size_bytes`, as its metadata says; at least one."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1.0)
    return max(1, int(size_bytes / max(1.0, largest)))


def parquet_file(source: pa.NativeFile, int96_unit: str | None = None) -> pa.parquet.ParquetFile:
    """Open a file with a small read buffer: by default Arrow fetches whole columns first.

    `int96_unit`: of the old times of 96 bits; None for nanoseconds.
    """
    return pa.parquet.ParquetFile(source, buffer_size=SMALL_BYTES, pre_buffer=False, coerce_int96_timestamp_unit=int96_unit)


def _conformed(batch: pa.RecordBatch, schema: pa.Schema, partition: dict[str, Any], path: str) -> pa.RecordBatch:
    """The columns of `schema`: from the partition, from the file, or null if neither has the column.

    Raises:
        ArrowInvalid: both have it, and do not agree.
    """
    found: list[pa.Array[Any]] = []
    for field in schema:
        stored = batch.column(field.name) if field.name in batch.schema.names else None
        if field.name in partition:
            if stored is not None and (problem := arrow_schemas.contradiction(stored, partition[field.name], field.name)):
                raise pa.ArrowInvalid(f"{path!r} {problem}")
            found.append(pa.repeat(partition[field.name], batch.num_rows))
        elif stored is None:
            found.append(pa.nulls(batch.num_rows, field.type))
        else:
            found.append(stored if arrow_schemas.same(stored.type, field.type) else stored.cast(field.type))
    return pa.RecordBatch.from_arrays(found, names=schema.names)


class _Handler(pa.fs.FileSystemHandler):
    """Arrow's interface to the store: only what is needed to read known files."""

    def __init__(self, store: port.Objects, portal: from_thread.BlockingPortal, files: dict[str, File]) -> None:
        """`files`: by path."""
        self._store, self._portal, self._files = store, portal, files

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    __hash__ = object.__hash__

    def get_type_name(self) -> str:
        return "dyff-objects"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: str | list[str]) -> list[pa.fs.FileInfo]:
        asked = [paths] if isinstance(paths, str) else paths
        return [pa.fs.FileInfo(path, pa.fs.FileType.File, size=self._files[path].size_bytes) for path in asked]

    def open_input_file(self, path: str) -> pa.NativeFile:
        file = self._files[path]
        if file.size_bytes <= SMALL_BYTES:
            return pa.BufferReader(self._portal.call(self._store.get, file.key))
        return pa.PythonFile(_Object(self._store, self._portal, file.key, file.size_bytes), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def get_file_info_selector(self, selector: pa.fs.FileSelector) -> list[pa.fs.FileInfo]:
        raise _read_only()

    def create_dir(self, path: str, recursive: bool) -> None:
        raise _read_only()

    def delete_dir(self, path: str) -> None:
        raise _read_only()

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise _read_only()

    def delete_root_dir_contents(self) -> None:
        raise _read_only()

    def delete_file(self, path: str) -> None:
        raise _read_only()

    def move(self, src: str, dest: str) -> None:
        raise _read_only()

    def copy_file(self, src: str, dest: str) -> None:
        raise _read_only()

    def open_output_stream(self, path: str, metadata: dict[str, str]) -> pa.NativeFile:
        raise _read_only()

    def open_append_stream(self, path: str, metadata: dict[str, str]) -> pa.NativeFile:
        raise _read_only()


def _read_only() -> io.UnsupportedOperation:
    return io.UnsupportedOperation("this view of the object store reads known files, nothing else")


class _Object(seekable.Ranged):
    """An object as a readable file."""

    def __init__(self, store: port.Objects, portal: from_thread.BlockingPortal, key: str, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._store, self._portal, self._key = store, portal, key

    def read(self, size: int = -1) -> bytes:
        end = self._size_bytes if size < 0 else min(self._position + size, self._size_bytes)
        data = self._portal.call(_range, self._store, self._key, self._position, end) if self._position < end else b""
        self._position += len(data)
        return data


async def _range(store: port.Objects, key: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in store.stream(key, start=start, end=end)])
