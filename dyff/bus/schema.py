"""The schema of the log: which topics it has, and their retention. The record of its migrations is a topic, too.

Events are never rewritten, and state is derived from them: readers understand what every release wrote. So a step creates topics.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import msgspec

from dyff.bus import port, topics
from dyff.kernel import errors, schema

_decoder = msgspec.json.Decoder(schema.Applied)
_MAX_RECORDS = 1000
_LIMIT_S = 60.0
"""There is one record per migration, so this suffices unless the brokers are in trouble."""


class BusStep(msgspec.Struct, frozen=True):
    """The interface for a step. `partitions`: of events and state, from the settings."""

    bus: port.Bus
    partitions: int


class BusStore:
    """See `dyff.kernel.schema.Store`."""

    name = "bus"

    def __init__(self, bus: port.Bus, partitions: int) -> None:
        """`partitions`: of events and state, from the settings."""
        self._bus, self._partitions = bus, partitions

    async def applied(self) -> Sequence[schema.Applied]:
        try:
            (held,) = (await self._bus.ranges(topics.SCHEMA)).values()
        except errors.NotFound:
            return []
        found: dict[bytes, schema.Applied] = {}
        with anyio.move_on_after(_LIMIT_S) as limit:
            async with self._bus.read(topics.SCHEMA, 0, held.first) as reader:
                while reader.position < held.end:
                    for record in await reader.poll(_MAX_RECORDS, 1.0):
                        if record.value is not None:
                            found.setdefault(record.key, _decoder.decode(record.value))
        if limit.cancelled_caught:
            raise errors.Unavailable(f"the topic {topics.SCHEMA} could not be read to its end within {_LIMIT_S:.0f} s")
        return list(found.values())

    async def apply(self, step: schema.Step, at: str, release: str) -> None:
        """The step is called with a `BusStep`."""
        await self._bus.create_topics([topics.SCHEMA_SPEC])
        await step.run(BusStep(self._bus, self._partitions))
        applied = schema.Applied(step.name, at, release)
        await self._bus.publish(topics.SCHEMA, [port.Message(step.name.encode(), msgspec.json.encode(applied))])

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        return await self._bus.amend_topics([topics.SCHEMA_SPEC, *topics.specs(self._partitions)], dry_run=dry_run)
