"""Checks the contents of a dataset's uploaded files: they must be Parquet, match the declared schema, and have rows.

Only footers are read, so a check is quick whatever the size of the files. The reader is a program in a process of
its own (`dyff.api.footers`), because the files are not trusted.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import msgspec
import structlog

from dyff.adapters import file_ends, partitions
from dyff.api import programs
from dyff.entities import codecs
from dyff.kernel import errors
from dyff.objects import manifests, port

log = structlog.get_logger()

ANSWER_S = 20.0
"""The time that the program has to start, and the time that it has to answer for each file."""

READERS_AT_ONCE = 2
_TAIL_BYTES = 64 * 2**10
"""The size of the first read from the end of a file. It contains nearly every footer."""

_TAILS_AT_ONCE = 16
_PROGRAM = [sys.executable, "-I", "-m", "dyff.api.footers"]
_FIX = (
    "fix the file or leave it out, or declare the schema that it has, and create a new dataset: this one takes only the bytes that it was "
    "created for"
)


class Found(msgspec.Struct, frozen=True):
    """The program's result for a file. `problems`: ends of sentences."""

    rows: int
    problems: tuple[str, ...]


_FOUND = msgspec.json.Decoder(Found)


class Contents:
    """Checks the contents of files, with a bounded number of concurrent programs."""

    def __init__(self, objects: port.Objects) -> None:
        """`objects`: the store that has the files."""
        self._objects = objects
        self._limiter = anyio.CapacityLimiter(READERS_AT_ONCE)

    async def check(self, entity: codecs.Json, manifest: manifests.Manifest) -> None:
        """Check that the files of the dataset `entity` can be read with its declared schema.

        Raises:
            FixRequest: they cannot; the message names the file, the difference and the fix.
            Unavailable: the check cannot run now.
        """
        rows = 0
        schema = base64.b64decode(entity["schema"]["arrowSchema"])
        async with self._limiter, _reader(schema, _by_path(manifest)) as reader:
            for stored in _batches(manifest.artifacts):
                tails = await self._tails(stored)
                for each in stored:
                    found = await self._look(reader, each, tails[each.key])
                    if found.problems:
                        raise errors.FixRequest(f"{each.path!r} {_sentence(found.problems)}; {_FIX}")
                    rows += found.rows
        if not rows:
            first = manifest.artifacts[0].path
            more = f" and the other {len(manifest.artifacts) - 1} files" if len(manifest.artifacts) > 1 else ""
            raise errors.FixRequest(f"the dataset has no rows at all: {first!r}{more} should have at least one; {_FIX}")

    async def _tails(self, stored: tuple[manifests.Artifact, ...]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}

        async def fetch(each: manifests.Artifact) -> None:
            found[each.key] = b"".join([piece async for piece in self._pieces(each, max(0, each.size - _TAIL_BYTES))])

        try:
            async with anyio.create_task_group() as group:
                for each in stored:
                    group.start_soon(fetch, each)
        except ExceptionGroup as errors_of_files:
            raise errors_of_files.exceptions[0] from errors_of_files
        return found

    def _pieces(self, each: manifests.Artifact, start: int) -> AsyncIterator[bytes]:
        return self._objects.stream(each.key, start=start, end=each.size)

    async def _look(self, reader: _Reader, each: manifests.Artifact, tail: bytes) -> Found:
        length = file_ends.length(tail)
        if problem := file_ends.problem(tail, length, each.size):
            return Found(0, (problem,))
        footer = programs.whole(tail[-length:]) if length <= len(tail) else self._pieces(each, each.size - length)
        try:
            with anyio.fail_after(ANSWER_S):
                return await reader.ask(each.path, each.size, length, footer)
        except (programs.Lost, TimeoutError) as error:
            log.warning("footer-not-read", key=each.key, **errors.details(error))
            return Found(0, ("cannot be read as a Parquet file (reading its footer takes more memory or time than is allowed)",))


class _Reader:
    """The running program."""

    def __init__(self, program: programs.Program) -> None:
        self._program = program

    async def ask(self, path: str, size: int, length: int, footer: AsyncIterator[bytes]) -> Found:
        """Return its result for a file of `size` bytes. `length`: of its footer.

        Raises:
            Lost: it has ended, or its output makes no sense.
        """
        await self._program.send(path.encode())
        await self._program.send(str(size).encode())
        await self._program.stream(length, footer)
        try:
            return _FOUND.decode(await self._program.line())
        except msgspec.MsgspecError as error:
            raise programs.Lost from error


@asynccontextmanager
async def _reader(schema: bytes, by_path: bytes) -> AsyncIterator[_Reader]:
    """Run the program until the end of the block. `by_path`: the JSON list of the columns that come from paths.

    Raises:
        Unavailable: it cannot be started.
    """
    first, problem = (schema, by_path), "the uploaded files cannot be looked at now"
    program = await programs.ready(_PROGRAM, first, within_s=ANSWER_S, problem=problem)
    try:
        yield _Reader(program)
    finally:
        await program.end()


def _sentence(problems: tuple[str, ...]) -> str:
    """The end of a sentence that has the file's name before it."""
    text = "; ".join(problems)
    return f"is not as the schema declares: {text}" if text.startswith("the field") else text


def _by_path(manifest: manifests.Manifest) -> bytes:
    return codecs.encode(sorted(partitions.by_path(each.path for each in manifest.artifacts)))


def _batches(stored: tuple[manifests.Artifact, ...]) -> Iterator[tuple[manifests.Artifact, ...]]:
    return (stored[at : at + _TAILS_AT_ONCE] for at in range(0, len(stored), _TAILS_AT_ONCE))
