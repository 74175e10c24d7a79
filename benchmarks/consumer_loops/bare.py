"""Bare loops, well written for a single purpose: on the same broker and databases, with the same guarantees."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pymongo
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumer_loops.measuring import BATCH, Measured, timed
from consumer_loops.messages import an_entity
from dyff.bus import topics
from dyff.bus.kafka import KafkaBus
from dyff.consumers.aggregator import partitions
from dyff.entities import codecs
from dyff.query import columns
from dyff.query import port as query_port

BATCH_BYTES = 2**20
"""A broker's default limit for a batch; larger batches need fewer round trips."""


@asynccontextmanager
async def connected(bus: KafkaBus, topic: str, group: str) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    """Yield a bare consumer with its partition assigned."""
    connection = bus._connection
    place = TopicPartition(connection.named(topic), 0)
    client = AIOKafkaConsumer(
        bootstrap_servers=connection.bootstrap_servers, group_id=group, enable_auto_commit=False, isolation_level="read_committed",
        auto_offset_reset="earliest",
    )  # fmt: skip
    await client.start()
    try:
        client.subscribe([place.topic])
        while not client.assignment():
            await client.getmany(timeout_ms=10, max_records=1)
        client.seek(place, 0)
        yield client, place
    finally:
        await client.stop()


async def aggregator(bus: KafkaBus, end: int) -> Measured:
    """Consume, produce and commit, in transactions. Only the newest value of each key is produced."""
    connection = bus._connection
    group = connection.named(partitions.GROUP)
    size = len(codecs.encode(an_entity(0)))
    filler = b"z" * size
    out = connection.named(topics.STATE)
    producer = AIOKafkaProducer(
        bootstrap_servers=connection.bootstrap_servers, acks="all", transactional_id=uuid.uuid4().hex, max_batch_size=BATCH_BYTES,
        max_request_size=2 * BATCH_BYTES,
    )  # fmt: skip
    await producer.start()
    try:
        async with connected(bus, topics.EVENTS, group) as (client, place):

            async def loop() -> None:
                while True:
                    records = (await client.getmany(place, timeout_ms=1000, max_records=BATCH)).get(place, [])
                    if not records:
                        continue
                    async with producer.transaction():
                        sent, batch = [], producer.create_batch()
                        for record in records:
                            value = record.value if len(record.value) >= size else filler
                            if batch.append(key=record.key, value=value, timestamp=None) is None:
                                sent.append(await producer.send_batch(batch, out, partition=0))
                                batch = producer.create_batch()
                                batch.append(key=record.key, value=value, timestamp=None)
                        sent.append(await producer.send_batch(batch, out, partition=0))
                        for each in sent:
                            await each
                        await producer.send_offsets_to_transaction({place: records[-1].offset + 1}, group)
                    if records[-1].offset + 1 >= end:
                        return

            return await timed(loop, end)
    finally:
        await producer.stop()


async def consumer(bus: KafkaBus, topic: str, end: int) -> Measured:
    """Only consume."""
    async with connected(bus, topic, uuid.uuid4().hex) as (client, place):

        async def loop() -> None:
            while await client.position(place) < end:
                await client.getmany(place, timeout_ms=1000, max_records=BATCH)

        return await timed(loop, end)


async def sqlite(folder: Path, documents: Sequence[query_port.Document]) -> Measured:
    """Guarded upserts into a table with the same columns and indexes. The values of the columns are extracted in advance."""
    connection = apsw.Connection(str(folder / f"{uuid.uuid4().hex}.db"))
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536")
    connection.execute(columns.schema())
    names = ", ".join(str(columns.name(path)) for path in columns.PATHS)
    changes = ", ".join(f"{columns.name(path)} = excluded.{columns.name(path)}" for path in columns.PATHS)
    statement = (
        f"INSERT INTO documents (collection, id, version, body, {names})"
        f" VALUES (?, ?, ?, CAST(? AS TEXT), {', '.join('?' * len(columns.PATHS))})"
        f" ON CONFLICT (collection, id) DO UPDATE SET version = excluded.version, body = excluded.body, {changes}"
        " WHERE excluded.version > version"
    )
    rows = [(each.collection, each.id, each.version, each.body, *columns.values(each.body or b"")) for each in documents]

    async def work() -> None:
        for start in range(0, len(rows), BATCH):
            with connection:
                connection.executemany(statement, rows[start : start + BATCH])

    measured = await timed(work, len(rows))
    connection.close()
    return measured


async def mongo(collection: Any, documents: Sequence[query_port.Document]) -> Measured:
    """Guarded bulk upserts, prepared in advance."""
    requests = [
        pymongo.ReplaceOne(
            {"_id": each.id, "version": {"$lt": each.version}},
            {"version": each.version, "live": True, "body": each.body, "fields": codecs.decode_object(each.body or b"")},
            upsert=True,
        )
        for each in documents
    ]

    async def work() -> None:
        for start in range(0, len(requests), BATCH):
            await collection.bulk_write(requests[start : start + BATCH], ordered=False)

    return await timed(work, len(requests))
