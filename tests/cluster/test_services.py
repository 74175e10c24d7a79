"""Where Services lead, and the proxy that leads there."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import anyio
import pytest

from dyff.cluster import port
from dyff.cluster.embedded import ports
from dyff.cluster.embedded.controllers import podstates, proxy, services
from dyff.kernel import errors
from tests import waiting
from tests.cluster import builders
from tests.engines.ports import free_port
from tests.narrowing import sure


def a_pod(name: str, number: int = 15000, **labels: str) -> port.Object:
    pod = {"metadata": {"name": name, "labels": labels or {"app": "thing"}}, "spec": builders.a_template()["spec"]}
    return builders.running(builders.reached(builders.made(port.POD, pod, f"uid-{name}"), number))


def behind_a_door(pod: port.Object, door: str) -> port.Object:
    annotations = {**pod["metadata"]["annotations"], "dyff.io/local-socket": door}
    return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}


@pytest.mark.parametrize(
    ("pods", "want"),
    [
        pytest.param([], [], id="no Pods"),
        pytest.param([a_pod("b", 2), a_pod("a", 1)], [(1, None), (2, None)], id="all that are ready, by name"),
        pytest.param([builders.running(a_pod("a"), ready=False)], [], id="not one that is not ready"),
        pytest.param([builders.deleting(a_pod("a"))], [], id="not one that is being deleted"),
        pytest.param([builders.failed(a_pod("a"))], [], id="not one that has ended"),
        pytest.param([a_pod("a", app="other")], [], id="not one with another label"),
        pytest.param([a_pod("a", 1, app="thing", more="labels")], [(1, None)], id="one with more labels"),
        pytest.param([behind_a_door(a_pod("a", 1), "/x/port.sock")], [(1, "/x/port.sock")], id="one in a network of its own"),
        pytest.param([{**a_pod("a"), "metadata": {"name": "a", "labels": {"app": "thing"}}}], [], id="not one without a port"),
    ],
)
def test_targets(pods, want):
    """A Service leads to the ready Pods that its selector selects."""
    assert services.targets(builders.a_service(), pods) == want


def test_no_selector_selects_nothing():
    """A Service without a selector leads nowhere by itself, rather than everywhere."""
    assert services.targets(builders.a_service(selector={}), [a_pod("a")]) == []


def test_ports_are_not_given_twice():
    """A new Service gets a port that no other has and that is free on the machine."""
    service = builders.made(port.SERVICE, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}, builders.JOB_UID)
    first = sure(ports.of(ports.assign(service, [], lambda number: True)))
    assert first in ports.RANGE
    assert ports.of(ports.assign(service, [builders.a_service(number=first)], lambda number: True)) == first + 1
    assert ports.of(ports.assign(service, [], lambda number: number != first)) == first + 1
    with pytest.raises(errors.Unavailable):
        ports.assign(service, [], lambda number: False)


def test_ready_means_serving():
    """A Pod is ready while its condition says so, it has not ended and nobody deletes it."""
    assert podstates.is_ready(a_pod("a"))
    assert not podstates.is_ready({**a_pod("a"), "status": {"phase": "Running"}})


class Backend:
    """A server that answers each chunk with its name and the chunk."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.port = 0
        self.open = 0

    async def __aenter__(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, ports.HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer) -> None:
        self.open += 1
        try:
            while data := await reader.read(2**16):
                writer.write(self.name + data)
                await writer.drain()
            writer.write(b"end")
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def front():
    """A proxy that holds a free port and leads nowhere yet."""
    made = proxy.Proxy(free_port())
    made.hold()
    yield made
    made.close()
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected(front: proxy.Proxy):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(ports.HOST, front.port), 5)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def asked(front: proxy.Proxy, data: bytes = b"?") -> bytes:
    """What one connection with one request answers, to its end."""
    async with connected(front) as (reader, writer):
        writer.write(data)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 5)


