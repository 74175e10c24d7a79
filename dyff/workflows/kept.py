"""What was sent to the service and what came back, kept next to the outputs, so that scoring again sends nothing to the system.

An exchange is a row of `SCHEMA`. An item has a row for the exchange that decided it, and rows for earlier ones that failed. If an item
was done again after a kill, the newest row without an `error` belongs to its output.

    _index_, _replication_   the item
    try                      1 for the first exchange of this run for the item
    sent, seconds            when it began, and how long it took
    endpoint                 the path below the service
    request_type, request    as sent; null after the first try, unless it is the last
    status                   of the answer; null if there was none
    answer_type, answer_encoding, answer   as received; compressed if the service compressed it
    request_bytes, answer_bytes   the whole sizes: what is kept is shortened if it is less
    error                    why the answer could not be used; null if it was
    model, finish_reason     as the service named them; null if it did not
    usage                    as the service reported it, JSON; null if it did not
"""

from __future__ import annotations

import os
from typing import Any

import anyio.to_thread
import msgspec
import pyarrow as pa

from dyff.adapters.fitting import INDEX, REPLICATION
from dyff.kernel import errors
from dyff.workflows import exchanges, parquet_files
from dyff.workflows.items import Call

_COLUMNS: dict[str, pa.DataType] = {
    INDEX: pa.int64(), REPLICATION: pa.string(), "try": pa.int32(), "sent": pa.timestamp("us", "UTC"), "seconds": pa.float64(),
    "endpoint": pa.string(), "request_type": pa.string(), "request": pa.binary(), "request_bytes": pa.int64(),
    "status": pa.int64(), "answer_type": pa.string(), "answer_encoding": pa.string(), "answer": pa.binary(), "answer_bytes": pa.int64(),
    "error": pa.string(), "model": pa.string(), "finish_reason": pa.string(), "usage": pa.string(),
}  # fmt: skip
SCHEMA = pa.schema(_COLUMNS)

TRIES_KEPT = 16
"""Failed exchanges of an item that are kept. The one that decided the item is always kept."""

FILE_BYTES = 2 * 2**20
_FAILED_PART = 16
"""Of a failed answer, this fraction of what an item may have is kept, so that all of an item's exchanges have at most twice as much."""

_MOST_TEXT = 1_000


class Limits(msgspec.Struct, frozen=True):
    """`item_bytes`: of a request and its answer together. `run_bytes`: of all stored files of an evaluation; 0: keep nothing."""

    item_bytes: int
    run_bytes: int


DEFAULTS = Limits(2**20, 2**30)
"""As in the settings, whose import takes long."""


def limits() -> Limits:
    """Return the limits from the environment, which the operator sets; absent ones have the defaults of the settings.

    Raises:
        Misconfigured: one is not a number.
    """
    try:
        return Limits(
            int(os.environ.get("DYFF_EXCHANGE_ITEM_BYTES", DEFAULTS.item_bytes)),
            int(os.environ.get("DYFF_EXCHANGE_RUN_BYTES", DEFAULTS.run_bytes)),
        )
    except ValueError as error:
        raise errors.Misconfigured(f"DYFF_EXCHANGE_ITEM_BYTES and DYFF_EXCHANGE_RUN_BYTES must be numbers: {error}") from error


class Exchange(msgspec.Struct):
    """One exchange. `number`: of the try, from 1. `answer`: None if there was none. `value`: the JSON of a usable answer, else None."""

    call: Call
    number: int
    sent_us: int
    seconds: float
    answer: exchanges.Answer | None
    error: str | None = None
    value: Any = None
    is_last: bool = True


class Kept:
    """Collects exchanges until they are stored. What is in memory is bounded, because those who add wait (`outputs.Outputs.add`).

    `size_bytes`: of what waits to be stored.
    """

    def __init__(self, limits: Limits, endpoint: str, stored_bytes: int = 0) -> None:
        """`stored_bytes`: what earlier attempts have stored."""
        self._item_bytes, self._left = limits.item_bytes, limits.run_bytes - stored_bytes
        self._endpoint = endpoint
        self._rows: list[tuple[Any, ...]] = []
        self.size_bytes = 0

    @property
    def is_on(self) -> bool:
        """Whether exchanges are kept: it is not switched off, and the limit of the run has not been reached."""
        return self._left > 0

    def add(self, found: Exchange) -> None:
        """Keep an exchange, unless it is one of too many failed ones of its item, or the limit of the run has been reached."""
        if self._left <= 0 or not (found.is_last or found.number <= TRIES_KEPT):
            return
        call, answer = found.call, found.answer
        body = answer.body if answer is not None else b""
        kept = body[: self._item_bytes] if found.is_last else body[: self._item_bytes // _FAILED_PART]
        request = call.body[: self._item_bytes - len(kept)] if found.is_last or found.number == 1 else None
        model, reason, usage = _described(found.value)
        row = (
            call.index, call.replication, found.number, found.sent_us, found.seconds, self._endpoint, call.media_type, request,
            len(call.body), *(_received(answer, kept) if answer is not None else _NOTHING), len(body), _text(found.error),
            model, reason, usage,
        )  # fmt: skip
        self._rows.append(row)
        self.size_bytes += len(kept) + len(request or b"") + len(usage or "") + 200

    async def take(self) -> bytes:
        """Return what waits as a Parquet file; empty if nothing does, or if the file would exceed the limit of the run."""
        rows, self._rows, self.size_bytes = self._rows, [], 0
        if not rows:
            return b""
        data = await anyio.to_thread.run_sync(_file, rows)
        self._left = self._left - len(data) if len(data) <= self._left else 0
        return data if self._left else b""


_NOTHING = (None, None, None, None)


def _received(answer: exchanges.Answer, kept: bytes) -> tuple[int, str | None, str | None, bytes]:
    return answer.status, answer.header(b"content-type"), answer.encoding, kept


def _file(rows: list[tuple[Any, ...]]) -> bytes:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return parquet_files.encode(pa.Table.from_arrays(arrays, schema=SCHEMA), dictionaries=False)


def _described(value: Any) -> tuple[str | None, str | None, str | None]:
    """The model, the finish reason and the usage that an answer names, in the forms of the common APIs; None for what it does not."""
    if not isinstance(value, dict):
        return None, None, None
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    reason = first.get("finish_reason") if isinstance(first, dict) else None
    reason = reason or value.get("stop_reason") or value.get("done_reason") or value.get("finish_reason")
    usage = value.get("usage") or value.get("usageMetadata")
    return _text(value.get("model") or value.get("modelVersion")), _text(reason), _json(usage)


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    shortened = value[:_MOST_TEXT]
    return shortened if shortened.isascii() else shortened.encode(errors="backslashreplace").decode()


def _json(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except (RecursionError, UnicodeError):
        return None
    return text if len(text) <= 4 * _MOST_TEXT else None
