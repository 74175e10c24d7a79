"""The only place where a topic is named, and the partitioner that all adapters share."""

from __future__ import annotations

import zlib

from dyff.bus import port

EVENTS = "dyff.workflows.events"
STATE = "dyff.workflows.state"
QUARANTINE = "dyff.workflows.quarantine"
ACCOUNTS = "dyff.accounts.events"

PROGRESS_KEY = b"dyff.progress"
"""Key of the records on STATE that say only how far the events of their partition were folded."""


def specs(partitions: int) -> tuple[port.TopicSpec, ...]:
    """The topics of an installation. Events and state must have the same number of partitions."""
    return (
        port.TopicSpec(EVENTS, partitions, compacted=False),
        port.TopicSpec(STATE, partitions, compacted=True),
        port.TopicSpec(QUARANTINE, 1, compacted=False),
        port.TopicSpec(ACCOUNTS, 1, compacted=False),
    )


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of `key`. Fixed for ever: changing it is a migration to a new log epoch."""
    return zlib.crc32(key) % partitions
