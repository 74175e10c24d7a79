"""Asks the programs that read samples, and gives them the bytes that they ask for."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import msgspec
import structlog

from dyff.api import programs
from dyff.api.samples import asked
from dyff.kernel import errors
from dyff.objects import port

log = structlog.get_logger()

PROGRAMS = 4
"""The most at the same time. One account has at most half of them."""

START_S = 20.0
WAIT_S = 10.0
"""How long a request waits for a program."""

ANSWER_S = 20.0
"""The time that a program has for one request."""

READ_BYTES = 64 * 2**20
"""The most that a program is given at a time: a page of a column is read whole."""

LINE_BYTES = 4 * asked.MAX_VALUE_BYTES
"""The limit for what a program answers: a value in base64, or a page with one sample that is large."""

RETRY_S = 5.0

_PROGRAM = [sys.executable, "-I", "-m", "dyff.api.samples.program"]
_ANSWER = msgspec.json.Decoder(asked.Answer)


class Stored(NamedTuple):
    """A file: the object with its bytes, and its size."""

    key: str
    size: int


class Asking:
    """The programs of one server; they are started on first use, or by `warm`."""

    def __init__(self, objects: port.Objects) -> None:
        """`objects`: where the files are."""
        self._objects = objects
        self._idle: list[programs.Program] = []
        self._running: Counter[str] = Counter()
        self._freed = anyio.Event()

    async def warm(self) -> None:
        """Start one program, so that the first page need not wait for it."""
        try:
            self._idle.append(await self._start())
        except errors.Unavailable as error:  # the first page tries again, and reports it
            log.warning("samples-not-ready", **errors.details(error))

    async def close(self) -> None:
        """End all programs."""
        while self._idle:
            await self._idle.pop().end()

    async def ask(self, account: str, request: asked.Request, files: Sequence[Stored]) -> asked.Page | asked.Value:
        """The answer to a request of an account. `files`: by their numbers.

        Raises:
            Conflict: the files cannot be read; the message says why.
            Unavailable: too many are being read, or the store does not answer.
            Damaged: a file is not what was stored.
        """
        frame = msgspec.json.encode(request)
        async with self._place(account):
            for is_last in (False, True):  # the first may be one that was kept, and has used up its time
                program = self._idle.pop() if self._idle and not is_last else await self._start()
                found = await self._talk(program, frame, files)
                if found is not None:
                    return found
        raise errors.Conflict("the samples cannot be shown: reading them takes more memory or time than is allowed; download the files")

    async def _talk(self, program: programs.Program, frame: bytes, files: Sequence[Stored]) -> asked.Page | asked.Value | None:
        """The answer of a program, which is then idle; None if there is none, and it has been ended."""
        is_well = False
        try:
            with anyio.fail_after(ANSWER_S):
                await program.send(frame)
                while True:
                    answer = _ANSWER.decode(await program.line(LINE_BYTES))
                    if not isinstance(answer, asked.Read):
                        break
                    await program.send(await self._read(answer, files))
            is_well = True
        except (programs.Lost, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("samples-not-read", **errors.details(error))
            return None
        finally:
            if is_well:
                self._idle.append(program)
            else:
                await program.end()  # its next line would be about this request
        if isinstance(answer, asked.Failed):
            raise errors.Conflict(f"the samples cannot be shown: {answer.problem}")
        return answer

    async def _read(self, wanted: asked.Read, files: Sequence[Stored]) -> bytes:
        if not (0 <= wanted.file < len(files) and 0 <= wanted.start <= wanted.end <= files[wanted.file].size):
            raise programs.Lost
        if wanted.end - wanted.start > READ_BYTES:
            raise errors.Conflict(f"the samples cannot be shown: a page of a column has more than {READ_BYTES} bytes; download the files")
        key = files[wanted.file].key
        try:
            return b"".join([piece async for piece in self._objects.stream(key, start=wanted.start, end=wanted.end)])
        except errors.NotFound as error:
            raise errors.Damaged(f"the file {key} is missing; restore it from a backup") from error

    async def _start(self) -> programs.Program:
        return await programs.ready(_PROGRAM, (), within_s=START_S, problem="samples cannot be read now")

    @asynccontextmanager
    async def _place(self, account: str) -> AsyncIterator[None]:
        with anyio.move_on_after(WAIT_S) as waiting:
            while self._running.total() >= PROGRAMS or self._running[account] >= PROGRAMS // 2:
                await self._freed.wait()
        if waiting.cancelled_caught:
            raise errors.Unavailable("the samples of too many evaluations are being read; try again", retry_after_s=RETRY_S)
        self._running[account] += 1
        try:
            yield
        finally:
            self._running[account] -= 1
            self._running += Counter()  # without those of zero
            freed, self._freed = self._freed, anyio.Event()
            freed.set()
