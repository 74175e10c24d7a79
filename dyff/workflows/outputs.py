"""The outputs of an evaluation: their schema, and the files that a run writes."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections import deque
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import anyio.to_thread
import pyarrow as pa
import pyarrow.parquet

from dyff.kernel import backoff, errors, ids
from dyff.objects import port
from dyff.workflows import background, endings, failures, space
from dyff.workflows.items import INDEX, REPLICATION, Call

RESPONSES, RESPONSE_INDEX = "responses", "_response_index_"
FLUSH_INTERVAL_S = 3.0
_PUT_ATTEMPTS = 6
_FILE_BYTES = 8 * 2**20
"""The size of the rows as JSON. As Python objects they need several times as much."""

Row = dict[str, Any]
_UNFIT = (pa.ArrowException, ArithmeticError, TypeError, ValueError)
"""What Arrow raises for a value that does not fit a column."""


def schema(encoded: str) -> pa.Schema:
    """Return the schema of the outputs, from an interface's `arrowSchema`.

    A schema with the columns of an output is used as it is. A schema of responses alone is completed to the published
    form: `_replication_`, `_index_`, `responses` (a list of structs that begin with `_response_index_`).

    Raises:
        Misconfigured: it is not an Arrow schema.
    """
    try:
        given = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded, validate=True)))
    except (binascii.Error, *_UNFIT, OSError) as error:
        raise errors.Misconfigured(f"interface.outputSchema.arrowSchema is not the base64 of an Arrow schema: {error}") from error
    if {INDEX, REPLICATION, RESPONSES} <= set(given.names):
        return given
    numbered = given if RESPONSE_INDEX in given.names else given.insert(0, pa.field(RESPONSE_INDEX, pa.int64()))
    response = pa.struct([pa.field(name, kind) for name, kind in zip(numbered.names, numbered.types, strict=True)])
    columns: dict[str, pa.DataType] = {REPLICATION: pa.string(), INDEX: pa.int64(), RESPONSES: pa.list_(response)}
    return pa.schema(columns)


def row(call: Call, responses: list[Any] | None, fields: frozenset[str]) -> Row:
    """Return the output row for a call. `responses`: None if the service refused the item and the policy is to continue.

    `fields`: the names of a response's fields in the schema, without `_response_index_`.

    Raises:
        Ending: a response is not an object, or has none of the schema's fields.
    """
    numbered = None if responses is None else [_numbered(call, place, response, fields) for place, response in enumerate(responses)]
    return {INDEX: call.index, REPLICATION: call.replication, RESPONSES: numbered}


def response_fields(output: pa.Schema) -> frozenset[str]:
    """Return the names of a response's fields in the schema of the outputs, without `_response_index_`.

    Raises:
        Misconfigured: `responses` is not a list of structs.
    """
    kind = output.field(RESPONSES).type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        raise errors.Misconfigured(f"interface.outputSchema: the column {RESPONSES} must be a list of structs, not {kind}")
    return frozenset(field.name for field in kind.value_type) - {RESPONSE_INDEX}


def _numbered(call: Call, place: int, response: Any, fields: frozenset[str]) -> Row:
    if not isinstance(response, dict) or (fields and fields.isdisjoint(response)):
        known = ", ".join(sorted(fields))
        what = f"has the fields {', '.join(map(repr, response))}" if isinstance(response, dict) else f"is {str(response)[:100]!r}"
        message = f"A response to {call} {what}, and none of the output schema's ({known}). Fix the outputPipeline or the outputSchema."
        raise endings.Ending(endings.OUTPUT_ERROR, message)
    return {**response, RESPONSE_INDEX: place}  # always numbered by the client, even if the service sends numbers


class Outputs:
    """Collects rows and stores them in Parquet files. A file has at most `batch_size` rows and is durable once it is written.

    Files are written when they are full, by rows or by bytes, and every few seconds, so that little is lost if the run is
    killed. Every run uses new file names, so a restarted run overwrites nothing. The reasons why items have no responses are
    stored in separate files, before the rows.
    """

    def __init__(self, store: port.Objects, prefix: str, errors_prefix: str, output: pa.Schema, batch_size: int) -> None:
        """`prefix`, `errors_prefix`: the prefixes of the files' keys, with the final slash."""
        self._store, self._prefix, self._errors_prefix = store, prefix, errors_prefix
        self._schema, self._batch_size = output, batch_size
        self._run, self._numbers = ids.RandomIds().new()[:12], itertools.count()
        self._rows: list[Row] = []
        self._errors: list[Row] = []
        self._sizes = _Sizes()
        self._due, self._taken = anyio.Event(), anyio.Event()

    async def add(self, output: Row | None, error: Row | None = None, size_bytes: int = 0) -> None:
        """Add a row, or the reason why an item has no responses, or both. Waits if rows arrive faster than they can be stored.

        `output`: None for no row. `error`: None for no reason. `size_bytes`: the approximate size of the row as JSON.
        """
        if output is not None:
            self._rows.append(output)
            self._sizes.append(size_bytes)
        if error is not None:
            self._errors.append(error)
        if self._fills(1):
            self._due.set()
            while self._fills(2):
                await self._taken.wait()

    def _fills(self, files: int) -> bool:
        size = files * self._batch_size
        return len(self._rows) >= size or len(self._errors) >= size or self._sizes.total >= files * _FILE_BYTES

    def stored(self) -> AbstractAsyncContextManager[None]:
        """Store what is added during the block. At its end, even after an error or a cancellation, everything left is stored.

        Raises:
            Ending: a row does not fit the schema; all others are stored.
            RetryLater, OutcomeUnknown: the store does not answer.
        """
        return background.running(self._follow, self._flush_all)

    async def _follow(self) -> None:
        while True:
            with anyio.move_on_after(FLUSH_INTERVAL_S):
                await self._due.wait()
            with anyio.CancelScope(shield=True):  # rows that were taken must be stored
                await self._flush()

    async def _flush_all(self) -> None:
        problem: endings.Ending | None = None
        while self._rows or self._errors:
            try:
                await self._flush()
            except endings.Ending as error:
                problem = problem or error
        if problem:
            raise problem

    async def _flush(self) -> None:
        count = self._sizes.take(self._batch_size, _FILE_BYTES)
        rows, self._rows = self._rows[:count], self._rows[count:]
        found, self._errors = self._errors, []
        taken, self._taken = self._taken, anyio.Event()
        if not self._fills(1):
            self._due = anyio.Event()
        taken.set()
        name = f"part-{next(self._numbers):06}-{self._run}.parquet"
        if found:
            data, _ = await anyio.to_thread.run_sync(_parquet, found, failures.SCHEMA)
            await persist(self._store, self._errors_prefix + name, data)
        if not rows:
            return
        data, problem = await anyio.to_thread.run_sync(_parquet, rows, self._schema)
        if data:
            await persist(self._store, self._prefix + name, data)
        if problem:
            raise endings.Ending(endings.OUTPUT_ERROR, problem)


