"""Group commit: one thread owns the writing connection and takes all jobs that wait into one transaction.

While one transaction is being synced the next jobs gather, so the busier it is the larger the transactions get. There
is no delay to gather more: measured, 16 publishers at once make transactions of 15 without one, and who is alone never
waits for company. But what is submitted in one turn of the event loop is handed over together, at its end, so that the
thread is woken once and the two do not fight for the interpreter.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import apsw
import msgspec
import structlog

from dyff.bus.embedded import jobs, mark
from dyff.kernel import clock, errors

log = structlog.get_logger()

MAX_JOBS = 2000
MAX_BYTES = 8 * 2**20
"""A transaction takes no more jobs or bytes than that."""

MAX_WAITING_BYTES = 256 * 2**20
"""More than this does not wait for the disk: `Unavailable` instead of filling the memory."""

CHECKPOINT_PAGES = 8192
"""A WAL file of so many pages (32 MiB) is checkpointed between two transactions, if nobody has done it in quieter moments."""


class _Waiting(msgspec.Struct, frozen=True):
    job: jobs.Job
    future: asyncio.Future[Any]


class Writer:
    """The thread and its queue. `submit` is called in one event loop, the one that `start` was called in."""

    def __init__(self, connection: apsw.Connection, ends: dict[int, int], evidence: mark.Mark, wall: clock.Clock) -> None:
        """`ends`: by partition ID, the next offset; kept up to date by the thread, so nobody else may use it."""
        self._connection, self._ends, self._mark, self._clock = connection, ends, evidence, wall
        self._appended = sum(ends.values())
        self._queue: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._submitted: list[_Waiting] = []
        self._taken: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self._closed = False
        self._broken: errors.Fatal | None = None
        self._thread = threading.Thread(target=self._run, name="dyff-log-writer", daemon=True)

    def start(self, on_commit: Callable[[jobs.Transaction], None]) -> None:
        """Begin. `on_commit`: called in the event loop after each commit, before those who wait for it are woken."""
        self._loop = asyncio.get_running_loop()
        self._on_commit = on_commit
        self._connection.set_wal_hook(self._after_commit)
        self._thread.start()

    def submit(self, job: jobs.Job) -> asyncio.Future[Any]:
        """Do a job; the future has its result when it is durable. Cancelled while it waits: it may be done nevertheless.

        Raises:
            Unavailable: it was not done: the log is closed, too much is waiting, or the disk is full.
            OutcomeUnknown: the disk failed during the commit.
            DyffError: what the job raises; it was not done.
        """
        if self._closed or self._broken is not None:
            raise errors.Unavailable(self._broken.message if self._broken else "the log is closed")
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise errors.Unavailable("the log's disk is too slow: too much waits to be written")
        waiting = _Waiting(job, self._loop.create_future())
        self._waiting_bytes += job.size
        if not self._submitted:
            self._loop.call_soon(self._hand_over)
        self._submitted.append(waiting)
        return waiting.future

    @property
    def broken(self) -> errors.Fatal | None:
        """Why nothing can be written any more; None: all is well."""
        return self._broken

    def stop(self) -> None:
        """Take nothing more; what was submitted is finished, then the thread ends. In the event loop."""
        self._closed = True
        self._hand_over()
        self._queue.put(None)

    def join(self) -> None:
        """Wait, after `stop`, until the thread has ended. Blocks."""
        self._thread.join()

    def _hand_over(self) -> None:
        if self._submitted:
            self._queue.put(self._submitted)
            self._submitted = []

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._collect()
            if batch:
                self._commit(batch)
            if self._wal_pages >= self._checkpoint_at:
                self._checkpoint()

    def _collect(self) -> tuple[list[_Waiting], bool]:
        """What waits, at least one job, and whether more may come."""
        batch: list[_Waiting] = []
        size = 0
        while len(batch) < MAX_JOBS and size < MAX_BYTES:
            if not self._taken:
                if batch and self._queue.empty():
                    break
                taken = self._queue.get()
                if taken is None:
                    return batch, False
                self._taken.extend(taken)
            waiting = self._taken.popleft()
            batch.append(waiting)
            size += waiting.job.size
        return batch, True

    def _commit(self, batch: list[_Waiting]) -> None:
        if self._broken is not None:
            self._tell(batch, None, [errors.Unavailable(self._broken.message) for _ in batch])
            return
        transaction = jobs.Transaction(self._connection, self._ends, clock.epoch_ms(self._clock.now()))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [_result(waiting.job, transaction) for waiting in batch]
            transaction.write_records()
            self._connection.execute("COMMIT")
        except Exception as error:
            failed = self._failed(error)
            self._tell(batch, None, [type(failed)(failed.message) for _ in batch])
        else:
            self._adopt(transaction)
            self._tell(batch, transaction, results)

    def _failed(self, error: Exception) -> errors.DyffError:
        """What the waiting are told. Nothing was written, unless the disk failed: then nobody can know."""
        log.error("log-write-failed", **errors.details(error))
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as worse:
            error = worse
        if not isinstance(error, apsw.IOError | apsw.CorruptError):
            return errors.Unavailable(f"the log cannot be written: {error}")
        # What the disk has now cannot be known from here, nor whether it will take anything else.
        self._broken = errors.Fatal(f"the log's disk failed ({error}): mend it, then start again")
        return errors.OutcomeUnknown(f"the log's disk failed: {error}")

    def _adopt(self, transaction: jobs.Transaction) -> None:
        for _, partitions in transaction.created:
            self._ends.update({each.id: each.held.end for each in partitions})
        for partition_id, records in transaction.appended.items():
            self._ends[partition_id] = records[-1].offset + 1
            self._appended += len(records)
        if transaction.appended:
            self._write_mark()

    def _write_mark(self) -> None:
        """What was committed is durable without it; a mark that stays behind only proves less."""
        try:
            self._mark.write(self._appended)
        except OSError as error:
            log.error("log-mark-failed", **errors.details(error))

    def _tell(self, batch: list[_Waiting], transaction: jobs.Transaction | None, results: list[Any]) -> None:
        self._loop.call_soon_threadsafe(self._wake, batch, transaction, results)

    def _wake(self, batch: list[_Waiting], transaction: jobs.Transaction | None, results: list[Any]) -> None:
        """In the event loop: first everybody can see what was written, then its writers go on."""
        self._waiting_bytes -= sum(waiting.job.size for waiting in batch)
        if transaction is not None:
            self._on_commit(transaction)
        for waiting, result in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, errors.DyffError):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)

    def _after_commit(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._wal_pages:
            self._checkpoint_at = CHECKPOINT_PAGES
        self._wal_pages = pages
        return 0

    def _checkpoint(self) -> None:
        """Copy the WAL file into the database; SQLite begins it anew at the next commit that no reader disturbs."""
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            log.warning("log-checkpoint-failed", **errors.details(error))
        self._checkpoint_at = self._wal_pages + CHECKPOINT_PAGES


def _result(job: jobs.Job, transaction: jobs.Transaction) -> Any:
    try:
        return job.apply(transaction)
    except errors.DyffError as refusal:
        return refusal
