"""Connections to a program in a network of its own, through its door and a Service's proxy."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from dyff.cluster import doors
from dyff.cluster.embedded import ports
from dyff.cluster.embedded.controllers import proxy
from dyff.cluster.pods import specs
from tests.engines.ports import free_port
from tests.pods.sandboxed import BUBBLEWRAP, HAS_PYTHON, IMAGES

pytestmark = HAS_PYTHON
SERVER = """
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        what, _, number = self.rfile.readline().decode().strip().partition(" ")
        if what == "echo":
            while line := self.rfile.readline():
                self.wfile.write(line)
        elif what == "count":
            self.wfile.write(b"%d" % len(self.rfile.read()))
        elif what == "send":
            for _ in range(int(number)):
                self.wfile.write(b"x" * 65536)
class Server(socketserver.ThreadingTCPServer):
    request_queue_size, daemon_threads, allow_reuse_address = 512, True, True
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
CONTAINER = {"name": "main", "image": "test/python", "args": [SERVER], "ports": [{"containerPort": 8000}]}
PROBE = {"readinessProbe": {"tcpSocket": {"port": 8000}}}
MIB = 2**20


@asynccontextmanager
async def served(lab):
    """A Service's proxy in front of one sandboxed pod. Yields the port of the proxy."""
    images = {"test/python": msgspec.structs.replace(IMAGES["test/python"], readiness_path=None)}
    async with lab.running(BUBBLEWRAP, images=images):
        await lab.create(lab.a_pod("p", CONTAINER | PROBE, restartPolicy="Always"))
        await lab.ready("p")
        pod = await lab.get("p")
        at, door = ports.of(pod), ports.door(pod)
        assert at is not None
        assert door is not None
        door = str(lab.pods_dir / door)
        number = free_port()
        front = proxy.Proxy(number)
        front.hold()
        await front.lead_to([at], {at: door})
        try:
            yield number
        finally:
            front.close()


async def dial(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", number)


async def test_messages_go_both_ways(lab):
    """Like a WebSocket: each side sends when it wants, on one connection, and a message arrives before the next one is sent."""
    async with served(lab) as number:
        reader, writer = await dial(number)
        writer.write(b"echo\n")
        for index in range(50):
            writer.write(b"%d\n" % index)
            assert await reader.readline() == b"%d\n" % index
        writer.close()


async def test_one_side_can_finish_before_the_other(lab):
    """The end of what a client sends reaches the program, whose answer still arrives."""
    async with served(lab) as number:
        reader, writer = await dial(number)
        writer.write(b"count\n" + b"y" * (3 * MIB))
        writer.write_eof()
        assert await reader.read() == b"%d" % (3 * MIB)
        writer.close()


async def test_a_slow_reader_slows_the_program(lab):
    """A client that does not read makes the program wait, and gets every byte when it reads again."""
    async with served(lab) as number:
        slow, slow_writer = await dial(number)
        slow_writer.write(b"send 512\n")
        await slow.readexactly(65536)
        reader, writer = await dial(number)
        writer.write(b"echo\nstill here\n")
        assert await reader.readline() == b"still here\n"
        rest = hashlib.sha256()
        size = 65536
        while piece := await slow.read(MIB):
            rest.update(piece)
            size += len(piece)
        assert size == 512 * 65536
        assert rest.hexdigest() == hashlib.sha256(b"x" * (511 * 65536)).hexdigest()
        for each in (writer, slow_writer):
            each.close()


async def test_many_connections_at_once(lab):
    """A few hundred connections at the same time all reach the program, and all are its own."""
    answers = []

    async def talk(number: int, index: int) -> None:
        reader, writer = await dial(number)
        writer.write(b"echo\n%d\n" % index)
        answers.append(await reader.readline())
        writer.close()

    async with served(lab) as number, anyio.create_task_group() as group:
        for index in range(300):
            group.start_soon(talk, number, index)
    assert sorted(answers) == sorted(b"%d\n" % index for index in range(300))


async def test_a_door_leads_nowhere_when_the_pod_has_ended(lab):
    """Connecting to a pod that was killed fails at once, as to a port where nothing listens, and no descriptor is left."""
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        uid = await lab.create(lab.a_pod("p", {**CONTAINER, "args": ["import time; time.sleep(60)"]}))
        await lab.started("p")
        pod = await lab.get("p")
        door = str(lab.pods_dir / pod["metadata"]["annotations"][specs.LOCAL_SOCKET])
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ConnectionRefusedError):
            await doors.connect(8000, door)
        pid = lab.record(uid)["shim"]["pid"]
        os.kill(pid, 9)
        await lab.until_dead(pid)
        await lab.ended("p")
        with pytest.raises(OSError):
            await doors.connect(8000, door)
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_two_pods_cannot_talk_to_each_other(lab):
    """The port of one pod is open in its own network only: another pod that tries it finds nothing there."""
    async with served(lab):
        port = ports.of(await lab.get("p"))
        attempt = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {port})))"
        await lab.create(lab.a_pod("q", {"name": "main", "image": "test/python", "args": [attempt]}))
        await lab.ended("q")
        assert await lab.logs("q") == ["111"]
