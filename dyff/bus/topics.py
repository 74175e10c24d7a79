"""The names of all topics, and the partitioner that all adapters share."""

from __future__ import annotations

import zlib

from dyff.bus import port
from dyff.kernel import errors

EVENTS = "dyff.workflows.events"
STATE = "dyff.workflows.state"
QUARANTINE = "dyff.workflows.quarantine"
ACCOUNTS = "dyff.accounts.events"
SCHEMA = "dyff.schema"
CHECKPOINTS = "dyff.workflows.checkpoints"
"""Checkpoints of the owners of STATE's partitions, so that the next owner need not read all of it. A cache: it can be lost."""

PROGRESS_KEY = b"dyff.progress"
"""Key of the records on STATE that only record how far the events of their partition were folded."""

SCHEMA_SPEC = port.TopicSpec(SCHEMA, 1, compacted=True)
"""The record of the applied migrations, by name; the first one creates it."""


def specs(partitions: int) -> tuple[port.TopicSpec, ...]:
    """The topics of an installation. Events, state and checkpoints must have the same number of partitions."""
    return (
        port.TopicSpec(EVENTS, partitions, compacted=False),
        port.TopicSpec(STATE, partitions, compacted=True),
        port.TopicSpec(CHECKPOINTS, partitions, compacted=True),
        port.TopicSpec(QUARANTINE, 1, compacted=False),
        port.TopicSpec(ACCOUNTS, 1, compacted=False),
    )


def require_same(found: port.Topic, wanted: port.TopicSpec) -> None:
    """Refuse a topic that differs from the wanted one in a property that can't be changed.

    Raises:
        Misconfigured: it has another number of partitions, or another clean-up policy.
    """
    if found.partitions != wanted.partitions:
        raise errors.Misconfigured(
            f"topic {found.name} has {found.partitions} partitions, wanted are {wanted.partitions}: their number can't be changed, because"
            " an entity's partition follows from its ID and that number, and with another one its events would be in two partitions,"
            f" in no order; set bus.partitions to {found.partitions} again, unless the topic was deleted and created again: then restore it"
        )
    if found.compacted != wanted.compacted:
        kept = {True: "compacted", False: "kept as a whole"}
        raise errors.Misconfigured(
            f"topic {found.name} is {kept[found.compacted]}, and must be {kept[wanted.compacted]}: run 'dyff migrate pre'"
        )


async def require(bus: port.Bus, partitions: int) -> None:
    """Refuse a log whose topics do not fit the settings.

    Raises:
        Misconfigured: one has another number of partitions, or another clean-up policy.
        OlderSchema: one does not exist.
    """
    for wanted in specs(partitions):
        try:
            found = await bus.topic(wanted.name)
        except errors.NotFound as error:
            raise errors.OlderSchema(f"topic {wanted.name} is not there: run 'dyff migrate pre', which makes it") from error
        require_same(found, wanted)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of `key`. It must never change: that would be a migration to a new log epoch."""
    return zlib.crc32(key) % partitions
