"""The outputs of an evaluation: their schema, and the files that a run writes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import pyarrow as pa

from dyff.adapters import fitting
from dyff.adapters.fitting import INDEX, REPLICATION, RESPONSE_INDEX, RESPONSES
from dyff.kernel import backoff, errors, ids
from dyff.objects import port
from dyff.workflows import background, endings, failures, kept, parquet_files, space
from dyff.workflows.items import Call

FLUSH_INTERVAL_S = 3.0
_PUT_ATTEMPTS = 6
_FILE_BYTES = 8 * 2**20
"""The size of the rows as JSON. As Python objects they need several times as much."""

T = TypeVar("T")
Row = dict[str, Any]


def row(call: Call, responses: list[Any] | None) -> Row:
    """Return the output row for a call. `responses`: they fit the schema; None if the service refused the item and the policy is to go on.

    Responses are always numbered by the client, even if the service sends numbers.
    """
    numbered = None if responses is None else [{**response, RESPONSE_INDEX: place} for place, response in enumerate(responses)]
    return {INDEX: call.index, REPLICATION: call.replication, RESPONSES: numbered}


class Exchanges(NamedTuple):
    """The exchanges to store, and the prefix of their files' keys, with the final slash."""

    kept: kept.Kept
    prefix: str


class Outputs:
    """Collects rows and stores them in Parquet files. A file has at most `batch_size` rows and is durable once it is written.

    Files are written when they are full, by rows or by bytes, and every few seconds, so that little is lost if the run is
    killed. Every run uses new file names, so a restarted run overwrites nothing. The reasons why items have no responses are
    stored in separate files, before the rows.

    `unfit`: how many rows could not be stored, although their responses fitted the schema. They are recorded as errors.
    """

    def __init__(
        self, store: port.Objects, prefix: str, errors_prefix: str, output: pa.Schema, batch_size: int, exchanges: Exchanges | None = None
    ) -> None:
        """`prefix`, `errors_prefix`: the prefixes of the files' keys, with the final slash. `exchanges`: stored before the rows."""
        self._exchanges = exchanges
        self._store, self._prefix, self._errors_prefix = store, prefix, errors_prefix
        self._schema, self._batch_size = output, batch_size
        self._run, self._numbers = ids.RandomIds().new()[:12], itertools.count()
        self._rows: list[Row] = []
        self._errors: list[Row] = []
        self._sizes = _Sizes()
        self.unfit = 0
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

    def note(self, found: list[Row]) -> None:
        """Add reasons why items have no responses when the run ends. It does not wait, so there must be few."""
        self._errors += found

    def _fills(self, files: int) -> bool:
        size = files * self._batch_size
        if self._exchanges is not None and self._exchanges.kept.size_bytes >= files * kept.FILE_BYTES:
            return True
        return len(self._rows) >= size or len(self._errors) >= size or self._sizes.total >= files * _FILE_BYTES

    def stored(self) -> AbstractAsyncContextManager[None]:
        """Store what is added during the block. At its end, even after an error or a cancellation, everything left is stored.

        Raises:
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
        while self._rows or self._errors:
            await self._flush()
        await self._flush_exchanges(f"part-{next(self._numbers):06}-{self._run}.parquet")

    async def _flush_exchanges(self, name: str) -> None:
        if self._exchanges is None or not self._exchanges.kept.size_bytes:
            return
        data = await self._exchanges.kept.take()
        if data:
            await persist(self._store, self._exchanges.prefix + name, data)
        elif not self._exchanges.kept.is_on:
            endings.say("no more exchanges are kept: the setting operator.exchange_run_bytes is reached")

    async def _flush(self) -> None:
        count = self._sizes.take(self._batch_size, _FILE_BYTES)
        rows, self._rows = self._rows[:count], self._rows[count:]
        found, self._errors = self._errors, []
        taken, self._taken = self._taken, anyio.Event()
        if not self._fills(1):
            self._due = anyio.Event()
        taken.set()
        name = f"part-{next(self._numbers):06}-{self._run}.parquet"
        await self._flush_exchanges(name)
        data = b""
        if rows:
            data, unfit = await anyio.to_thread.run_sync(_parquet, rows, self._schema)
            self.unfit += len(unfit)
            found += unfit
        if found:
            await persist(self._store, self._errors_prefix + name, await anyio.to_thread.run_sync(_errors_file, found))
        if data:
            await persist(self._store, self._prefix + name, data)


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


async def persist(
    store: port.Objects, key: str, data: bytes | Callable[[], AsyncIterable[bytes]], md5: str | None = None
) -> port.ObjectInfo:
    """Store an object under a key that only we write, with retries if the store does not answer. Waits while its disk is full.

    `data`: the bytes, or what begins to read them, for each try.

    Raises:
        RetryLater, OutcomeUnknown: the store did not answer in any of the tries.
    """

    async def put() -> port.ObjectInfo:
        return await store.put(key, data if isinstance(data, bytes) else data(), md5=md5)

    return await insist(put, key)


async def insist(act: Callable[[], Awaitable[T]], key: str) -> T:
    """Do what stores an object, with retries if the store does not answer. Waits while its disk is full. `key`: of the object.

    Raises:
        RetryLater, OutcomeUnknown: the store did not answer in any of the tries.
    """
    delays = backoff.delays(0.2, ceiling_s=10)
    for _ in range(_PUT_ATTEMPTS - 1):
        try:
            return await space.when_there_is(act)
        except (errors.RetryLater, errors.OutcomeUnknown) as error:
            delay_s = next(delays)
            endings.say(f"{key} cannot be stored ({error.message}); trying again in {delay_s:.1f} s")
            await anyio.sleep(delay_s)
    return await space.when_there_is(act)


def _errors_file(found: list[Row]) -> bytes:
    return parquet_files.encode(pa.Table.from_pylist(found, schema=failures.SCHEMA), dictionaries=False)


def _parquet(rows: list[Row], output: pa.Schema) -> tuple[bytes, list[Row]]:
    """The rows as a Parquet file (empty if there are none), and the errors of those that cannot be stored in one.

    Responses were checked when they arrived. Left are rare types, and what only all rows of a file together show.
    """
    try:
        return parquet_files.encode(pa.Table.from_pylist(rows, schema=output), dictionaries=False), []
    except (*fitting.UNFIT, NotImplementedError):
        pass
    tables, unfit = [], []
    for each in rows:
        try:
            table = pa.Table.from_pylist([each], schema=output)
            parquet_files.encode(table)
            tables.append(table)
        except (*fitting.UNFIT, NotImplementedError) as error:
            why = f"its responses do not fit the output schema: {error}. Fix the outputPipeline or the outputSchema."
            endings.say(f"item {each[INDEX]}, replication {each[REPLICATION]}: {why}")
            unfit.append(failures.Failure(failures.UNFIT_ANSWER, why).row(each[INDEX], each[REPLICATION]))
    return parquet_files.encode(pa.concat_tables(tables), dictionaries=False) if tables else b"", unfit
