"""The embedded cluster against bare SQLite with the same durability, its watches, and its Services against no proxy, in one run."""

from __future__ import annotations

import asyncio
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import apsw
import uvloop

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, ports
from dyff.cluster.embedded.controllers import proxy
from dyff.entities import custom_resource
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

WRITES = 2000
IN_FLIGHT = 32
WATCHED = 500
REQUESTS = 3000
BULK_BYTES = 256 * 2**20
EVALUATION = port.Kind(custom_resource.GROUP_VERSION, "Evaluation", "evaluations")


def evaluation(name: str) -> port.Object:
    """Return a custom resource of a typical size, 2 KB."""
    spec = {
        "id": "0" * 32,
        "account": "1" * 32,
        "dataset": "2" * 32,
        "interface": {"endpoint": "generate", "outputSchema": {"arrowSchema": "x" * 1600}},
        "inferenceSessionReference": "3" * 32,
    }
    return {"metadata": {"name": name, "labels": {"dyff.io/id": name}}, "spec": spec}


def bare(folder: Path) -> float:
    """Return the rows per second, of the same size, each durable before the next."""
    connection = apsw.Connection(str(folder / "bare.sqlite"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE objects (name TEXT PRIMARY KEY, body BLOB) STRICT")
    began = time.perf_counter()
    for number in range(WRITES):
        connection.execute("INSERT INTO objects VALUES (?, ?)", (str(number), b"x" * 2000))
    return WRITES / (time.perf_counter() - began)


async def rate(work: Callable[[int], Awaitable[object]], count: int, in_flight: int) -> float:
    """Return the calls per second, with `in_flight` calls at a time."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await work(number)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(in_flight):
            group.start_soon(caller)
    return count / (time.perf_counter() - began)


async def watching(cluster: EmbeddedCluster) -> list[float]:
    """Return the seconds from each patch to its event in a watch."""
    await cluster.create(port.CONFIG_MAP, {"metadata": {"name": "watched"}, "data": {}})
    version = (await cluster.list(port.CONFIG_MAP)).resource_version
    stream = cluster.watch(port.CONFIG_MAP, version, timeout_s=60)
    latencies = []
    async with anyio.create_task_group() as group:
        for number in range(WATCHED):
            began = time.perf_counter()
            group.start_soon(cluster.patch, port.CONFIG_MAP, "watched", {"data": {"n": str(number)}})
            await anext(stream)
            latencies.append(time.perf_counter() - began)
    await stream.aclose()
    return latencies


async def writes(folder: Path) -> None:
    """Print the figures of the store."""
    base = bare(folder)
    print(f"bare SQLite, one after the other           {base:8.0f} rows/s")
    async with EmbeddedCluster.open(folder / "cluster.sqlite", clock=SystemClock(), ids=RandomIds()) as cluster:
        one = await rate(lambda number: cluster.create(EVALUATION, evaluation(f"one-{number}")), WRITES, 1)
        many = await rate(lambda number: cluster.create(EVALUATION, evaluation(f"many-{number}")), WRITES, IN_FLIGHT)
        condition = {"type": "Complete", "status": "True", "reason": "Done", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"status": {"conditions": [condition]}}
        patches = await rate(lambda number: cluster.patch(EVALUATION, f"one-{number}", status, status=True), WRITES, IN_FLIGHT)
        gets = await rate(lambda number: cluster.get(EVALUATION, f"one-{number % WRITES}"), 20_000, 1)
        began = time.perf_counter()
        found = len((await cluster.list(EVALUATION)).items)
        listed = time.perf_counter() - began
        began = time.perf_counter()
        await cluster.list(EVALUATION, {"dyff.io/id": "one-7"})
        selected = time.perf_counter() - began
        latencies = await watching(cluster)
    print(f"creates, one after the other               {one:8.0f} /s ({one / base:.2f} of bare)")
    print(f"creates, {IN_FLIGHT} at a time                     {many:8.0f} /s ({many / base:.2f} of bare)")
    print(f"status patches, {IN_FLIGHT} at a time              {patches:8.0f} /s")
    print(f"gets                                       {gets:8.0f} /s")
    print(f"list of {found}                               {listed * 1000:8.2f} ms; one of them by label {selected * 1000:.2f} ms")
    spread = statistics.quantiles(latencies, n=100)
    print(f"patch to watch event                       {spread[49] * 1000:8.2f} ms p50, {spread[98] * 1000:.2f} ms p99")


class Echo(asyncio.Protocol):
    """Sends back what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for answers."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send the data back."""
        self.transport.write(data)


def round_trips(number: int, payload: bytes) -> list[float]:
    """Return the seconds of each of many requests on one connection."""
    latencies = []
    with socket.create_connection((ports.HOST, number)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(REQUESTS):
            began = time.perf_counter()
            client.sendall(payload)
            left = len(payload)
            while left:
                left -= len(client.recv(left))
            latencies.append(time.perf_counter() - began)
    return latencies


def connects(number: int) -> float:
    """Return the median seconds of a connection with one request."""
    latencies = []
    for _ in range(500):
        began = time.perf_counter()
        with socket.create_connection((ports.HOST, number)) as client:
            client.sendall(b"x")
            client.recv(1)
        latencies.append(time.perf_counter() - began)
    return statistics.median(latencies)


def bulk(number: int) -> float:
    """Return the MiB per second, in both directions."""
    chunk, done = b"x" * 2**20, 0
    began = time.perf_counter()
    with socket.create_connection((ports.HOST, number)) as client:
        while done < BULK_BYTES:
            client.sendall(chunk)
            left = len(chunk)
            while left:
                left -= len(client.recv(min(left, 2**18)))
            done += len(chunk)
    return done / 2**20 / (time.perf_counter() - began)


async def services() -> None:
    """Print the overhead of a Service."""
    server = await asyncio.get_running_loop().create_server(Echo, ports.HOST, 0)
    direct = server.sockets[0].getsockname()[1]
    front = proxy.Proxy(next(number for number in ports.RANGE if ports.is_free(number)))
    front.hold()
    await front.lead_to([direct])
    for label, number in (("direct", direct), ("through a Service", front.port)):
        small = await anyio.to_thread.run_sync(round_trips, number, b"x" * 300)
        opening = await anyio.to_thread.run_sync(connects, number)
        rate_mib = await anyio.to_thread.run_sync(bulk, number)
        spread = statistics.quantiles(small, n=100)
        figures = f"request {spread[49] * 1e6:5.0f} us p50 {spread[98] * 1e6:5.0f} us p99, with connect {opening * 1e6:5.0f} us"
        print(f"{label:<18} {figures}, {rate_mib:5.0f} MiB/s")
    front.close()
    server.close()


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(writes, Path(folder), backend_options={"loop_factory": uvloop.new_event_loop})
    for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        print(f"-- {name}")
        anyio.run(services, backend_options={"loop_factory": factory})


if __name__ == "__main__":
    main()
