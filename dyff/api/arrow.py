"""Serialised Arrow schemas in requests, which bounded programs read for us (`dyff.api.schemas`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import sys
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import anyio
import msgspec
import structlog

from dyff.api import programs
from dyff.entities import data
from dyff.kernel import errors

log = structlog.get_logger()

INDEX = "_index_"
START_S = 20.0
"""The time that a program has to start."""

ANSWER_S = 20.0
"""The time that a program has for one schema. Enough for a busy machine; usually it takes a fraction of a millisecond."""

READERS = 2
"""The most programs at the same time. They are kept, because to start one takes longer than a create."""

REMEMBERED = 4096
"""The results that are cached."""

_PROGRAM = [sys.executable, "-I", "-m", "dyff.api.schemas"]
_INVALID = "must be the base64 of a serialised Arrow schema (in Python: base64.b64encode(schema.serialize()))"
_NO_INDEX = f"must be the schema of rows with the column {INDEX!r} of type int64, which identifies them"
_TOO_COSTLY = "cannot be read as an Arrow schema: that takes more memory or time than is allowed"
_LINE_BYTES = 2 * data.MAX_SENT_SCHEMA_CHARS
"""The limit for what a program answers: most of it is the schema without metadata."""

_REMEMBERED_CHARS = 4 * 2**10
"""A schema without metadata that is longer is not cached. All that are take 16 MiB at most."""


class Found(msgspec.Struct, frozen=True):
    """What `dyff.api.schemas.look` found."""

    index: str
    unsendable: tuple[str, ...] = ()
    reduced: str | None = None


_LINE = msgspec.json.Decoder(Found | None)


class Verdict(NamedTuple):
    """What is wrong with a schema, and what is wrong with it as the schema of rows with an index; None if nothing is.

    `reduced`: what to store instead, because nobody reads the rest; None for the schema as it is.
    """

    problem: str | None = None
    as_rows: str | None = None
    reduced: str | None = None


Verdicts = dict[str, Verdict]
"""By schema."""

_UNREADABLE = Verdict(_INVALID, _INVALID)
_known: OrderedDict[bytes, Verdict] = OrderedDict()
"""The cached results, by the digest of the schema. A result depends on nothing else, so all users share them."""


def judged(found: Found | None, chars: int = 0) -> Verdict:
    """The verdict that follows from what was found. `chars`: the length of the schema in base64."""
    if found is None:
        return _UNREADABLE
    needed = chars if found.reduced is None else len(found.reduced)
    if needed > data.MAX_SCHEMA_CHARS:
        problem = f"must have at most {data.MAX_SCHEMA_CHARS} characters without large metadata; it has {needed}"
        return Verdict(problem, problem)
    if found.index != "int64":
        return Verdict(None, _NO_INDEX, found.reduced)
    unsendable = f"has fields that no request can contain: {'; '.join(found.unsendable)}" if found.unsendable else None
    return Verdict(None, unsendable, found.reduced)


class Schemas:
    """Checks schemas. Closing it ends its programs; they are started on first use, or by `warm`."""

    def __init__(self) -> None:
        """No program yet."""
        self._limiter = anyio.CapacityLimiter(READERS)
        self._idle: list[programs.Program] = []

    async def warm(self) -> None:
        """Start one program, so that the first create need not wait for it."""
        async with self._limiter:
            if not self._idle:
                try:
                    self._idle.append(await self._start())
                except errors.Unavailable as error:  # the first create tries again, and reports it
                    log.warning("schemas-not-ready", **errors.details(error))

    async def close(self) -> None:
        """End all programs."""
        while self._idle:
            await self._idle.pop().end()

    async def verdicts(self, schemas: Iterable[str]) -> Verdicts:
        """Check schemas, each in base64.

        Raises:
            Unavailable: no program can be started now.
        """
        return {text: await self._verdict(text) for text in dict.fromkeys(schemas)}

    async def _verdict(self, text: str) -> Verdict:
        name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if name in _known:
            _known.move_to_end(name)
            return _known[name]
        try:
            schema = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return _UNREADABLE
        found = await self._read(schema, len(text))
        if found is None:
            return Verdict(_TOO_COSTLY, _TOO_COSTLY)
        if len(found.reduced or "") > _REMEMBERED_CHARS:
            return found
        _known[name] = found
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
        return found

    async def _read(self, schema: bytes, chars: int) -> Verdict | None:
        """The verdict; None if two programs ended or were late. The first may have suffered from an earlier schema, the second is new."""
        async with self._limiter:
            for program in (self._idle.pop() if self._idle else await self._start(), None):
                found = await self._ask(program or await self._start(), schema, chars)
                if found is not None:
                    return found
        return None

    async def _ask(self, program: programs.Program, schema: bytes, chars: int) -> Verdict | None:
        """The verdict of a program, which is then idle; None if there is none, and the program has been ended."""
        try:
            with anyio.fail_after(ANSWER_S):
                await program.send(schema)
                found = _LINE.decode(await program.line(_LINE_BYTES))
        except (programs.Lost, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("schema-not-read", bytes=len(schema), **errors.details(error))
            await program.end()
            return None
        except BaseException:
            await program.end()  # its next line would be the answer to this schema
            raise
        self._idle.append(program)
        return judged(found, chars)

    async def _start(self) -> programs.Program:
        return await programs.ready(_PROGRAM, (), within_s=START_S, problem="schemas cannot be checked now")
