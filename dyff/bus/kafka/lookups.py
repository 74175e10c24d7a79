"""Looks up single records by offset; a consumer would fetch far more than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka import TopicPartition
from aiokafka import errors as kafka
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record import MemoryRecords

from dyff.bus import port
from dyff.bus.kafka import codes

_AT_ONCE = 16
_ALL = 0
"""Isolation level `read_uncommitted`: the caller knows these offsets because it has seen the records committed."""


async def records(network: Any, topic: str, place: TopicPartition, offsets: Collection[int]) -> dict[int, port.Record]:
    """The records at these offsets; missing ones are omitted. `network`: the vendor's client. `topic`: without the prefix.

    Raises:
        KafkaError: the broker does not return them.
    """
    await network._wait_on_metadata(place.topic)
    wanted, found = set(offsets), dict[int, port.Record]()
    left = sorted(wanted)
    while left:
        answers = await asyncio.gather(*(_batch(network, place, offset) for offset in left[:_AT_ONCE]))
        left = left[_AT_ONCE:]
        for data in answers:
            for each in _records(data, place):
                if each.offset in wanted and each.offset not in found:
                    headers = tuple(each.headers)
                    found[each.offset] = port.Record(
                        topic, place.partition, each.offset, each.timestamp, each.key or b"", each.value, headers
                    )
        left = [offset for offset in left if offset not in found]
    return found


async def _batch(network: Any, place: TopicPartition, offset: int) -> bytes:
    """The broker's data from the offset on: at least the whole batch that contains it; empty if it is out of range."""
    leader = network.cluster.leader_for_partition(place)
    if leader in (None, -1):
        raise kafka.LeaderNotAvailableError(place)
    request = FetchRequest(0, 1, 1, _ALL, [(place.topic, [(place.partition, offset, 1)])])
    response = await network.send(leader, request)
    ((_, ((_, code, *_, data),)),) = response.topics
    if code == kafka.OffsetOutOfRangeError.errno:
        return b""
    if code:
        raise codes.error(code, str(place))
    return bytes(data or b"")


def _records(data: bytes, place: TopicPartition) -> Any:
    batches = MemoryRecords(data)
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise kafka.CorruptRecordException(f"a batch of {place} is damaged")
        if not batch.is_control_batch:
            yield from batch
