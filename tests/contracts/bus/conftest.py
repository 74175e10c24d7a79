"""The bus, on every adapter."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from dyff.bus.embedded import EmbeddedBus
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


SERVERS = {"bus:embedded": EmbeddedServer}


@pytest.fixture(params=sorted(SERVERS))
def server(request, tmp_path):
    return SERVERS[request.param](tmp_path)


@pytest.fixture
async def bus(server):
    async with server.connect() as connected:
        await connected.create_topics([PLAIN, COMPACTED])
        yield connected
