"""Checks the Parquet files of a measurement against the schema that its method declares. Blocking, in a `confined.Child`.

How a column is kept in a file (its encoding, the unit of its times) makes no difference; its values do. Several rows can have the same
`_index_`, also in the same replication: one for each response or each label, for example.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet

from dyff.adapters import arrow_schemas, file_ends, fitting, footers, partitions
from dyff.workflows import hostile_folders, trees

_BATCH_ROWS = 2**14
_BATCH_BYTES = 8 * 2**20
_REASON_CHARS = 300


class Request(msgspec.Struct, frozen=True):
    """What to check: files of the folder `root`, by their paths below its folder `below`. `schema`: base64. `required`: never null."""

    root: str
    below: str
    paths: list[str]
    schema: str
    required: list[str]


class Answer(msgspec.Struct, frozen=True):
    """`problem`: a sentence that names the file and what is wrong; None if all files fit. `rows`: of all files, if so."""

    rows: int = 0
    problem: str | None = None


def required(schema: pa.Schema, level: str) -> list[str]:
    """The columns that must be there and have no nulls, for a measurement of that level."""
    known = [name for name in (fitting.INDEX, fitting.REPLICATION) if name in schema.names]
    return list(dict.fromkeys([fitting.INDEX, *known])) if level == "Instance" else []


def serve(request: bytes) -> bytes:
    """Check what a `Request` in JSON names; returns an `Answer`."""
    asked = msgspec.json.decode(request, type=Request)
    try:
        answer = Answer(rows=_check(asked, fitting.declared(asked.schema)))
    except hostile_folders.Unfit as error:
        answer = Answer(problem=str(error))
    except MemoryError:  # Arrow's is one, too
        answer = Answer(problem="Reading its Parquet files needs too much memory. Write smaller row groups.")
    return msgspec.json.encode(answer)


def _check(asked: Request, declared: pa.Schema) -> int:
    """Returns the number of rows, or raises Unfit."""
    folder, rows = hostile_folders.Folder(Path(asked.root)), 0
    look = footers.Footers(declared, frozenset(partitions.by_path(asked.paths)), indices=False)
    for path in asked.paths:
        try:
            with folder.open(f"{asked.below}/{path}") as file:
                _check_footer(file, path, look)
                for batch in _batches(file):
                    rows += batch.num_rows
                    _check_batch(batch, declared, path, asked.required)
        except (MemoryError, hostile_folders.Unfit):
            raise
        except Exception as error:  # of whatever kind: hostile bytes are no Parquet file
            reason = str(error).partition("\n")[0][:_REASON_CHARS] or type(error).__name__
            raise _unfit(path, f"cannot be read: {reason}") from error
    return rows


def _check_footer(file: BinaryIO, path: str, look: footers.Footers) -> None:
    size = file.seek(0, 2)
    file.seek(max(0, size - file_ends.END_BYTES))
    tail = file.read(file_ends.END_BYTES)
    length = file_ends.length(tail) if len(tail) == file_ends.END_BYTES else 0
    if problem := file_ends.problem(tail, length, size):
        raise _unfit(path, problem)
    file.seek(size - length)
    if problems := look.look(path, file.read(length), size).problems:
        raise _unfit(path, "; ".join(problems))


def _batches(file: Any) -> Iterator[pa.RecordBatch]:
    """The rows, a few at a time. Texts stay dictionaries if they are stored so: few bytes of a file can be many of text."""
    file.seek(0)
    stored = pa.parquet.read_metadata(pa.PythonFile(file, mode="r")).schema.to_arrow_schema()
    texts = [field.name for field in stored if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    file.seek(0)
    source = pa.PythonFile(file, mode="r")
    with pa.parquet.ParquetFile(source, read_dictionary=texts, buffer_size=trees.SMALL_BYTES, pre_buffer=False) as parquet:
        most = min(_BATCH_ROWS, trees.rows_of(parquet, _BATCH_BYTES))
        yield from parquet.iter_batches(batch_size=most, use_threads=False)


def _check_batch(batch: pa.RecordBatch, declared: pa.Schema, path: str, required: list[str]) -> None:
    batch.validate(full=True)
    given = arrow_schemas.given(path, declared)
    for field in declared:
        must = field if field.name not in required else field.with_nullable(False)
        if field.name in batch.schema.names:
            stored = batch.column(field.name)
            if field.name in given and (problem := arrow_schemas.contradiction(stored, given[field.name], field.name)):
                raise _unfit(path, problem)
            where = _null(must, stored)
        else:
            value = given.get(field.name)
            where = None if must.nullable or (value is not None and value.is_valid) or not batch.num_rows else field.name
        if where is not None:
            raise _unfit(path, f"has rows without a value of {arrow_schemas.shown(where)}, which must not be null")


def _null(field: pa.Field[Any], found: Any, prefix: str = "") -> str | None:
    """The path of a field that is null although it must not be; None if there is none. `found`: the values of `field`."""
    name = f"{prefix}{field.name}"
    if not field.nullable and found.null_count:
        return name
    kinds: Any = pa.types
    if not _demands(field.type) or kinds.is_null(found.type):
        return None
    present = found.drop_null()
    if kinds.is_struct(field.type):
        return next(filter(None, (_null(inner, present.field(inner.name), f"{name}.") for inner in field.type)), None)
    return _null(field.type.value_field, present.flatten(), f"{name}.")


def _demands(kind: Any) -> bool:
    """Whether anything within values of this type must not be null. Of maps, only keys; Arrow itself demands that."""
    kinds: Any = pa.types
    if kinds.is_struct(kind):
        return any(not inner.nullable or _demands(inner.type) for inner in kind)
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        return not kind.value_field.nullable or _demands(kind.value_field.type)
    return False


def _unfit(path: str, problem: str) -> hostile_folders.Unfit:
    fix = "Yield record batches with the schema that the method declares in output.measurement.schema"
    return hostile_folders.Unfit(f"The output file {hostile_folders.shown(path)} {problem}. {fix}.")
