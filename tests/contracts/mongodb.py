"""A real server that speaks MongoDB's protocol, on which every test has a database of its own; and both drivers on it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import uuid
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import pytest

from dyff.kernel import mongo
from tests.conftest import missing
from tests.narrowing import sure

URI = "DYFF_TEST_MONGODB"
DRIVERS = ("motor", "pymongo")


def params(port: str) -> list[object]:
    """`<port>:mongo-<driver>` for each driver."""
    return [pytest.param(f"{port}:mongo-{driver}", marks=pytest.mark.engines) for driver in DRIVERS]


def driver(param: str) -> Literal["motor", "pymongo"]:
    """That of one of `params`."""
    return "motor" if param.endswith("-motor") else "pymongo"


@asynccontextmanager
async def database(param: str):
    """How to connect to a new database, which is dropped afterwards. `param`: one of `params`."""
    uri = os.environ.get(URI)
    if not uri:
        missing(f"no MongoDB: {URI} is not set; start one with make services, or run make test-engines")
    connection = mongo.Connection(uri=sure(uri), database=f"dyff-test-{uuid.uuid4().hex}", driver=driver(param))
    try:
        yield connection
    finally:
        async with mongo.Database.open(connection, "the test's database") as opened:
            await opened.drop()


class Wire:
    """A TCP proxy before the server: what the network does to a connection."""

    def __init__(self, uri: str) -> None:
        place = urlsplit(uri)
        self._host, self._port = place.hostname, place.port or 27017
        self._writers: set[asyncio.StreamWriter] = set()
        self._through = asyncio.Event()
        self._through.set()
        self.replies = True

    def hold(self) -> None:
        """Nothing goes through any more, and nothing is closed: a server that was stopped."""
        self._through.clear()

    def release(self) -> None:
        self._through.set()

    def cut(self) -> None:
        """All connections break."""
        for each in list(self._writers):
            each.transport.abort()

    @asynccontextmanager
    async def before(self, connection: mongo.Connection, tls: ssl.SSLContext | None = None):
        """The connection, through this wire. `tls`: what is spoken on it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            accepting = asyncio.create_task(self._accept(listener, tls))
            try:
                yield msgspec.structs.replace(connection, uri=f"mongodb://127.0.0.1:{listener.getsockname()[1]}/?directConnection=true")
            finally:
                self.release()
                accepting.cancel()
                await asyncio.wait([accepting])

    async def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve all connections. They end with this, also those in the middle of their handshake, which a server of asyncio forgets."""
        async with asyncio.TaskGroup() as serving:
            while True:
                near, _ = await asyncio.get_running_loop().sock_accept(listener)
                serving.create_task(self._serve(near, tls))

    async def _serve(self, near: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop, reader, made = asyncio.get_running_loop(), asyncio.StreamReader(), set[asyncio.StreamWriter]()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            with suppress(OSError):
                transport, _ = await loop.connect_accepted_socket(lambda: protocol, near, ssl=tls)
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                made.add(writer)
                ours, theirs = await asyncio.open_connection(self._host, self._port)
                made.add(theirs)
                self._writers |= made
                await asyncio.gather(self._copy(reader, theirs), self._copy(ours, writer, reply=True))
        finally:
            self._writers -= made
            for each in made:
                each.transport.abort()
            await asyncio.sleep(0)  # what was aborted is closed in the next round of the loop
            await asyncio.sleep(0)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, reply: bool = False) -> None:
        with suppress(OSError):
            while data := await source.read(2**16):
                await self._through.wait()
                if self.replies or not reply:
                    target.write(data)
                    await target.drain()
        target.close()
