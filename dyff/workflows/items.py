"""The work of an evaluation: every row of the dataset, once for each replication, except what is already done."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import anyio.to_thread
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dyff.adapters import fields, pipelines, sizes, uploads
from dyff.adapters.fitting import INDEX, REPLICATION
from dyff.kernel import errors
from dyff.workflows import endings, exchanges, failures, places, rooms, rows, trees

_CALLS_AT_ONCE, _BYTES_AT_ONCE = 256, 2 * 2**20
"""The limits of a batch of calls. They are small because rows can be images."""

IN_FLIGHT_BYTES = 64 * 2**20
"""The bodies of all calls that wait or are being made. A single one can be larger."""


class Call(msgspec.Struct, frozen=True):
    """A request to make: the row's index, the replication's ID and the body, which is JSON or a form with a file.

    `failure`: why there is nothing to send, or None if there is. `size_bytes`: its part of what `IN_FLIGHT_BYTES` bounds.
    """

    index: int
    replication: str
    body: bytes
    media_type: str = exchanges.JSON
    failure: failures.Failure | None = None
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"item {self.index}, replication {self.replication}"


class Indices:
    """A set of row indices, sorted, in 8 bytes each."""

    def __init__(self, parts: list[pa.Array[Any]]) -> None:
        """`parts`: integer arrays. Repeated indices are counted in `duplicates`; `first_duplicate`: the smallest, None if there is none."""
        joined = pa.concat_arrays([part.cast(pa.int64()) for part in parts]) if parts else pa.array([], pa.int64())
        self.array = joined.take(pc.sort_indices(joined))
        buffer = self.array.buffers()[1]
        self._values = memoryview(buffer if buffer is not None else b"").cast("q")[: len(self.array)]
        repeated = pc.equal(self.array[1:], self.array[:-1]) if len(self.array) else pa.array([], pa.bool_())
        self.duplicates = repeated.true_count
        self.first_duplicate = self.array[pc.index(repeated, pa.scalar(True)).as_py()].as_py() if self.duplicates else None

    def __len__(self) -> int:
        return len(self.array)

    def __contains__(self, index: int) -> bool:
        place = bisect_left(self._values, index)
        return place < len(self._values) and self._values[place] == index


def read_indices(dataset: pa.dataset.Dataset) -> Indices:
    """Read the indices of a dataset's rows, which must be unique. Blocking; reads one column.

    Raises:
        Ending: the dataset has no usable index column.
    """
    try:
        parts = [batch.column(0) for batch in trees.batches(dataset, 2**16, [INDEX])]
        found = Indices(parts)
    except (KeyError, ValueError, *trees.READ_ERRORS) as error:
        raise endings.Ending(endings.WRONG_DATA, f"The dataset needs a column {INDEX} of whole numbers: {error}") from error
    if missing := sum(part.null_count for part in parts):
        raise endings.Ending(endings.WRONG_DATA, f"{missing} rows of the dataset have no {INDEX}: each needs a whole number of its own.")
    if found.duplicates:
        where = _places(dataset, found.first_duplicate)
        raise endings.Ending(
            endings.WRONG_DATA,
            f"{found.duplicates} rows of the dataset have an {INDEX} that another row has, such as {found.first_duplicate}{where}: "
            "each row needs one of its own.",
        )
    return found


def _places(dataset: pa.dataset.Dataset, index: int | None) -> str:
    """Where the first two rows with an index are, for a message; empty if they cannot be found any more."""
    try:
        found = places.find(dataset, INDEX, pa.scalar(index, dataset.schema.field(INDEX).type), 2)
    except (KeyError, ValueError, *trees.READ_ERRORS):
        return ""
    return f" (in {' and '.join(f'row {row} of {path!r}' for path, row in found)}, counted from 0)" if found else ""


def read_done(dataset: pa.dataset.Dataset, replications: list[str]) -> dict[str, Indices]:
    """Read the indices that have outputs, by replication. Blocking."""
    parts: dict[str, list[pa.Array[Any]]] = {replication: [] for replication in replications}
    for batch in trees.batches(dataset, 2**16, [INDEX, REPLICATION]) if dataset.schema.names else ():
        for replication, found in parts.items():
            found.append(batch.column(0).filter(pc.equal(batch.column(1), pa.scalar(replication))).drop_null())
    return {replication: Indices(found) for replication, found in parts.items()}


class WorkList:
    """The missing calls, made from the dataset as they are needed. Any number of workers can take from it. A context manager."""

    def __init__(self, dataset: pa.dataset.Dataset, done: dict[str, Indices], adapters: list[fields.Json], *, skip: bool = False) -> None:
        """`done`: the indices to leave out, by replication. `adapters`: of the pipeline, which must produce one object for each row.

        `skip`: a row that does not fit the pipeline becomes a call with a failure, instead of ending the run.

        Raises:
            InvalidFields: the pipeline is wrong.
        """
        self._inputs = pipelines.build(adapters, ("inputPipeline",), upload=True)
        self._rows = rows.read(dataset, rows.wanted(dataset.schema, adapters))
        self._done, self._skip = done, skip
        self._ready: Iterator[Call] = iter(())
        self._lock, self._room = anyio.Lock(), rooms.Room(IN_FLIGHT_BYTES)
        self._send, self._receive = anyio.create_memory_object_stream[list[Call]](2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._send.close()
        self._receive.close()

    async def produce(self) -> None:
        """Produce all calls; run it in parallel with the workers.

        Raises:
            Ending: a row does not fit the input pipeline, or the dataset cannot be read.
        """
        async with self._send:
            while (calls := await anyio.to_thread.run_sync(self._next)) is not None:
                await self._room.take(sum(call.size_bytes for call in calls))
                if calls:
                    await self._send.send(calls)

    def ended(self, call: Call) -> None:
        """Give back the memory of a call that `take` returned and that has been made."""
        self._room.give(call.size_bytes)

    async def take(self) -> Call | None:
        """Return the next call, which no other caller gets; None if there are no more."""
        while (call := next(self._ready, None)) is None:
            async with self._lock:
                if (call := next(self._ready, None)) is not None:
                    return call  # another worker has refilled it in the meantime
                try:
                    self._ready = iter(await self._receive.receive())
                except anyio.EndOfStream:
                    return None
        return call

    def _next(self) -> list[Call] | None:
        """The missing calls of the next rows; None if there are no more rows."""
        calls, size_bytes, count = list[Call](), 0, 0
        try:
            for row in self._rows:
                made = list(self._of(row))
                calls += made
                count, size_bytes = count + 1, size_bytes + sum(call.size_bytes for call in made)
                if count >= _CALLS_AT_ONCE or size_bytes >= _BYTES_AT_ONCE:
                    break
        except trees.READ_ERRORS as error:
            raise endings.Ending(endings.WRONG_DATA, f"The dataset cannot be read: {error}") from error
        return calls if count else None

    def _of(self, row: rows.Row) -> Iterator[Call]:
        index = row.index
        if not isinstance(index, int):
            raise endings.Ending(endings.WRONG_DATA, f"The dataset needs a column {INDEX} of whole numbers; a row has {index!r} there.")
        missing = [replication for replication, done in self._done.items() if index not in done]
        if missing:
            media_type, body, failure = self._request(row)
            for replication in missing:
                yield Call(index, replication, body, media_type, failure, len(body) // len(missing))

    def _request(self, row: rows.Row) -> tuple[str, bytes, failures.Failure | None]:
        """The request for a row: its values in JSON, passed through the pipeline."""
        if row.problem:
            return _unsent(failures.INPUT_VALUE, row.problem)
        try:
            adapted = list(self._inputs([row.values]))
            problem = "" if len(adapted) == 1 else f"it must give one object for each item, and gives {len(adapted)}"
        except errors.FixRequest as error:
            problem = error.message
        if not problem:
            try:
                return (*_encoded(adapted[0]), None)
            except _UNENCODABLE as error:
                return _unsent(failures.INPUT_VALUE, f"what the input pipeline makes of it cannot be sent: {error or type(error).__name__}")
        if self._skip:
            return _unsent(failures.INPUT_PIPELINE, problem)
        hint = "Fix the item or the inputPipeline, or set client.badRequestPolicy to Skip."
        raise endings.Ending(endings.WRONG_DATA, f"Item {row.index} does not fit the input pipeline: {problem}. {hint}")


_UNENCODABLE = (ValueError, TypeError, OverflowError, RecursionError)
"""What encoding raises for numbers of more than 64 bits, half a surrogate pair in a template, or objects in too many objects."""


def _unsent(error: str, reason: str) -> tuple[str, bytes, failures.Failure]:
    return exchanges.JSON, b"", failures.Failure(error, reason)


def _encoded(request: Any) -> tuple[str, bytes]:
    """The media type and body of a request.

    Raises:
        _UNENCODABLE: it cannot be expressed, or is too large.
    """
    if isinstance(request, uploads.Upload):
        sizes.check(request.form_fields, rows.MAX_ROW_BYTES - len(request.content))
        return _form(request)
    sizes.check(request, rows.MAX_ROW_BYTES)
    return exchanges.JSON, msgspec.json.encode(request)


def _form(upload: uploads.Upload) -> tuple[str, bytes]:
    """The media type and body of the upload as `multipart/form-data`, encoded by the library that the SDKs use."""
    import httpx  # costs a fifth of a second and some megabytes, which other evaluations do not need

    files = {upload.name: (upload.filename, upload.content, upload.content_type)}
    request = httpx.Request("POST", "http://service", data=upload.form_fields, files=files)
    return request.headers["Content-Type"], request.read()
