"""Waiting for the view to catch up with the log, and the `Dyff-Position` header, with which clients read their own writes."""

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
    """Positions in the events log, and waiting for the view to reach them."""

    def __init__(self, services: Services) -> None:
        """The bus is asked for the identity of the log on first use."""
        self._services = services
        self._topic: bus.Topic | None = None

    async def topic(self) -> bus.Topic:
        """Return the events topic. Its epoch and its partitions do not change while a server runs."""
        if self._topic is None:
            self._topic = await self._services.bus.topic(topics.EVENTS)
        return self._topic

    async def follow(self, text: str) -> None:
        """Wait until the view has reached the positions in the header's value `text`.

        A position in another log (because ours was re-created since) is ignored. So is what a restored log does not have any more.

        Raises:
            InvalidFields: it is not a valid value.
            NotReady: the view has not reached it within the setting `api.read_wait_s`.
        """
        topic = await self.topic()
        if not _FORM.fullmatch(text):
            fix = "must be the value that a response had, such as 'epoch;0=12,3=4'"
            raise errors.InvalidFields(errors.Problem(("header", "Dyff-Position"), fix))
        epoch, ends = positions.parse_header(text)
        ends = topic.epochs.known(epoch, ends)
        if any(partition not in range(topic.partitions) for partition in ends):
            fix = f"has a partition that the log does not have: it has 0 to {topic.partitions - 1}"
            raise errors.InvalidFields(errors.Problem(("header", "Dyff-Position"), fix))
        if not await self._wait(ends):
            raise errors.NotReady("the view has not reached the position that was asked for; try again")

    async def reaches(self, position: positions.Position) -> bool:
        """Wait until the view includes the event at `position`; False if that takes longer than the setting `api.read_wait_s`."""
        return await self._wait({position.partition: position.offset + 1})

    async def reaches_end(self, entity_id: str) -> bool:
        """Wait until the view includes all that the log now has about an entity; False if that takes longer than `api.read_wait_s`."""
        topic = await self.topic()
        partition = topics.partition_of(entity_id.encode(), topic.partitions)
        end = (await self._services.bus.ranges(topics.EVENTS))[partition].end
        return end == 0 or await self._wait({partition: end})

    async def _wait(self, ends: dict[int, int]) -> bool:
        return await self._services.query.wait(ends, self._services.settings.read_wait_s)


def header(position: positions.Position) -> tuple[str, str]:
    """Return the response header for a write at `position`."""
    return (HEADER, positions.header(position.epoch, {position.partition: position.offset + 1}))
