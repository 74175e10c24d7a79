"""From here on, events are folded by version 2: states are bounded, and an accepted creation is never dropped (docs/adr/0017)."""

from __future__ import annotations

from dyff.bus import envelope, topics
from dyff.bus.schema import BusStep
from dyff.kernel import schema


async def _markers(step: BusStep) -> None:
    # After the last process of a release that knows only version 1: it would stop at the marker.
    messages = [envelope.marker_message(2, partition) for partition in range(step.partitions)]
    await step.bus.publish(topics.EVENTS, messages)


PRE: schema.Steps = {}
POST: schema.Steps = {"bus": _markers}
