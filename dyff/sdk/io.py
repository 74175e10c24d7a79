"""The client's I/O: blocking, or awaited on the caller's event loop.

All operations are written once, as coroutines that use this protocol. The methods of `Blocking` never suspend, so a coroutine
that uses it runs to completion in one step, in the caller's thread (`dyff.sdk.calls`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from dyff.sdk import calls

CHUNK_BYTES = 1 << 20

T = TypeVar("T")
Task = Callable[[], Coroutine[Any, Any, None]]


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
        from concurrent import futures

        with futures.ThreadPoolExecutor(at_once, thread_name_prefix="dyff-transfer") as pool:
            try:  # Ctrl-C can come at any time, and running tasks must then stop
                running = [pool.submit(lambda task=task: calls.run(task())) for task in tasks]  # type: ignore[misc]
                done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
                for each in done:
                    each.result()
            except BaseException:
                stop()
                pool.shutdown(cancel_futures=True)
                raise

    async def close(self) -> None:
        self._client.close()


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
