"""`dyff.kernel.sqlite_writer`: group commit, its bounds, and what one write's failure costs others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import apsw
import pytest

from dyff.kernel import errors, sqlite, sqlite_writer

DEADLINE_S = 10.0


class Numbers:
    """A table of numbers. A transaction is the list of those that were added in it."""

    name = "the table"

    def __init__(self, path: Path) -> None:
        self.connection = sqlite.connect(path, durable=True)
        self.connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
        self.delivered: list[list[int]] = []
        self.failures: list[tuple[str, bool]] = []
        self.fatal: errors.Fatal | None = None
        self.rests = 0

    def begin(self) -> list[int]:
        return []

    def complete(self, transaction: list[int]) -> None:
        self.connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in transaction])

    def committed(self, transaction: list[int]) -> None:
        assert not self.connection.in_transaction

    def failed(self, error: Exception, *, in_commit: bool) -> sqlite_writer.Failure:
        assert not self.connection.in_transaction
        self.failures.append((type(error).__name__, in_commit))
        return sqlite_writer.Failure(errors.Unavailable(f"failed: {error}"), self.fatal)

    def rest(self) -> None:
        self.rests += 1

    def stored(self) -> list[int]:
        return [int(row[0]) for row in self.connection.execute("SELECT number FROM numbers ORDER BY number")]


Writer = sqlite_writer.Writer[list[int]]


@contextlib.asynccontextmanager
async def writing(
    path: Path, limits: sqlite_writer.Limits | None = None, refusals: type[Exception] = errors.DyffError
) -> AsyncIterator[tuple[Numbers, Writer]]:
    numbers = await anyio.to_thread.run_sync(Numbers, path / "numbers.sqlite")
    writer = sqlite_writer.Writer(numbers, limits or sqlite_writer.Limits(), refusals=refusals)
    writer.start(numbers.delivered.append)
    try:
        with anyio.fail_after(DEADLINE_S):
            yield numbers, writer
    finally:
        await writer.stop()
        numbers.connection.close()


@contextlib.asynccontextmanager
async def busy(writer: Writer) -> AsyncIterator[None]:
    """The disk is slow: a transaction is under way, and ends when this is left."""
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(transaction: list[int]) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(DEADLINE_S)

    answer = writer.submit(wait)
    try:
        await begun.wait()
        yield
    finally:
        release.set()
        await answer


def adds(number: int) -> Callable[[list[int]], int]:
    def add(transaction: list[int]) -> int:
        transaction.append(number)
        return number

    return add


def raises(error: Exception) -> Callable[[list[int]], int]:
    def refuse(transaction: list[int]) -> int:
        raise error

    return refuse


async def test_what_waits_together_is_committed_together(tmp_path):
    """Writes that come while a transaction is under way share the next one, in their order; each has its own result."""
    async with writing(tmp_path) as (numbers, writer):
        async with busy(writer):
            answers = [writer.submit(adds(number)) for number in range(100)]
        assert await asyncio.gather(*answers) == list(range(100))
        assert numbers.delivered == [[], list(range(100))]
        assert numbers.stored() == list(range(100))


async def test_what_is_submitted_in_one_turn_is_committed_together(tmp_path):
    """The thread is woken once for all of it, also when it was idle."""
    async with writing(tmp_path) as (numbers, writer):
        await asyncio.gather(*[writer.submit(adds(number)) for number in range(10)])
        assert numbers.delivered == [list(range(10))]


@pytest.mark.parametrize("limits", [sqlite_writer.Limits(group_count=3), sqlite_writer.Limits(group_bytes=30)], ids=["count", "bytes"])
async def test_a_transaction_is_bounded(tmp_path, limits):
    """It takes no further write once it has that many writes or bytes; the rest goes into the next ones, in order."""
    async with writing(tmp_path, limits) as (numbers, writer):
        await asyncio.gather(*[writer.submit(adds(number), size=10) for number in range(7)])
        assert numbers.delivered == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("limits", [sqlite_writer.Limits(waiting_count=4), sqlite_writer.Limits(waiting_bytes=30)], ids=["count", "bytes"])
async def test_what_waits_is_bounded(tmp_path, limits):
    """A write over the bound is refused at once, and not done; when others are done there is room again."""
    async with writing(tmp_path, limits) as (numbers, writer):
        async with busy(writer):
            answers = [writer.submit(adds(number), size=10) for number in range(3)]
            for _ in range(2):
                with pytest.raises(errors.Unavailable, match="the table is too slow: 4 writes wait"):
                    writer.submit(adds(99), size=10)
        await asyncio.gather(*answers)
        await writer.submit(adds(3), size=10)
        assert numbers.stored() == [0, 1, 2, 3]


async def test_a_write_larger_than_the_bound_is_taken_alone(tmp_path):
    """What could never be accepted otherwise is accepted while nothing else waits."""
    async with writing(tmp_path, sqlite_writer.Limits(waiting_bytes=30)) as (numbers, writer):
        first = writer.submit(adds(1), size=1000)
        with pytest.raises(errors.Unavailable):
            writer.submit(adds(2), size=0)
        await first
        assert numbers.stored() == [1]


@pytest.mark.parametrize(
    ("refusals", "error"), [(errors.DyffError, errors.NotFound("no such number")), (Exception, KeyError("x"))], ids=["ours", "any"]
)
async def test_a_refused_write_fails_alone(tmp_path, refusals, error):
    """A write that raises a refusal disturbs no other of its transaction."""
    async with writing(tmp_path, refusals=refusals) as (numbers, writer):
        good, bad, other = writer.submit(adds(1)), writer.submit(raises(error)), writer.submit(adds(2))
        with pytest.raises(type(error)):
            await bad
        assert [await good, await other] == [1, 2]
        assert numbers.delivered == [[1, 2]]
        assert numbers.failures == []


@pytest.mark.parametrize(
    ("refusals", "error"), [(errors.DyffError, KeyError("x")), (Exception, apsw.FullError("disk full"))], ids=["unforeseen", "of SQLite"]
)
async def test_an_error_that_is_no_refusal_fails_the_transaction(tmp_path, refusals, error):
    """Nothing of it is stored or delivered, each of its writes raises an error of its own, and the next one succeeds."""
    async with writing(tmp_path, refusals=refusals) as (numbers, writer):
        outcomes = await asyncio.gather(
            writer.submit(adds(1)), writer.submit(raises(error)), writer.submit(adds(2)), return_exceptions=True
        )
        assert [type(each) for each in outcomes] == [errors.Unavailable] * 3
        assert len({id(each) for each in outcomes}) == 3
        assert numbers.failures == [(type(error).__name__, False)]
        assert (numbers.delivered, numbers.stored()) == ([], [])
        assert await writer.submit(adds(3)) == 3
        assert numbers.stored() == [3]


async def test_a_failed_commit_is_distinguished_from_a_failed_write(tmp_path):
    """Only the commit can have become durable although it failed, so the database hears where the error came from."""
    async with writing(tmp_path) as (numbers, writer):

        def fail() -> bool:
            raise apsw.IOError("the disk is gone")

        numbers.connection.set_commit_hook(fail)
        with pytest.raises(errors.Unavailable, match="the disk is gone"):
            await writer.submit(adds(1))
        numbers.connection.set_commit_hook(None)
        assert numbers.failures == [("IOError", True)]
        assert numbers.stored() == []


async def test_after_a_fatal_failure_nothing_is_written(tmp_path):
    """What already waits and what comes later is refused, without another attempt at the disk."""
    async with writing(tmp_path) as (numbers, writer):
        numbers.fatal = errors.Fatal("the disk is gone")
        async with busy(writer):
            answers = [writer.submit(raises(apsw.IOError("x"))), writer.submit(adds(1), size=sqlite_writer.Limits().group_bytes)]
            later = [writer.submit(adds(2))]
        outcomes = await asyncio.gather(*answers, *later, return_exceptions=True)
        assert [type(each) for each in outcomes] == [errors.Unavailable] * 3
        assert str(outcomes[2]) == "the disk is gone"
        assert writer.broken is numbers.fatal
        with pytest.raises(errors.Unavailable, match="the disk is gone"):
            writer.submit(adds(3))
        assert len(numbers.failures) == 1
        assert numbers.stored() == []


async def test_a_cancelled_write_is_done_nevertheless(tmp_path):
    """A caller that gives up does not learn the outcome: the write is done, takes no other along, and its room is free again."""
    async with writing(tmp_path, sqlite_writer.Limits(waiting_count=3)) as (numbers, writer):
        async with busy(writer):
            given_up, other = writer.submit(adds(1)), writer.submit(adds(2))
            given_up.cancel()
            with pytest.raises(errors.Unavailable):
                writer.submit(adds(3))
        assert await other == 2
        assert numbers.stored() == [1, 2]
        assert await asyncio.gather(*[writer.submit(adds(number)) for number in (3, 4, 5)]) == [3, 4, 5]


async def test_a_transaction_is_delivered_before_its_writes_are_answered(tmp_path):
    """So that those who wrote find what they wrote."""
    async with writing(tmp_path) as (numbers, writer):
        seen: list[int] = []
        answer = writer.submit(adds(1))
        answer.add_done_callback(lambda _: seen.append(len(numbers.delivered)))
        await answer
        assert seen == [1]


async def test_upkeep_comes_between_transactions(tmp_path):
    """`rest` is called once after each, also where it failed."""
    async with writing(tmp_path) as (numbers, writer):
        await writer.submit(adds(1))
        with pytest.raises(errors.Unavailable):
            await writer.submit(raises(KeyError("x")))
        await writer.submit(adds(2))
        await writer.stop()
        assert numbers.rests == 3


async def test_stop_finishes_what_was_accepted(tmp_path):
    """Even what was submitted in the same turn; then the thread is gone, and later writes are refused."""
    async with writing(tmp_path) as (_, writer):
        answers = [writer.submit(adds(number)) for number in range(10)]
        await writer.stop()
        assert [await each for each in answers] == list(range(10))
        assert not writer._thread.is_alive()
        with pytest.raises(errors.Unavailable, match="the table is closed"):
            writer.submit(adds(10))
