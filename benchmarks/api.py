"""The speed of `POST /v0/evaluations`, from socket to socket, compared with two other servers that handle the same body.

    .venv/bin/python benchmarks/api.py [--requests 5000] [--connections 32] [--rounds 5] [--servers dyff audited ...]

`dyff`: our API on its embedded adapters: token, references, checks, the durable command, the whole entity.
`fastapi`: FastAPI with the published request and response models on uvicorn; no token, no references, no storage.
`audited`: `dyff` with the audit log in files; only if it is asked for.
`litestar`: a bare Litestar handler that answers with ready bytes; nothing else.

Each server is a process of its own: uvicorn with uvloop and httptools. The client is another process, which speaks raw HTTP so
that it is not the bottleneck. The servers alternate, round after round, so that load on the machine affects all of them. The
ratios are between medians of one run. CPU time is that of the server: user and system, all threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SERVERS = ("dyff", "fastapi", "litestar")
ALL = ("dyff", "audited", "fastapi", "litestar")
CONFIG: dict[str, Any] = {"loop": "none", "http": "httptools", "access_log": False, "log_level": "warning", "server_header": False}


def serve(name: str) -> None:
    """Run one server. When it serves, print the port, the token and the request body as a line of JSON."""
    import uvloop

    uvloop.run({"dyff": _dyff, "audited": _audited, "fastapi": _fastapi, "litestar": _litestar}[name]())


async def _run(app: Any, token: str, body: dict[str, Any], **changes: Any) -> None:
    import uvicorn

    from dyff.api import role

    with role.listener("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, **CONFIG | changes))
        print(json.dumps({"port": bound.getsockname()[1], "token": token, "body": body}), flush=True)
        await server.serve(sockets=[bound])


async def _audited() -> None:
    from dyff.kernel import clock, log_settings, settings
    from dyff.serve.audit import output

    with tempfile.TemporaryDirectory() as place:
        chosen = settings.Settings(data_dir=place, audit=log_settings.Audit(output="file"))
        audit = output.AuditOutput(chosen, clock.SystemClock())
        await _dyff(audit=audit.trail)


async def _dyff(**changes: Any) -> None:
    from dyff.accounts import grants
    from dyff.api import connections, express, forwarded
    from dyff.kernel import garbage_collector
    from tests.api.conftest import opened

    with tempfile.TemporaryDirectory() as place:
        async with opened(Path(place), **changes) as world:
            now = world.services.clock.now()
            token = await world.services.authority.issue(world.account, grants.ADMIN, now + timedelta(hours=1))
            body = await world.evaluation_body()
            world.view.pause()  # measure the work of the api, not that of the roles behind the log
            chosen = world.services.settings
            proxies, limits = forwarded.Proxies(chosen), connections.limits(chosen)
            lane = express.protocol(world.app.express, world.app.lane.answer_express, limits, proxies)
            garbage_collector.tune()  # as `dyff serve` does
            await _run(world.app, token, body, http=lane)


def _example() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request, and the entity that it creates."""
    from datetime import UTC, datetime

    import msgspec

    from dyff.entities import registry
    from tests.entities import bodies

    made = registry.BY_KIND["InferenceService"].create(_decoded("InferenceService", bodies.SERVICE), {}, "0" * 32, datetime.now(UTC))
    known = {bodies.EVALUATION["inferenceSession"]["inferenceService"]: registry.BY_KIND["InferenceService"].foreign(made)}
    entity = registry.BY_KIND["Evaluation"].create(_decoded("Evaluation", bodies.EVALUATION), known, "0" * 32, datetime.now(UTC))
    return bodies.EVALUATION, msgspec.to_builtins(entity)


def _decoded(kind: str, body: dict[str, Any]) -> Any:
    import msgspec

    from dyff.entities import registry

    return msgspec.json.decode(json.dumps(body), type=registry.BY_KIND[kind].creation.request)


async def _fastapi() -> None:
    from dyff.schema import platform, requests
    from fastapi import FastAPI

    body, entity = _example()
    parts = {key: entity[key] for key in ("id", "status", "creationTime", "inferenceSession", "securityContext")}
    app = FastAPI()

    async def create(request: requests.EvaluationCreateRequest) -> platform.Evaluation:
        given = request.model_dump(exclude={"inferenceSession"}, exclude_unset=True)
        return platform.Evaluation(**given, **parts)

    create.__annotations__ = {"request": requests.EvaluationCreateRequest, "return": platform.Evaluation}
    app.post("/v0/evaluations", status_code=201)(create)
    await _run(app, "", body)


