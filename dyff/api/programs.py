"""Programs in processes of their own that read untrusted bytes for the server, so that a crash or a leak of theirs is not ours.

The server sends frames (four bytes of length, big-endian, then the bytes) and gets lines; `dyff.api.bounded` is the other side. A
program inherits nothing from us: no environment, no open file, no working directory. It ends when its input does, so none outlives us.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from subprocess import DEVNULL, PIPE

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from dyff.kernel import errors

_LINE_BYTES = 16 * 2**10


class Lost(Exception):
    """The program has ended, or its output makes no sense."""


class Program:
    """A running program; use `start`."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input, self._output = process.stdin, BufferedByteReceiveStream(process.stdout)

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            Lost: the program has ended.
        """
        await self.stream(len(frame), whole(frame))

    async def stream(self, length: int, pieces: AsyncIterator[bytes]) -> None:
        """Send a frame of `length` bytes as they come; otherwise like `send`."""
        try:
            await self._input.send(length.to_bytes(4, "big"))
            async for piece in pieces:
                await self._input.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Lost from error

    async def line(self, most_bytes: int = _LINE_BYTES) -> bytes:
        """Return the next line of its output, which has at most `most_bytes`.

        Raises:
            Lost: the program has ended, or the line has no end.
        """
        try:
            return await self._output.receive_until(b"\n", most_bytes)
        except (anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Lost from error

    async def end(self) -> None:
        """End the program now."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # also what it has forked
            await self._process.aclose()


async def start(command: Sequence[str]) -> Program:
    """Start a program.

    Raises:
        OSError: it cannot be started.
    """
    process = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env={}, start_new_session=True)
    return Program(process)


async def ready(command: Sequence[str], first: Sequence[bytes], *, within_s: float, problem: str) -> Program:
    """Start a program, send it its first frames, and wait for its line `ready`. `problem`: what is not possible without it.

    Raises:
        Unavailable: it cannot be started, or is not ready in time.
    """
    unavailable = errors.Unavailable(f"{problem}; try again")
    try:
        program = await start(command)
    except OSError as error:
        raise unavailable from error
    try:
        with anyio.fail_after(within_s):
            for frame in first:
                await program.send(frame)
            if await program.line() != b"ready":
                raise Lost
    except (Lost, TimeoutError) as error:
        await program.end()
        raise unavailable from error
    except BaseException:
        await program.end()
        raise
    return program


async def whole(data: bytes) -> AsyncIterator[bytes]:
    """Yield all of `data` at once."""
    yield data
