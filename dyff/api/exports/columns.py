"""The columns of the Arrow schemas of datasets, which a bounded program reads for us (`dyff.api.exports.columns_program`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import sys
from collections import OrderedDict

import anyio
import structlog

from dyff.api import programs
from dyff.entities import codecs
from dyff.kernel import errors

log = structlog.get_logger()

START_S = 20.0
ANSWER_S = 20.0
"""As for checks of schemas (`dyff.api.arrow`)."""

LINE_BYTES = 4 * 2**20
"""The limit for what the program answers."""

REMEMBERED = 64
"""The results that are cached: each has at most `LINE_BYTES`, and few have a thousandth of it."""

_PROGRAM = [sys.executable, "-I", "-m", "dyff.api.exports.columns_program"]


class Columns:
    """Reads schemas, one at a time, each with a program of its own: exports are rare, and the results are kept."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._limiter = anyio.CapacityLimiter(1)
        self._known: OrderedDict[bytes, list[codecs.Json]] = OrderedDict()

    async def of(self, encoded: str | None) -> list[codecs.Json]:
        """The columns of a schema in base64, as `dyff.adapters.croissant_fields.described` has them; none if it cannot be read.

        Raises:
            Unavailable: no program can be started now.
        """
        try:
            schema = base64.b64decode(encoded or "", validate=True)
        except (binascii.Error, ValueError):
            return []
        if not schema:
            return []
        name = hashlib.sha256(schema).digest()
        async with self._limiter:
            if name not in self._known:
                self._known[name] = await _read(schema)
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(name)
            return self._known[name]


async def _read(schema: bytes) -> list[codecs.Json]:
    program = await programs.ready(_PROGRAM, (), within_s=START_S, problem="schemas cannot be read now")
    try:
        with anyio.fail_after(ANSWER_S):
            await program.send(schema)
            return codecs.decode(await program.line(LINE_BYTES)) or []
    except (programs.Lost, TimeoutError, ValueError) as error:
        log.warning("schema-not-described", bytes=len(schema), **errors.details(error))
        return []
    finally:
        await program.end()