async def _litestar() -> None:
    from litestar import Litestar, Request, Response, post

    body, entity = _example()
    answer = json.dumps(entity).encode()

    async def create(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json", status_code=201)

    create.__annotations__ = {"request": Request, "return": Response}
    await _run(Litestar([post("/v0/evaluations")(create)], openapi_config=None, logging_config=None), "", body)


class Connection(asyncio.Protocol):
    """Sends one request after the other until all have been sent."""

    def __init__(self, load: Load) -> None:
        """`load`: shared by all connections."""
        self._load = load
        self._held = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._held[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._held) >= end + 4 + length:
            if not head.startswith(b"http/1.1 201"):
                raise RuntimeError(self._held[:500])
            self._load.latencies.append(time.perf_counter() - self._sent)
            self._held = b""
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.ended()

    def _next(self) -> None:
        if self._load.left <= 0:
            self._transport.close()
            return
        self._load.left -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)


class Load:
    """A fixed number of requests over a number of connections."""

    def __init__(self, known: dict[str, Any], requests: int, connections: int) -> None:
        """`known`: what the server printed."""
        body = json.dumps(known["body"]).encode()
        head = f"POST /v0/evaluations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {known['token']}\r\n"
        self.request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        self.port, self.left, self.open, self.latencies = known["port"], requests, connections, []
        self.done = asyncio.Event()

    def ended(self) -> None:
        """Count a connection as ended."""
        self.open -= 1
        if not self.open:
            self.done.set()

    async def run(self) -> float:
        """Send all requests; returns requests per second."""
        loop, total = asyncio.get_running_loop(), self.left
        started = time.perf_counter()
        for _ in range(self.open):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        await self.done.wait()
        return total / (time.perf_counter() - started)


def load(known: dict[str, Any], requests: int, connections: int) -> None:
    """Put load on one server, and print the results as a line of JSON."""
    import uvloop

    subject: list[Load] = []

    async def run() -> float:
        subject.append(Load(known, requests, connections))
        return await subject[0].run()

    rate = uvloop.run(run())
    latencies = sorted(subject[0].latencies)
    print(json.dumps({"rate": rate, "p50_ms": statistics.median(latencies) * 1e3, "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3}))


def _cpu_s(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(requests: int, connections: int, rounds: int, servers: list[str]) -> None:
    """Start the servers, measure them in turn, and print the table."""
    running = {name: subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True) for name in servers}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    try:
        known = {name: json.loads(process.stdout.readline()) for name, process in running.items() if process.stdout}
        for turn in range(rounds + 1):
            for name, process in running.items():
                before = _cpu_s(process)
                arguments = [
                    sys.executable,
                    __file__,
                    "--load",
                    json.dumps(known[name]),
                    "--requests",
                    str(requests),
                    "--connections",
                    str(connections),
                ]
                found = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
                if turn:  # the first round warms up
                    results[name].append({**found, "cpu_us": (_cpu_s(process) - before) / requests * 1e6})
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    _report(results, connections)


def _report(results: dict[str, list[dict[str, float]]], connections: int) -> None:
    middle = {name: {key: statistics.median(each[key] for each in rows) for key in rows[0]} for name, rows in results.items()}
    print(f"POST /v0/evaluations, {connections} connections; medians of {len(results['dyff'])} rounds\n")
    print(f"{'':10}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us/request':>16}{'dyff is faster by':>20}")
    for name, row in middle.items():
        ratio = middle["dyff"]["rate"] / row["rate"]
        print(f"{name:10}{row['rate']:12.0f}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}{row['cpu_us']:16.0f}{ratio:19.2f}x")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", nargs="+", choices=ALL, default=list(SERVERS), help="dyff must be one of them")
    parser.add_argument("--serve", choices=ALL, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    elif given.load:
        load(given.load, given.requests, given.connections)
    else:
        measure(given.requests, given.connections, given.rounds, given.servers)


if __name__ == "__main__":
    main()
