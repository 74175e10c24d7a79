"""The bus, on every adapter."""

from __future__ import annotations

import os
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from dyff.bus.embedded import EmbeddedBus
from dyff.bus.kafka import Connection, KafkaBus
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds
from tests.contracts.bus.records import COMPACTED, LIMIT_BYTES, PLAIN


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
            bootstrap_servers=os.environ["DYFF_TEST_KAFKA"], prefix=f"{uuid.uuid4().hex}.", max_message_bytes=LIMIT_BYTES, session_timeout_s=6.0
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
        await compacted(bus, self._connection, topic)


SERVERS = {"bus:embedded": EmbeddedServer, "bus:kafka": KafkaServer}


@pytest.fixture(params=sorted(SERVERS))
def server(request, tmp_path):
    return SERVERS[request.param](tmp_path)


@pytest.fixture
async def bus(server):
    async with server.connect() as connected:
        await connected.create_topics([PLAIN, COMPACTED])
        yield connected
