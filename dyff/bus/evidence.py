"""With how many partitions the log was made, as its records show: each event is in the partition of its entity's ID.

A setting that does not fit is refused before anything is written, also one that equals the number of partitions that a topic has now.
"""

from __future__ import annotations

from dyff.bus import envelope, port, topics
from dyff.kernel import errors

SAMPLE = 20
"""How many of the first and of the last records of each partition are looked at."""


async def require(bus: port.Bus, partitions: int) -> None:
    """Refuse a number of partitions with which events would be in other partitions than those that are there.

    Raises:
        Misconfigured: it is not the number that the log was made with; the message has that, if the records show it.
    """
    found = await _sample(bus)
    wrong = [(at, key) for at, key in found if topics.partition_of(key, partitions) != at]
    if not wrong:
        return
    at, key = wrong[0]
    fitting = [number for number in range(1, partitions) if all(topics.partition_of(k, number) == p for p, k in found)]
    remedy = (
        f"its records were written with {fitting[-1]}: set bus.partitions to {fitting[-1]} again, also if the topic has more now"
        if fitting
        else "its records fit no number: some were written after partitions had been added; restore a backup of the log"
    )
    raise errors.Misconfigured(
        f"bus.partitions is {partitions}, but {key.decode(errors='replace')} is in {topics.EVENTS}/{at} and not in"
        f" {topics.EVENTS}/{topics.partition_of(key, partitions)}: {remedy}; see docs/production.md, 'Partitions were added'"
    )


async def _sample(bus: port.Bus) -> list[tuple[int, bytes]]:
    """Partitions and keys of the first and the last events."""
    found: list[tuple[int, bytes]] = []
    for partition, held in sorted((await bus.ranges(topics.EVENTS)).items()):
        ends = {*range(held.first, min(held.first + SAMPLE, held.end)), *range(max(held.first, held.end - SAMPLE), held.end)}
        if ends:
            records = await bus.lookup(topics.EVENTS, partition, sorted(ends))
            found += [(partition, each.key) for each in records.values() if not each.key.startswith(envelope.MARKER_KEY)]
    return found
