"""Compares the rows of measurements in a bounded program (`dyff.api.comparisons.program`), and remembers what came out."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence

import anyio
import msgspec
import structlog

from dyff.api import programs
from dyff.api.comparisons.tasks import Answer, Pairs, System, Task
from dyff.api.comparisons.terms import Source, score
from dyff.entities import codecs, comparisons
from dyff.kernel import errors
from dyff.objects import layout, manifests, port

log = structlog.get_logger()

START_S = 30.0
ANSWER_S = 120.0
"""The time that the program has: on a busy machine it gets a part of the processor only."""

WAIT_S = 60.0
"""How long a request waits until the comparisons before it are done."""

AT_ONCE = 1
"""Programs at the same time: each can use a processor, and a gigabyte."""

MAX_BYTES = 64 * 2**20
"""Limit of the files of one measurement."""

REMEMBERED = 256
"""The results that are cached: they never change, since a complete measurement does not."""

_LINE_BYTES = 2**20
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Each thread would reserve memory of the limit."""

_PROGRAM = [sys.executable, "-I", "-m", "dyff.api.comparisons.program"]
_ANSWER = msgspec.json.Decoder(Answer)


class Calculating:
    """Compares for one server."""

    def __init__(self, objects: port.Objects) -> None:
        """`objects`: the store that has the rows."""
        self._objects = objects
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._known: OrderedDict[tuple[tuple[str, ...], str, Pairs], Answer] = OrderedDict()

    async def answer(self, sources: Sequence[Source], name: str, pairs: Pairs) -> Answer:
        """Compare sources by the score `name`, which all have.

        Raises:
            Conflict: a measurement has no rows, or too many.
            Unavailable: no program can be started now, or it takes too long.
        """
        key = (tuple(each.key for each in sources), name, pairs)
        if key not in self._known:
            listed = [await self._files(each) for each in sources]
            try:
                with anyio.fail_after(WAIT_S):
                    await self._limiter.acquire()
            except TimeoutError as error:
                raise errors.Unavailable("other comparisons are being made; try again", retry_after_s=10) from error
            try:
                if key not in self._known:
                    self._known[key] = await self._asked(sources, listed, name, pairs)
            finally:
                self._limiter.release()
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    async def _asked(self, sources: Sequence[Source], listed: Sequence[Sequence[manifests.Artifact]], name: str, pairs: Pairs) -> Answer:
        declared = score(sources[0], name) or {}
        systems = [
            System(len(files), float((score(each, name) or {})["quantity"]), each.replications)
            for each, files in zip(sources, listed, strict=True)
        ]
        task = Task(name, declared.get("valence") or "neutral", comparisons.LEVEL, systems, list(pairs))
        problem = "comparisons cannot be made now"
        program = await programs.ready(_PROGRAM, (), within_s=START_S, problem=problem, variables=_ONE_THREAD)
        try:
            with anyio.fail_after(ANSWER_S):
                await program.send(codecs.encode(msgspec.to_builtins(task)))
                for each in (one for files in listed for one in files):
                    await program.stream(each.size, self._objects.stream(each.key))
                return _ANSWER.decode(await program.line(_LINE_BYTES))
        except (programs.Lost, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("not-compared", measurements=[each.key for each in sources], **errors.details(error))
            fix = "compare fewer systems at once, or measurements with fewer rows"
            raise errors.Conflict(f"comparing these measurements takes more memory or time than is allowed; {fix}") from error
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
