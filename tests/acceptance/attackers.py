"""Clients that only cost: many connections that bring nothing, and headers without an end. A program, to be run next to a server.

    python -m tests.acceptance.attackers hold PORT COUNT
    python -m tests.acceptance.attackers flood PORT BYTES

`hold` keeps COUNT connections open until SIGTERM, and makes each one again when it is lost. `flood` sends BYTES in heads of four forms,
and ends. Both survive restarts of the server, and print what they did as a line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio

PAUSE_S = 0.2
PIECE = 2**16
_CHUNKED = b"POST /v0/datasets HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
_HALF_BODY = b"POST /v0/datasets HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{"
_HEAD = b"GET /health HTTP/1.1\r\nhost: a\r\n"


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


class Holder:
    """Connections that bring nothing: silent ones, heads and bodies that are never complete, and answers that are never read."""

    def __init__(self, port: int) -> None:
        self.port, self.open, self.most, self.made = port, 0, 0, 0

    async def hold(self, number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                async with _connected(self.port) as (reader, writer):
                    self.open, self.made = self.open + 1, self.made + 1
                    self.most = max(self.most, self.open)
                    try:
                        await self._bring_nothing(number % 4, reader, writer)
                    finally:
                        self.open -= 1
            # real time: each attacker opens connections at a pace, so that the number held is bounded by the server and not by this loop
            await asyncio.sleep(PAUSE_S)

    async def _bring_nothing(self, form: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if form == 0:
            await reader.read()
            return
        begin = {1: _HEAD + b"x-slow: ", 2: _HALF_BODY, 3: _HEAD + b"\r\n"}[form]
        writer.write(begin)
        if form == 3:
            await anyio.sleep_forever()
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait([ended], timeout=1.0)
        ended.exception()


class Flood:
    """Headers without an end, on a few connections at a time."""

    forms = (
        (_HEAD, b"x-a: %s\r\n" % (b"a" * 100)),  # lines
        (_HEAD + b"x-a: ", b"a"),  # one value
        (b"GET /", b"a"),  # the URL
        (_CHUNKED, b"x-a: %s\r\n" % (b"a" * 100)),  # trailers
    )

    def __init__(self, port: int, size: int) -> None:
        self.port, self.left, self.sent, self.made = port, size, 0, 0

    async def send(self, number: int) -> None:
        for count in itertools.count(number):
            begin, unit = self.forms[count % len(self.forms)]
            with contextlib.suppress(OSError):
                async with _connected(self.port) as (_, writer):
                    self.made += 1
                    writer.write(begin)
                    piece = unit * (PIECE // len(unit))
                    while self.left > 0 and not writer.is_closing():
                        writer.write(piece)
                        await writer.drain()
                        self.left, self.sent = self.left - len(piece), self.sent + len(piece)
            if self.left <= 0:
                return
            await asyncio.sleep(0)


async def _main(what: str, port: int, amount: int) -> dict[str, int]:
    if what == "flood":
        flood = Flood(port, amount)
        await asyncio.gather(*(flood.send(number) for number in range(8)))
        return {"sent": flood.sent, "connections": flood.made}
    holder, over = Holder(port), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    tasks = [asyncio.ensure_future(holder.hold(number)) for number in range(amount)]
    await over.wait()
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"most": holder.most, "connections": holder.made}


class Attackers:
    """Running attackers, as a test sees them."""

    def __init__(self, port: int, *, connections: int, header_bytes: int) -> None:
        """`connections`: held by one process. `header_bytes`: sent by another one."""
        self._processes = [_begin("hold", port, connections), _begin("flood", port, header_bytes)]

    def finish(self) -> dict[str, Any]:
        """Wait until all headers were sent, then end; what each did: `{"hold": {"most", ...}, "flood": {"sent", ...}}`."""
        holding, flooding = self._processes
        flooded = json.loads(flooding.communicate()[0])
        holding.send_signal(signal.SIGTERM)
        return {"hold": json.loads(holding.communicate()[0]), "flood": flooded}

    def kill(self) -> None:
        """End whatever still runs."""
        for each in self._processes:
            each.kill()
            each.wait()


def _begin(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.acceptance.attackers", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


@contextmanager
def attacked(port: int, *, connections: int, header_bytes: int) -> Iterator[Attackers]:
    """Attackers at work; none is left at the end."""
    subject = Attackers(port, connections=connections, header_bytes=header_bytes)
    try:
        yield subject
    finally:
        subject.kill()


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    print(json.dumps(asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))  # noqa: T201
