"""How far the view is behind the log, and the `Dyff-Position` header with which a reader sees its own writes."""

from __future__ import annotations

import re

from dyff.api.services import Services
from dyff.bus import port as bus
from dyff.bus import topics
from dyff.kernel import errors, positions

HEADER = "dyff-position"
PATTERN = "^[!-:<-~]*;[0-9]{1,18}=[0-9]{1,18}(,[0-9]{1,18}=[0-9]{1,18})*$"
"""What the header's value looks like; clients need not know."""

_FORM = re.compile(PATTERN)


class Positions:
    """Positions of the events log, and waiting for the view to reach them."""

    def __init__(self, services: Services) -> None:
        """Asks the bus for the log's identity at the first use."""
        self._services = services
        self._topic: bus.Topic | None = None

    async def topic(self) -> bus.Topic:
        """The events topic; its epoch and its partitions do not change while a server runs."""
        if self._topic is None:
            self._topic = await self._services.bus.topic(topics.EVENTS)
        return self._topic

    async def follow(self, text: str) -> None:
        """Wait until the view shows all that the header's value `text` asks for.

        A position in another log than ours (one that was restored or re-created since) asks for nothing.

        Raises:
            InvalidFields: it is no such value.
            NotReady: the view has not reached it within the setting `api.read_wait_s`.
        """
        topic = await self.topic()
        if not _FORM.fullmatch(text):
            fix = "must be the value that a response had, such as 'epoch;0=12,3=4'"
            raise errors.InvalidFields(errors.Problem(("header", "Dyff-Position"), fix))
        epoch, ends = positions.parse_header(text)
        if epoch != topic.epoch:
            return
        if any(partition not in range(topic.partitions) for partition in ends):
            fix = f"has a partition that the log does not have: it has 0 to {topic.partitions - 1}"
            raise errors.InvalidFields(errors.Problem(("header", "Dyff-Position"), fix))
        if not await self._wait(ends):
            raise errors.NotReady("the view has not reached the position that was asked for; try again")

    async def reaches(self, position: positions.Position) -> bool:
        """Wait until the view shows the event at `position`; False: not within the setting `api.read_wait_s`."""
        return await self._wait({position.partition: position.offset + 1})

    async def reaches_end(self, entity_id: str) -> bool:
        """Wait until the view shows all that the log now has about an entity; False: not in time."""
        topic = await self.topic()
        partition = topics.partition_of(entity_id.encode(), topic.partitions)
        end = (await self._services.bus.ranges(topics.EVENTS))[partition].end
        return end == 0 or await self._wait({partition: end})

    async def _wait(self, ends: dict[int, int]) -> bool:
        return await self._services.query.wait(ends, self._services.settings.read_wait_s)


def header(position: positions.Position) -> tuple[str, str]:
    """The response header of a write at `position`."""
    return (HEADER, positions.header(position.epoch, {position.partition: position.offset + 1}))
