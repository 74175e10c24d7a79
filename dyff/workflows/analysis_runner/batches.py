"""What a method yields, as record batches that have the declared schema."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .failures import Failed

if TYPE_CHECKING:
    import pyarrow

EXPECTED = "yield pyarrow RecordBatches (or Tables), or return one"


def produced(output: Any, name: str) -> Iterator[Any]:
    """Iterate over the batches that a function returned or yields. The code of a generator runs here.

    Args:
        output: what the function returned.
        name: the function's, for messages.

    Raises:
        Failed: it is nothing of the kind.
    """
    import pyarrow

    if output is None:
        raise Failed(f"{name} returned None; it must {EXPECTED}")
    if inspect.iscoroutine(output) or inspect.isasyncgen(output):
        if inspect.iscoroutine(output):
            output.close()
        raise Failed(f"{name} is an async function; it must be an ordinary one, and {EXPECTED}")
    if isinstance(output, (pyarrow.RecordBatch, pyarrow.Table)):
        output = [output]
    elif not isinstance(output, Iterable) or isinstance(output, (str, bytes, dict)) or hasattr(output, "columns"):
        raise Failed(f"{name} returned a {_kind(output)}; it must {EXPECTED}{_hint(output)}")
    for number, each in enumerate(output, 1):
        if isinstance(each, pyarrow.RecordBatch):
            yield each
        elif isinstance(each, pyarrow.Table):
            yield from each.to_batches()
        else:
            raise Failed(f"{name} yielded a {_kind(each)} as its {_ordinal(number)} value; it must {EXPECTED}{_hint(each)}")


def fitted(batch: pyarrow.RecordBatch, schema: pyarrow.Schema, what: str) -> pyarrow.RecordBatch:
    """Check a batch, and put its columns into the order of the schema.

    Args:
        batch: as the code made it.
        schema: as the method declares it.
        what: the batch, for messages.

    Raises:
        Failed: columns are missing, too many or of other types, or have nulls that the schema forbids.
    """
    import pyarrow

    _same_columns(batch.schema.names, schema, what)
    columns, wrong = [], []
    for field in schema:
        column = batch.column(field.name)
        if pyarrow.types.is_null(column.type) and not pyarrow.types.is_null(field.type):
            column = pyarrow.nulls(len(column), field.type)  # no value, so no type either
        elif not column.type.equals(field.type):
            wrong.append(f"{field.name} is {column.type}, not {field.type}")
            continue
        if not field.nullable and column.null_count:
            raise Failed(
                f"{what} does not fit the method's schema: the column {field.name} has {column.null_count} nulls, which it may not have"
            )
        columns.append(column)
    if wrong:
        raise Failed(f"{what} does not fit the method's schema: {'; '.join(wrong)}")
    try:
        batch = pyarrow.RecordBatch.from_arrays(columns, schema=schema)
        batch.validate(full=True)
    except pyarrow.ArrowException as error:
        raise Failed(f"{what} does not fit the method's schema: {error}") from error
    return batch


def maker(output: Any, function: Any) -> tuple[str, int, str] | None:
    """Return file, line and function that made a batch: where a generator waits, or else where the function begins."""
    frame = getattr(output, "gi_frame", None)
    if frame is not None:
        return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno, code.co_name)


def _same_columns(names: list[str], schema: pyarrow.Schema, what: str) -> None:
    from .loading import shown

    problems = []
    for said, found in (
        ("missing columns: ", set(schema.names) - set(names)),
        ("columns that are not declared: ", set(names) - set(schema.names)),
        ("columns that it has twice: ", {each for each in names if names.count(each) > 1} if len(set(names)) < len(names) else set()),
    ):
        if found:
            problems.append(said + shown(found))
    if problems:
        raise Failed(f"{what} does not fit the method's schema: {'; '.join(problems)}")


def _kind(value: Any) -> str:
    return type(value).__name__


def _hint(value: Any) -> str:
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return ", for instance pyarrow.RecordBatch.from_pylist(rows, schema=...)"
    return ", for instance pyarrow.Table.from_pandas(frame)" if _kind(value) == "DataFrame" else ""


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
