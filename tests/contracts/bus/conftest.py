"""The bus, on every adapter."""

from __future__ import annotations

import gc
import os
import uuid
import warnings
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from dyff.bus.embedded import EmbeddedBus
from dyff.bus.kafka import Connection, KafkaBus, clients
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from tests import waiting
from tests.conftest import missing
from tests.contracts.bus.records import COMPACTED, LIMIT_BYTES, PLAIN

COMPACTED_S = 90.0
"""A broker compacts in its own time."""


class EmbeddedServer:
    """How the suite gets an embedded bus, and does to it what only an administrator does."""

    def __init__(self, folder):
        self._path = folder / "log.db"

    @asynccontextmanager
    async def connect(self):
        async with EmbeddedBus.open(self._path, clock=SystemClock(), ids=RandomIds(), max_message_bytes=LIMIT_BYTES) as bus:
            yield bus

    async def compact(self, bus, topic):
        await bus.compact(topic, lag=timedelta(seconds=-1), tombstone_lag=timedelta(seconds=-1))

    async def truncate(self, bus, topic, partition, below):
        await bus.truncate(topic, partition, below)


class KafkaServer:
    """A real broker, on which every test has names of its own."""

    def __init__(self, folder):
        self._connection = Connection(
            bootstrap_servers=os.environ["DYFF_TEST_KAFKA"],
            prefix=f"{uuid.uuid4().hex}.",
            max_message_bytes=LIMIT_BYTES,
            session_timeout_s=6.0,
        )

    @asynccontextmanager
    async def connect(self):
        async with KafkaBus.open(self._connection) as bus:
            yield bus

    async def truncate(self, bus, topic, partition, below):
        await bus.administration.truncate(topic, partition, below)

    async def compact(self, bus, topic):
        """The broker compacts whole segments in its own time; a new one is begun by what an aborted transaction writes."""
        hasty = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "100", "delete.retention.ms": "100"}
        await bus.administration.alter(topic, {"cleanup.policy": "compact", "min.compaction.lag.ms": "0", **hasty})
        with anyio.fail_after(COMPACTED_S):
            while not await _is_compact(bus, topic):
                await self._write_what_nobody_sees(topic)
                await waiting.a_moment()

    async def _write_what_nobody_sees(self, topic):
        writer = clients.producer(self._connection, self._connection.named("filler"))
        async with clients.running(writer, "writing"):
            await writer.begin_transaction()
            await writer.send(self._connection.named(topic), value=b"", key=b"filler", partition=0)
            await writer.abort_transaction()


async def _is_compact(bus, topic):
    """Whether each key is there once, and no tombstone."""
    held = (await bus.ranges(topic))[0]
    found = []
    async with bus.read(topic, 0, held.first) as reader:
        while reader.position < held.end:
            found += await reader.poll(100, 1.0)
    keys = [record.key for record in found]
    return len(keys) == len(set(keys)) and all(record.value is not None for record in found)


SERVERS = {"bus:embedded": EmbeddedServer, "bus:kafka": KafkaServer}


@pytest.fixture(params=["bus:embedded", pytest.param("bus:kafka", marks=pytest.mark.engines)])
def server(request, tmp_path):
    if request.param == "bus:kafka" and "DYFF_TEST_KAFKA" not in os.environ:
        missing("no Kafka: DYFF_TEST_KAFKA is not set; run make test-engines")
    yield SERVERS[request.param](tmp_path)
    with warnings.catch_warnings():
        # The vendor leaves a socket to the collector where a member leaves in the middle of joining.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def bus(server):
    async with server.connect() as connected:
        await connected.create_topics([PLAIN, COMPACTED])
        yield connected
