"""A server's memory does not depend on how large its lists are, and it answers others while it sends them. A real server process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.narrowing import sure

NUMBER, SIZE = 30, 9_400_000
TOTAL = NUMBER * SIZE
ALLOWED = 96 * 2**20
"""How much more memory the server may need at any time than before. The whole list is 269 MiB."""


class Server(msgspec.Struct):
    pid: int
    port: int
    token: str

    def client(self, **options) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60, **options)

    def memory(self, field: str) -> int:
        """`VmRSS`: now; `VmHWM`: the peak since `forget_peak`. In bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@asynccontextmanager
async def serving(number: int, size: int):
    command = [sys.executable, "-m", "tests.api.serving_documents", str(number), str(size)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        line = await sure(process.stdout).readline()
        yield Server(process.pid, **json.loads(line))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.fixture
async def server():
    async with serving(NUMBER, SIZE) as known:
        yield known


async def length_of(response: httpx.Response) -> int:
    return sum([len(piece) async for piece in response.aiter_bytes()])


@pytest.mark.slow
async def test_large_lists_need_little_memory_and_hold_up_nobody(server):
    """Four lists of 269 MiB at the same time: the peak is bounded, nothing is kept, and other requests are answered all the while."""
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    async with server.client() as client:
        await client.get("/health")
        before = server.memory("VmRSS")
        server.forget_peak()
        answered = 0
        done = asyncio.Event()

        async def others():
            nonlocal answered
            while not done.is_set():
                assert (await client.get("/health")).status_code == 200
                answered += 1

        async def whole(**params):
            async with client.stream("GET", "/v0/datasets", params=params) as response:
                assert response.status_code == 200
                assert "content-length" not in response.headers
                return await length_of(response)

        asking = asyncio.create_task(others())
        found = await asyncio.gather(whole(), whole(orderBy="creationTime"), whole(limit=100), whole(labels="{}"))
        during = answered
        done.set()
        await asking
        assert min(found) > TOTAL
        assert during > 4 * NUMBER
        assert server.memory("VmHWM") - before < ALLOWED
        assert server.memory("VmRSS") - before < ALLOWED / 2


@pytest.mark.slow
async def test_slow_readers_need_little_memory(server):
    """Clients that read nothing of a list, or of a large document, are held by their connections, not by copies of the data."""
    async with server.client() as client:
        await client.get("/health")
        before = server.memory("VmRSS")
        server.forget_peak()
        slow = []
        for number in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
            path = "/v0/datasets" if number % 2 else f"/v0/datasets/{number // 2:032x}"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: dyff\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
            slow.append((reader, writer))
        for _ in range(50):
            assert (await client.get("/health")).status_code == 200
        statuses = await asyncio.gather(*(reader.readline() for reader, _ in slow))
        assert {each.split()[1] for each in statuses} == {b"200", b"503"}
        assert server.memory("VmHWM") - before < ALLOWED
        for _, writer in slow:
            writer.transport.abort()
        async with client.stream("GET", "/v0/datasets") as response:
            assert await length_of(response) > TOTAL
