"""Compares the rows of measurements in a bounded program (`dyff.api.comparisons.program`), and remembers what came out."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import msgspec
import structlog

from dyff.api import programs
from dyff.api.comparisons.tasks import Answer, Pairs, System, Task
from dyff.api.comparisons.terms import Source, score
from dyff.entities import codecs, comparisons, differing
from dyff.kernel import errors
from dyff.objects import layout, manifests, port

log = structlog.get_logger()

START_S = 30.0
ANSWER_S = 120.0
"""The time that the program has: on a busy machine it gets a part of the processor only."""

MAX_WAITING = 16
"""Comparisons that are being made, or wait for that."""

AT_ONCE = 1
"""Programs at the same time: each can use a processor, and a gigabyte."""

MAX_BYTES = 64 * 2**20
"""Limit of the files of one measurement."""

REMEMBERED = 256
"""The results that are cached: they never change, since a complete measurement does not."""

FAILED_S = 600.0
"""Until a comparison that took too much memory or time is tried again: anybody can load the page that asks for it."""
REMEMBERED_BYTES = 32 * 2**20
"""Limit of their JSON, together."""

_LINE_BYTES = 2**20
_Key = tuple[tuple[str, ...], str, Pairs, differing.Page | None]
"""The IDs of the measurements, the name of the score, the pairs, and the page of items that is wanted in their place."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Each thread would reserve memory of the limit."""

_PROGRAM = [sys.executable, "-I", "-m", "dyff.api.comparisons.program"]
_ANSWER = msgspec.json.Decoder(Answer)


class _TooMuch(errors.Conflict):
    """It takes too much memory or time."""


class _Job:
    """A comparison that is being made. `done`: set when there is an answer or an error."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None


class Calculating:
    """Compares for one server. While it is open, a comparison is made to its end even if nobody waits for it any more."""

    def __init__(self, objects: port.Objects) -> None:
        """`objects`: the store that has the rows."""
        self._objects = objects
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._known: OrderedDict[_Key, bytes] = OrderedDict()
        self._failed: OrderedDict[_Key, tuple[float, _TooMuch]] = OrderedDict()
        self._jobs: dict[_Key, _Job] = {}
        self._group: anyio.abc.TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Make comparisons in the background until the end of the block."""
        async with anyio.create_task_group() as self._group:
            try:
                yield
            finally:
                self._group.cancel_scope.cancel()
                self._group = None

    async def answer(self, sources: Sequence[Source], name: str, pairs: Pairs, page: differing.Page | None = None) -> Answer:
        """Compare sources by the score `name`, which all have. `page`: of items, which are found in place of comparing pairs.

        Raises:
            Conflict: a measurement has no rows, or too many.
            Unavailable: no program can be started now, or too many comparisons are being made.
        """
        key = (tuple(each.key for each in sources), name, pairs, page)
        if key in self._known:
            self._known.move_to_end(key)
            return _ANSWER.decode(self._known[key])
        failed = self._failed.get(key)
        if failed is not None and anyio.current_time() < failed[0]:
            raise failed[1]
        job = self._jobs.get(key)
        if job is None:
            if len(self._jobs) >= MAX_WAITING:
                raise errors.Unavailable("many comparisons are being made; try again", retry_after_s=10)
            job = self._jobs[key] = _Job()
            if self._group is None:
                await self._run(job, key, sources)
            else:
                self._group.start_soon(self._run, job, key, sources)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        assert job.answer is not None
        return job.answer

    async def _run(self, job: _Job, key: _Key, sources: Sequence[Source]) -> None:
        try:
            listed = [await self._files(each) for each in sources]
            async with self._limiter:
                line = await self._asked(sources, listed, *key[1:])
            job.answer = _decoded(line, sources)
            self._known[key] = line
            while len(self._known) > REMEMBERED or sum(map(len, self._known.values())) > REMEMBERED_BYTES:
                self._known.popitem(last=False)
        except _TooMuch as error:
            job.error = error
            self._failed[key] = (anyio.current_time() + FAILED_S, error)
            while len(self._failed) > REMEMBERED:
                self._failed.popitem(last=False)
        except Exception as error:  # of whatever kind: it is for those who wait, and must not end the server's other comparisons
            job.error = error
        finally:
            del self._jobs[key]
            if job.answer is None and job.error is None:
                job.error = errors.Unavailable("the comparison could not be made now; try again")
            job.done.set()

    async def _asked(
        self,
        sources: Sequence[Source],
        listed: Sequence[Sequence[manifests.Artifact]],
        name: str,
        pairs: Pairs,
        page: differing.Page | None,
    ) -> bytes:
        """The line that the program answers."""
        declared = score(sources[0], name) or {}
        systems = [
            System(len(files), float((score(each, name) or {})["quantity"]), each.replications)
            for each, files in zip(sources, listed, strict=True)
        ]
        task = Task(name, declared.get("valence") or "neutral", comparisons.LEVEL, systems, list(pairs), page)
        problem = "comparisons cannot be made now"
        program = await programs.ready(_PROGRAM, (), within_s=START_S, problem=problem, variables=_ONE_THREAD)
        try:
            with anyio.fail_after(ANSWER_S):
                await program.send(codecs.encode(msgspec.to_builtins(task)))
                for each in (one for files in listed for one in files):
                    await program.stream(each.size, self._objects.stream(each.key))
                return await program.line(_LINE_BYTES)
        except (programs.Lost, TimeoutError) as error:
            raise _too_much(sources, error) from error
        finally:
            await program.end()

    async def _files(self, source: Source) -> list[manifests.Artifact]:
        """The Parquet files of a measurement. Raises Conflict if there are none, or they are too large."""
        manifest = await manifests.read(self._objects, layout.root("measurements", source.key))
        files = [each for each in manifest.artifacts if each.path.endswith(".parquet")] if manifest is not None else []
        if not files:
            raise errors.Conflict(f"the measurement {source.key} cannot be compared: it has no stored rows")
        size = sum(each.size for each in files)
        if size > MAX_BYTES:
            raise errors.Conflict(
                f"the measurement {source.key} cannot be compared: its rows have {size} bytes, and at most {MAX_BYTES} are read"
            )
        return files


def _decoded(line: bytes, sources: Sequence[Source]) -> Answer:
    try:
        return _ANSWER.decode(line)
    except msgspec.MsgspecError as error:
        raise _too_much(sources, error) from error


def _too_much(sources: Sequence[Source], error: Exception) -> _TooMuch:
    log.warning("not-compared", measurements=[each.key for each in sources], **errors.details(error))
    fix = "compare fewer systems at once, or measurements with fewer rows"
    return _TooMuch(f"comparing these measurements takes more memory or time than is allowed; {fix}")