async def test_no_target_refuses(front):
    """While nothing is ready a connection is refused, and the port stays ours."""
    with pytest.raises(ConnectionRefusedError):
        await asked(front)
    assert not ports.is_free(front.port)


async def test_bytes_pass_both_ways(front):
    """What a client sends reaches the target and its answer the client, to the end of both."""
    async with Backend("a") as a:
        await front.lead_to([a.port])
        assert await asked(front, b"hello") == b"ahelloend"


async def test_new_connections_are_balanced(front):
    """Connections at the same time go to different targets, and so do connections one after the other."""
    async with Backend("a") as a, Backend("b") as b:
        await front.lead_to([a.port, b.port])
        async with connected(front) as (first, writer_1), connected(front) as (second, writer_2):
            answers = set()
            for reader, writer in ((first, writer_1), (second, writer_2)):
                writer.write(b"1")
                answers.add(await asyncio.wait_for(reader.readexactly(2), 5))
            assert answers == {b"a1", b"b1"}
        assert {(await asked(front))[:1] for _ in range(4)} == {b"a", b"b"}


async def test_the_least_busy_target_is_chosen(front):
    """A target with a connection that stays gets the next one only when the others have as many."""
    async with Backend("a") as a, Backend("b") as b:
        await front.lead_to([a.port])
        async with connected(front) as (reader, writer):
            writer.write(b"1")
            await asyncio.wait_for(reader.readexactly(2), 5)
            await front.lead_to([a.port, b.port])
            assert {(await asked(front))[:1] for _ in range(3)} == {b"b"}


async def test_a_target_that_does_not_answer_is_passed_over(front):
    """A connection that a target refuses goes to another one."""
    async with Backend("gone") as gone:
        pass
    async with Backend("a") as a:
        await front.lead_to([gone.port, a.port])
        assert [await asked(front, b"x") for _ in range(3)] == [b"axend"] * 3


async def test_targets_come_and_go(front):
    """The port follows the targets: refused, served, refused, served; connections that are there stay."""
    async with Backend("a") as a:
        await front.lead_to([a.port])
        async with connected(front) as (reader, writer):
            writer.write(b"1")
            assert await asyncio.wait_for(reader.readexactly(2), 5) == b"a1"
            await front.lead_to([])
            await until_refused(front)
            writer.write(b"2")
            assert await asyncio.wait_for(reader.readexactly(2), 5) == b"a2"
        await front.lead_to([a.port])
        assert await asked(front, b"3") == b"a3end"


async def until_refused(front: proxy.Proxy) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                await asked(front)
            except ConnectionRefusedError:
                return
            except ConnectionError:
                await waiting.a_moment()


async def test_large_answers_are_whole(front):
    """Back-pressure loses nothing: a client that reads slowly gets every byte in order."""
    data = bytes(range(256)) * 4096 * 8
    async with Backend("") as a:
        await front.lead_to([a.port])
        async with connected(front) as (reader, writer):

            async def send() -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            sending = asyncio.create_task(send())
            await anyio.wait_all_tasks_blocked()
            received = await asyncio.wait_for(reader.read(), 20)
            await sending
    assert received == data + b"end"


async def test_a_client_that_goes_away_frees_the_target(front):
    """When a client ends its connection without ado, the target's connection ends too."""
    async with Backend("a") as a:
        await front.lead_to([a.port])
        async with connected(front) as (reader, writer):
            writer.write(b"1")
            await asyncio.wait_for(reader.readexactly(2), 5)
            assert a.open == 1
            writer.transport.abort()
        async with asyncio.timeout(5):
            while a.open:
                await waiting.a_moment()


async def test_a_taken_port_is_an_error(front):
    """A port that something else listens on is said to be unavailable, and can be held once it is free."""
    other = socket.socket()
    with other:
        other.bind((ports.HOST, 0))
        other.listen()
        blocked = proxy.Proxy(other.getsockname()[1])
        with pytest.raises(errors.Unavailable, match=str(blocked.port)):
            blocked.hold()
    blocked.hold()
    blocked.close()
