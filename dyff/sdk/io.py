"""The client's I/O: blocking, or awaited on the caller's event loop.

All operations are written once, as coroutines that use this protocol. The methods of `Blocking` never suspend, so a coroutine
that uses it runs to completion in one step, in the caller's thread (`dyff.sdk.calls`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from dyff.sdk import calls

CHUNK_BYTES = 1 << 20

T = TypeVar("T")
Task = Callable[[], Coroutine[Any, Any, None]]


GRACE_S = 2.0
"""How long an interrupted transfer waits for its threads. One that still waits for its server then writes nothing any more."""

_LOOK_S = 0.2
"""How long Ctrl-C can go unnoticed. A signal that comes just before a wait does not end it: Python acts on it only after the wait."""


class Abandoned(Exception):
    """Nothing waits for the tasks any more. Callers never see it."""


class IO(Protocol):
    """Requests, time, threads and parallel work."""

    def request(self, method: str, url: str, **options: Any) -> httpx.Request:
        """Build a request. `options`: those of httpx."""
        ...

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request and return the answer. `stream`: the body is read with `pieces`, and the answer must be closed with `end`."""
        ...

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives. Nothing is held back, so no bytes that have arrived are lost if the connection breaks."""
        ...

    async def read(self, response: httpx.Response) -> bytes:
        """Read the rest of a streamed body."""
        ...

    async def end(self, response: httpx.Response) -> None:
        """Close a streamed answer."""
        ...

    def content(self, path: Path, sent: Callable[[int], None]) -> Iterable[bytes] | AsyncIterable[bytes]:
        """Yield a file as the body of a request. `sent` is called with the size of each chunk, in bytes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that blocks, and return its result."""
        ...

    async def all(self, tasks: Sequence[Task], at_once: int, stop: Callable[[], None]) -> None:
        """Run all tasks. The first failure ends the others (`stop` asks running ones to end) and is raised once they have ended."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Blocking:
    """I/O in the caller's thread. Its methods never suspend. Thread-safe."""

    def __init__(self, **options: Any) -> None:
        """`options`: those of `httpx.Client`."""
        self._client = httpx.Client(**options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Request:
        return self._client.build_request(method, url, **options)

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        return self._client.send(request, stream=stream)

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        for piece in response.iter_raw():
            yield piece

    async def read(self, response: httpx.Response) -> bytes:
        return response.read()

    async def end(self, response: httpx.Response) -> None:
        response.close()

    def content(self, path: Path, sent: Callable[[int], None]) -> Iterable[bytes]:
        return _pieces_of(path, sent)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  there is no event loop here

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)

    async def all(self, tasks: Sequence[Task], at_once: int, stop: Callable[[], None]) -> None:
        todo, lock = iter(tasks), threading.Lock()
        failures: list[BaseException] = []
        ended: queue.SimpleQueue[None] = queue.SimpleQueue()

        def take() -> Task | None:
            with lock:
                return None if failures else next(todo, None)

        def work() -> None:
            try:
                while (task := take()) is not None:
                    calls.run(task())
            except BaseException as error:
                failures.append(error)
            ended.put(None)

        # Daemons, because one that waits for a server that does not answer must not keep a program from ending after Ctrl-C.
        threads = [threading.Thread(target=work, name="dyff-transfer", daemon=True) for _ in tasks[:at_once]]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                _wait(ended)
                if failures:
                    stop()
        except BaseException:
            failures.append(Abandoned())
            stop()
            end = time.monotonic() + GRACE_S
            for thread in [each for each in threads if each.is_alive()]:  # Ctrl-C can come before all have started
                thread.join(max(0.0, end - time.monotonic()))
            raise
        if failures:
            raise failures[0]

    async def close(self) -> None:
        self._client.close()


def _wait(ended: queue.SimpleQueue[None]) -> None:
    while True:
        with suppress(queue.Empty):
            return ended.get(timeout=_LOOK_S)


class Awaited:
    """I/O on the running event loop (asyncio or Trio)."""

    def __init__(self, **options: Any) -> None:
        """`options`: those of `httpx.AsyncClient`."""
        self._client = httpx.AsyncClient(**options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Request:
        return self._client.build_request(method, url, **options)

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        return await self._client.send(request, stream=stream)

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        async for piece in response.aiter_raw():
            yield piece

    async def read(self, response: httpx.Response) -> bytes:
        return await response.aread()

    async def end(self, response: httpx.Response) -> None:
        import anyio

        with anyio.CancelScope(shield=True):
            await response.aclose()

    async def content(self, path: Path, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
        pieces = _pieces_of(path, sent)
        while piece := await self.in_thread(next, pieces, b""):
            yield piece

    async def sleep(self, seconds: float) -> None:
        import anyio

        await anyio.sleep(seconds)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        from anyio import to_thread

        return await to_thread.run_sync(function, *arguments)

    async def all(self, tasks: Sequence[Task], at_once: int, stop: Callable[[], None]) -> None:
        import anyio

        limit = anyio.CapacityLimiter(at_once)

        async def one(task: Task) -> None:
            async with limit:
                await task()

        try:
            async with anyio.create_task_group() as group:
                for task in tasks:
                    group.start_soon(one, task)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def close(self) -> None:
        await self._client.aclose()


def _pieces_of(path: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            sent(len(piece))
            yield piece
