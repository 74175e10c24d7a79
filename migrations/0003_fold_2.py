"""From here on, events are folded by version 2: states are bounded, and an accepted creation is never dropped (docs/adr/0017)."""

from __future__ import annotations

from dyff.bus import envelope, topics
from dyff.bus.schema import BusStep
from dyff.kernel import schema


async def _at_the_beginning(step: BusStep) -> None:
    # A log without events has no owner whose release could be too old.
    if all(held.end == 0 for held in (await step.bus.ranges(topics.EVENTS)).values()):
        await _markers(step)


async def _markers(step: BusStep) -> None:
    # A process of a release that knows only version 1 would stop at the marker, so this comes after the last of them is gone.
    partitions = (await step.bus.topic(topics.EVENTS)).partitions  # not those of the settings, which are checked later
    messages = [envelope.marker_message(2, partition) for partition in range(partitions)]
    await step.bus.publish(topics.EVENTS, messages)


PRE: schema.Steps = {"bus": _at_the_beginning}
POST: schema.Steps = {"bus": _markers}
