"""A Service's loopback port, on both event loops: uvloop reads before it can be paused."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from dyff.cluster.embedded.controllers import proxy as proxies
from tests.engines.ports import free_port


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def exchange(port: int, data: bytes) -> bytes:
    """Send everything at once, end the sending side, read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_is_sent_at_once_arrives_whole(factory):
    """Bytes that a client sends before the target is connected, up to its end of sending, are all passed on."""

    async def scenario() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        target = server.sockets[0].getsockname()[1]
        front = proxies.Proxy(free_port())
        front.hold()
        await front.lead_to([target])
        for size in (1, 100, 1_000_000):
            data = bytes(range(256)) * (size // 256 + 1)
            answers = await asyncio.gather(*(exchange(front.port, data) for _ in range(8)))
            assert all(answer == data for answer in answers)
        front.close()
        server.close()
        # real time: a loop in C ends the transports that were closed in rounds of its own
        await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))
