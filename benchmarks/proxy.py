"""The latency that the API adds to inference, compared with calling the service directly, from socket to socket.

    .venv/bin/python benchmarks/proxy.py [--requests 2000] [--connections 8]

`service`: an HTTP server that immediately answers each request with 200 bytes of JSON, or with 20 server-sent events. `api`: our
API with a session of that service. It checks the token, grants, the session's state and the owner's suspension for each request.

Each server is a process of its own. The client is another process, which speaks raw HTTP over persistent connections. The two ways
alternate, request by request, so that load on the machine affects both; `added` is the difference between the medians of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

ANSWER = json.dumps({"text": ["x" * 185]}).encode()
EVENTS = b"".join(b'data: {"token": %d}\n\n' % n for n in range(20))
BODY = json.dumps({"prompt": "y" * 500}).encode()


class Service(asyncio.Protocol):
    """Answers each request immediately."""

    def connection_made(self, transport: Any) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while True:
            head, separator, rest = self._held.partition(b"\r\n\r\n")
            if not separator:
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(rest) < length:
                return
            self._held = rest[length:]
            if b"/stream " in head:
                start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                pieces = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in EVENTS.splitlines(keepends=True))
                self._transport.write(start + pieces + b"0\r\n\r\n")
            else:
                start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
                self._transport.write(start + ANSWER)


async def _service() -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


async def _api(service_port: int) -> None:
    import anyio
    import msgspec

    from dyff.accounts import grants
    from dyff.api import role
    from dyff.kernel import garbage_collector
    from tests.api.conftest import opened

    with tempfile.TemporaryDirectory() as place:
        async with opened(Path(place)) as world, world.client() as client:
            made = (
                await client.post("/v0/inferencesessions", json={"account": "test", "inferenceService": await world.ready_service()})
            ).json()
            session = made["inferencesession"]["id"]
            await client.get(f"/v0/inferencesessions/{session}")
            world.cluster.services[f"session-{session}"] = f"http://127.0.0.1:{service_port}"
            grant = grants.Grant(("inferencesessions",), ("consume",), (), (session,))
            token = await world.services.authority.issue(world.account, [grant], world.services.clock.now() + timedelta(hours=1))
            garbage_collector.tune()
            with role.listener("127.0.0.1", 0) as bound:
                known = {"port": bound.getsockname()[1], "token": token, "prefix": f"/v0/inferencesessions/{session}/infer"}
                async with anyio.create_task_group() as group:
                    await group.start(_serve, role.run, msgspec.structs.replace(world.services, listener=bound))
                    print(json.dumps(known), flush=True)
                    await anyio.sleep_forever()


async def _serve(run: Any, services: Any, *, task_status: Any) -> None:
    await run(services, task_status=task_status)


class Way:
    """A connection to one of the servers."""

    def __init__(self, known: dict[str, Any], path: str) -> None:
        """`known`: what the server printed."""
        token = f"Authorization: Bearer {known['token']}\r\n" if "token" in known else ""
        head = f"POST {known.get('prefix', '')}/{path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        self._port = known["port"]
        self.latencies_ms: list[float] = []

    async def open(self) -> Way:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self) -> None:
        """Send one request, timed until the last byte of its answer."""
        started = time.perf_counter()
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head + await self._reader.read(500))
        if b"transfer-encoding: chunked" in head:
            got = b""
            while not got.endswith(b"0\r\n\r\n"):
                got += await self._reader.read(65536)
        else:
            await self._reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        self.latencies_ms.append((time.perf_counter() - started) * 1e3)


async def _turns(known: dict[str, dict[str, Any]], path: str, requests: int) -> dict[str, list[float]]:
    ways = {name: await Way(each, path).open() for name, each in known.items()}
    for n in range(requests + 50):
        if n == 50:  # warmed up
            for way in ways.values():
                way.latencies_ms.clear()
        for way in ways.values():
            await way.ask()
    return {name: way.latencies_ms for name, way in ways.items()}


async def _measured(known: dict[str, dict[str, Any]], path: str, requests: int, connections: int) -> dict[str, list[float]]:
    several = await asyncio.gather(*(_turns(known, path, requests // connections) for _ in range(connections)))
    return {name: [value for each in several for value in each[name]] for name in known}


def measure(requests: int, connections: int) -> None:
    """Start both servers, measure them in turn, and print the table."""
    import uvloop

    processes, known = [], {}
    try:
        for name in ("service", "api"):
            arguments = [sys.executable, __file__, "--serve", name]
            if name == "api":
                arguments += ["--service-port", str(known["service"]["port"])]
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            processes.append(process)
            known[name] = json.loads(process.stdout.readline()) if process.stdout else {}
        print(f"{'':28}{'service ms':>12}{'api ms':>9}{'added ms':>10}{'p99 added':>11}")
        for path, title in (("generate", "JSON"), ("stream", "20 events, streamed")):
            for several in (1, connections):
                found = uvloop.run(_measured(known, path, requests, several))
                service, api = (statistics.median(found[name]) for name in ("service", "api"))
                worst = _p99(found["api"]) - _p99(found["service"])
                print(f"{title + f', {several} at a time':28}{service:12.2f}{api:9.2f}{api - service:10.2f}{worst:11.2f}")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def main() -> None:
    """Run the command line."""
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--serve", choices=("service", "api"), help=argparse.SUPPRESS)
    parser.add_argument("--service-port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvloop.run(_service() if given.serve == "service" else _api(given.service_port))
    else:
        measure(given.requests, given.connections)


if __name__ == "__main__":
    main()