class _Sizes:
    """The sizes of the pending rows, and their sum."""

    def __init__(self) -> None:
        self._each: deque[int] = deque()
        self.total = 0

    def append(self, size_bytes: int) -> None:
        self._each.append(size_bytes)
        self.total += size_bytes

    def take(self, most_rows: int, most_bytes: int) -> int:
        """Remove the rows of the next file from the front; returns their number."""
        count = size_bytes = 0
        while self._each and count < most_rows and size_bytes < most_bytes:
            size_bytes += self._each.popleft()
            count += 1
        self.total -= size_bytes
        return count


async def persist(store: port.Objects, key: str, data: bytes, md5: str | None = None) -> port.ObjectInfo:
    """Store an object under a key that only we write, with retries if the store does not answer. Waits while its disk is full.

    Raises:
        RetryLater, OutcomeUnknown: the store did not answer in any of the tries.
    """

    async def put() -> port.ObjectInfo:
        return await store.put(key, data, md5=md5)

    delays = backoff.delays(0.2, ceiling_s=10)
    for _ in range(_PUT_ATTEMPTS - 1):
        try:
            return await space.when_there_is(put)
        except (errors.RetryLater, errors.OutcomeUnknown) as error:
            delay_s = next(delays)
            endings.say(f"{key} cannot be stored ({error.message}); trying again in {delay_s:.1f} s")
            await anyio.sleep(delay_s)
    return await space.when_there_is(put)


def encode(table: pa.Table, *, dictionaries: bool = True) -> bytes:
    """Encode a table as a Parquet file. Without `dictionaries`, the file's metadata gives the size of the rows in memory."""
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd", use_dictionary=dictionaries)
    return sink.getvalue().to_pybytes()


def _parquet(rows: list[Row], output: pa.Schema) -> tuple[bytes, str | None]:
    """The rows that fit as a Parquet file (empty if none do), and what is wrong with the first that does not (None if all fit)."""
    try:
        return encode(pa.Table.from_pylist(rows, schema=output), dictionaries=False), None
    except _UNFIT:
        pass
    tables, problem = [], None
    for each in rows:
        try:
            table = pa.Table.from_pylist([each], schema=output)
            encode(table)
            tables.append(table)
        except _UNFIT as error:
            where = f"item {each[INDEX]}, replication {each[REPLICATION]}"
            problem = (
                problem or f"The responses to {where} do not fit the output schema: {error}. Fix the outputPipeline or the outputSchema."
            )
    return encode(pa.concat_tables(tables), dictionaries=False) if tables else b"", problem
