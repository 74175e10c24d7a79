"""What the footers of a dataset's Parquet files reveal before anyone reads a row. Pure.

The client asks before it uploads, and the server at finalize, in a bounded process (`dyff.api.footers`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from dyff.adapters import arrow_schemas, file_ends, partitions
from dyff.adapters.arrow_schemas import INDEX

MAX_SEEN = 500_000
"""Indices that are remembered while the files of a dataset are looked at: the smallest and the largest of each row group."""

MAX_GROUPS = 20_000
"""Row groups of a file whose statistics are looked at."""

_SIGNATURE_BYTES = 28
"""A footer in plain text of a file with encrypted columns ends with a signature of this size."""

_ENCRYPTED = "is an encrypted Parquet file, which cannot be read here"
_REASON_CHARS = 200
_OWN = "each row of the dataset needs an index of its own"


class Found(NamedTuple):
    """What a footer says. `problems`: ends of sentences. `is_listing`: the file only lists the rows of others, and has none of its own."""

    rows: int
    problems: list[str]
    is_listing: bool = False


def read(footer: bytes) -> Any:
    """Return the metadata in a footer.

    Raises:
        ArrowException, OSError, ValueError: it cannot be read.
    """
    return pa.parquet.read_metadata(pa.BufferReader(file_ends.MAGIC + footer))


def is_encrypted(metadata: Any, footer_bytes: int) -> bool:
    """Whether columns of a file are encrypted, although its footer is not. Arrow ends the process if such a column is looked at."""
    return bool(footer_bytes - file_ends.END_BYTES - metadata.serialized_size == _SIGNATURE_BYTES)


class Footers:
    """Looks at the files of one dataset, one after the other."""

    def __init__(self, declared: pa.Schema, by_path: frozenset[str], *, indices: bool = True) -> None:
        """`by_path`: columns that come from the path of at least one file. They are null for a file whose path does not give them.

        `indices`: whether to look at the statistics of indices; False if the indices themselves are read anyway.
        """
        self._declared, self._by_path, self._looks_at_indices = declared, by_path, indices
        self._seen: dict[int, str] = {}
        self._least: int | None = None
        self._most, self._counted = 0, 0

    def look(self, path: str, footer: bytes, size: int) -> Found:
        """Report on a file of `size` bytes. `footer`: up to the end of the file."""
        try:
            return self._look(path, footer, size)
        except Exception as error:  # of whatever kind: hostile bytes are no Parquet file
            reason = str(error).partition("\n")[0]
            if "decrypt" in reason.lower():
                return Found(0, [_ENCRYPTED])
            return Found(0, [f"cannot be read as a Parquet file ({reason[:_REASON_CHARS]})"])

    def _look(self, path: str, footer: bytes, size: int) -> Found:
        metadata = read(footer)
        if is_encrypted(metadata, len(footer)):
            return Found(0, [_ENCRYPTED])
        if is_listing(metadata):
            problem = "lists the rows of other files, and has none of its own; leave it out"
            return Found(0, [problem], is_listing=True)
        found, given = metadata.schema.to_arrow_schema(), partitions.given(path)
        listed = list(filter(None, [partitions.problem(path), _damage(metadata, size - len(footer))]))
        listed += arrow_schemas.differences(found, self._declared, given, self._by_path)
        listed += self._unfit(given)
        if not listed:  # otherwise the columns are not those that are meant
            listed += _contradictions(metadata, found, given, self._declared)
            listed += filter(None, [self._indices(path, metadata, given)] if self._looks_at_indices else [])
        return Found(metadata.num_rows, arrow_schemas.few(listed))

    def _unfit(self, given: dict[str, str | None]) -> list[str]:
        """The values in a path that are not of the declared type."""
        listed = []
        for name, text in given.items():
            position = self._declared.get_field_index(name)
            if position >= 0 and _value(text, self._declared.field(position).type) is None:
                wanted = arrow_schemas.type_text(self._declared.field(position).type)
                listed.append(f"the field {arrow_schemas.shown(name)} should be {wanted}, but is {(text or '')[:100]!r} in the path")
        return listed

    def _indices(self, path: str, metadata: Any, given: dict[str, str | None]) -> str | None:
        """What statistics show to be wrong with the indices of a file; None if they show nothing."""
        if INDEX in given:
            value = _value(given[INDEX], pa.int64())
            number = value.as_py() if value is not None else None
            return self._span(path, number, number, metadata.num_rows) if number is not None else f"has rows without an {INDEX}"
        place = _place(metadata, INDEX)
        for number in range(min(metadata.num_row_groups, MAX_GROUPS) if place is not None else 0):
            known = metadata.row_group(number).column(place).statistics
            if known is None:
                continue
            if known.has_null_count and known.null_count:
                return f"has {known.null_count} rows without an {INDEX}; {_OWN}"
            if known.has_min_max and (problem := self._span(path, known.min, known.max, metadata.row_group(number).num_rows)):
                return problem
        return None

    def _span(self, path: str, least: int, most: int, rows: int) -> str | None:
        """Note a group of rows with indices from `least` to `most`, which both occur. Returns what is wrong for certain."""
        if not rows:
            return None
        self._least = least if self._least is None else min(least, self._least)
        self._most = most if not self._counted else max(most, self._most)
        self._counted += rows
        for index in {least, most}:
            if index in self._seen:
                return f"has the {INDEX} {index} of {self._seen[index]!r} again; {_OWN}"
        if rows > most - least + 1:
            return f"has {rows} rows whose {INDEX} is from {least} to {most}, so some are there twice; {_OWN}"
        if self._counted > self._most - self._least + 1:
            known = f"with {self._counted} rows whose {INDEX} is from {self._least} to {self._most}"
            return f"is one of several files {known}, so some are there twice; {_OWN}"
        if len(self._seen) < MAX_SEEN:
            self._seen.update({least: path, most: path})
        return None


def _value(text: str | None, type_: pa.DataType) -> Any:
    """The value of a path; None if it is none of that type."""
    try:
        return arrow_schemas.value(text, type_)
    except pa.ArrowException:
        return None


def _edge_groups(metadata: Any) -> list[Any]:
    """The first and the last row group. What makes all of a file unreadable shows there."""
    last = metadata.num_row_groups - 1
    return [metadata.row_group(number) for number in sorted({0, last})] if last >= 0 else []


def is_listing(metadata: Any) -> bool:
    """Whether the data of a file are in others, as those of `_metadata`."""
    groups = _edge_groups(metadata)
    return bool(groups) and bool(groups[0].num_columns) and bool(groups[0].column(0).file_path)


def _damage(metadata: Any, data_bytes: int) -> str | None:
    """What makes the data of a file unreadable; None if nothing is known. `data_bytes`: what is before the footer."""
    for group in _edge_groups(metadata):
        for number in range(group.num_columns):
            chunk = group.column(number)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            if start < 0 or start + chunk.total_compressed_size > data_bytes:
                return "is a damaged Parquet file: a part of its data is missing"
            if chunk.compression != "UNCOMPRESSED" and not _is_known(chunk.compression):
                return f"is compressed with {chunk.compression}, which cannot be read here"
    return None


def _is_known(codec: Any) -> bool:
    try:
        return pa.Codec.is_available(codec.lower())
    except ValueError:
        return False


def _contradictions(metadata: Any, found: pa.Schema, given: dict[str, str | None], declared: pa.Schema) -> list[str]:
    """The columns that are in the file too and, by its statistics, have other values there than in the path."""
    listed = []
    for name in {*given}.intersection(found.names):
        place = _place(metadata, name)
        wanted = _value(given[name], declared.field(name).type) if name in declared.names else None
        if place is not None and wanted is not None and any(_excludes(group.column(place), wanted) for group in _edge_groups(metadata)):
            listed.append(f"the field {arrow_schemas.shown(name)} is {given[name]!r} in the path and something else in the file")
    return listed


def _excludes(chunk: Any, wanted: Any) -> bool:
    known = chunk.statistics
    if known is None or not known.has_min_max:
        return False
    value = wanted.as_py()
    try:
        return value is None or not known.min <= value <= known.max
    except TypeError:
        return False  # another type than in the file's metadata, as for half-precision numbers


def _place(metadata: Any, name: str) -> int | None:
    """The number of a column that is not nested; None if there is none."""
    schema = metadata.schema
    return next((n for n in range(len(schema)) if schema.column(n).path == name), None)
