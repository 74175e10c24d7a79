"""One thread that owns the database: what waits while a commit runs goes into the next one, together.

So a single write costs one fsync and a hundred at once cost little more, and the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from dyff.cluster.embedded import store
from dyff.kernel import errors

T = TypeVar("T")

_GROUP = 256


class _Waiting(msgspec.Struct, frozen=True):
    operation: store.Operation[Any]
    future: asyncio.Future[Any]


Deliver = Callable[[store.Committed], None]


class Writer:
    """Runs operations in order. To be used from one event loop."""

    def __init__(self, database: store.Store, deliver: Deliver) -> None:
        """`deliver`: gets every commit, in order, on the event loop, before the writers of it hear of it."""
        self._store = database
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cluster-writer", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    async def run(self, operation: store.Operation[T]) -> T:
        """The operation's result, once it is durable. Cancelled, it may still happen.

        Raises:
            Unavailable: it was closed, or the disk refuses; nothing was done.
            OutcomeUnknown: the disk failed in the commit.
        """
        if self._closed:
            raise errors.Unavailable("the cluster is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Waiting(operation, future))
        return await future

    def stop(self) -> None:
        """Accept nothing more; what was accepted is still done."""
        self._closed = True
        self._queue.put(None)

    def join(self) -> None:
        """Wait, in a thread, until everything that was accepted is done."""
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            group = [self._queue.get()]
            while len(group) < _GROUP and not self._queue.empty():
                group.append(self._queue.get())
            going = None not in group
            waiting = [each for each in group if each is not None]
            if waiting:
                self._commit(waiting)

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            committed = self._store.commit([each.operation for each in group])
        except BaseException as error:
            self._loop.call_soon_threadsafe(_fail, group, error)
        else:
            self._loop.call_soon_threadsafe(self._finish, group, committed)

    def _finish(self, group: list[_Waiting], committed: store.Committed) -> None:
        self._deliver(committed)
        for each, outcome in zip(group, committed.outcomes, strict=True):
            if each.future.done():
                continue
            if isinstance(outcome, Exception):
                each.future.set_exception(outcome)
            else:
                each.future.set_result(outcome)


def _fail(group: list[_Waiting], error: BaseException) -> None:
    for each in group:
        if not each.future.done():
            each.future.set_exception(error)
