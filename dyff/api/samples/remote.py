"""Parquet files that are read through the server, a range of bytes at a time."""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet

from dyff.adapters import arrow_schemas, file_ends, footers, partitions
from dyff.api.samples import asked
from dyff.kernel import seekable

Read = Callable[[int, int, int], bytes]
"""From the number of a file, a start and an end to its bytes."""

TAIL_BYTES = 64 * 2**10
"""The end of a file that is read first: in it is the footer, and often all of the file."""

BLOCK_BYTES = 256 * 2**10
"""The least that is read at a time."""

_BLOCKS = 32
"""Of a file, blocks that are remembered: Arrow reads several columns at a time, and some of them twice."""

_ALL = (-(2**63), 2**63 - 1)


class Files:
    """Opens files, and knows their row groups."""

    def __init__(self, read: Read, *, careful: bool = False) -> None:
        """`read`: from the server. `careful`: texts stay dictionaries if they are stored so, since few bytes of a file can be many of text.

        Where they are not stored so, this takes ten times as long.
        """
        self._read, self._careful = read, careful
        self._blocks: dict[int, list[tuple[int, bytes]]] = {}
        self._metadata: dict[int, pa.parquet.FileMetaData] = {}
        self.learned: dict[int, tuple[asked.Group, ...]] = {}

    def metadata(self, file: asked.File) -> pa.parquet.FileMetaData:
        """The footer of a file.

        Raises:
            ValueError, ArrowException: it is no Parquet file, or is gone.
        """
        if file.number not in self._metadata:
            tail = self._read(file.number, max(0, file.size - TAIL_BYTES), file.size)
            length = file_ends.length(tail) if len(tail) >= file_ends.END_BYTES else 0
            if problem := file_ends.problem(tail, length, file.size):
                raise ValueError(f"{file.path[:200]!r} {problem}")
            if length > len(tail):
                tail = self._read(file.number, file.size - length, file.size)
            metadata = footers.read(tail[-length:])
            if footers.is_encrypted(metadata, length):
                raise ValueError(f"{file.path[:200]!r} is an encrypted Parquet file, which cannot be read here")
            self._metadata[file.number], self._blocks[file.number] = metadata, [(file.size - len(tail), tail)]
        return self._metadata[file.number]

    def groups(self, file: asked.File) -> tuple[asked.Group, ...]:
        """The row groups of a file, from its footer if they are not known."""
        known = file.groups or self.learned.get(file.number)
        if known is None:
            metadata = self.metadata(file)
            given = _given(file.path)
            groups = (_group(metadata, number, given) for number in range(metadata.num_row_groups))
            known = self.learned[file.number] = tuple(groups)
        return known

    def open(self, file: asked.File) -> pa.parquet.ParquetFile:
        """Open a file."""
        metadata = self.metadata(file)
        schema = metadata.schema.to_arrow_schema() if self._careful else ()
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
        source = pa.PythonFile(_Remote(self._read, file, self._blocks[file.number]), mode="r")
        return pa.parquet.ParquetFile(source, metadata=metadata, read_dictionary=texts, buffer_size=BLOCK_BYTES, pre_buffer=False)


def _given(path: str) -> int | None:
    """The index of all rows of a file, if its path has one."""
    text = partitions.given(path).get(arrow_schemas.INDEX)
    return int(text) if text is not None and re.fullmatch("-?[0-9]{1,19}", text) else None


def _group(metadata: pa.parquet.FileMetaData, number: int, given: int | None) -> asked.Group:
    group = metadata.row_group(number)
    if given is not None:
        return (group.num_rows, given, given)
    for place in range(group.num_columns):
        chunk = group.column(place)
        if chunk.path_in_schema == arrow_schemas.INDEX:
            known = chunk.statistics
            if known is not None and known.has_min_max and isinstance(known.min, int) and isinstance(known.max, int):
                return (group.num_rows, known.min, known.max)
    return (group.num_rows, *_ALL)


class _Remote(seekable.Ranged):
    """A file of the server. Small reads that follow each other are one. `blocks`: what was read already, by where it begins."""

    def __init__(self, read: Read, file: asked.File, blocks: list[tuple[int, bytes]]) -> None:
        super().__init__(file.size)
        self._read, self._file, self._blocks = read, file, blocks

    def read(self, size: int = -1) -> bytes:
        start = self._position
        end = self._file.size if size < 0 else min(start + size, self._file.size)
        if start >= end:
            return b""
        self._position = end
        for first, data in self._blocks:
            if first <= start and end <= first + len(data):
                return data[start - first : end - first]
        return self._fetch(start, end)

    def _fetch(self, start: int, end: int) -> bytes:
        last = min(max(end, start + BLOCK_BYTES), self._file.size)
        data = self._read(self._file.number, start, last)
        if len(data) < last - start:
            raise OSError(f"{self._file.path[:200]!r} is not there any more")
        if len(data) <= BLOCK_BYTES:
            self._blocks.append((start, data))
            if len(self._blocks) > _BLOCKS:
                del self._blocks[1]  # the first is the end of the file
        return data[: end - start]
