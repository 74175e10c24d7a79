"""Partitions that someone added to a topic (`kafka-topics --alter --partitions`), which cannot be undone on Kafka.

An entity's partition follows from its ID and the number of partitions. With the new number its next events would be in another
partition, in no order with the earlier ones. So the log keeps the number that it was made with, and added partitions are not used. If
one has records nevertheless, a process has used the new number, and no number is right any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from dyff.bus import port
from dyff.kernel import degradation, errors

WHERE = "docs/production.md, 'Partitions were added'"


def trouble(topic: str) -> str:
    """The name of the trouble."""
    return f"partitions of {topic}"


def report(troubles: degradation.Troubles, topic: str, there: int, used: int) -> None:
    """Report added partitions, which are empty."""
    troubles.report(
        trouble(topic),
        f"topic {topic} has {there} partitions, and the log was made with {used}: someone has added some. They are not used, and nothing"
        f" is lost. Leave bus.partitions at {used}; see {WHERE}",
    )


def require_empty(topic: str, used: int, ranges: Mapping[int, port.Range]) -> None:
    """Refuse added partitions with records. `ranges`: of all partitions of the topic.

    Raises:
        Misconfigured: one has, or had, records.
    """
    filled = sorted(number for number, held in ranges.items() if number >= used and held.end > 0)
    if filled:
        raise errors.Misconfigured(
            f"topic {topic} has {len(ranges)} partitions, bus.partitions is {used}, and there are records in {topic}/{filled[0]}: either"
            f" the setting is not the number that the log was made with (then set bus.partitions to {len(ranges)} again), or a process has"
            f" used added partitions, and what it wrote is not in order; see {WHERE}"
        )
