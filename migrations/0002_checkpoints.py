"""The topic of the aggregator's checkpoints, from which it resumes after a restart instead of reading all states."""

from __future__ import annotations

from dyff.bus import topics
from dyff.bus.schema import BusStep
from dyff.kernel import schema


async def _topic(step: BusStep) -> None:
    await step.bus.amend_topics([each for each in topics.specs(step.partitions) if each.name == topics.CHECKPOINTS])


PRE: schema.Steps = {"bus": _topic}
POST: schema.Steps = {}
