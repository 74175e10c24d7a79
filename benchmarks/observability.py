"""What observability costs a `POST /v0/evaluations`: metrics, and the audit log in files.

    .venv/bin/python benchmarks/observability.py [--rounds 400]

One server process has four addresses on the same log, view and accounts: `plain` without any of it, `metrics`, `audit`, and `all`. A client
in a process of its own sends a few requests to each in turn, in another order in each round, so that other load on the machine meets all
four alike. What is compared is the CPU time of the thread of the event loop: all that a request waits for. The audit log also has a thread
that makes and writes its entries; its CPU time for each of them is added. Printed are the medians of the differences to `plain` in the same
round, with the error of each median, and what share of a plain create they are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

ARMS = ("plain", "metrics", "traces", "audit", "all")
CONNECTIONS = 8
BATCH = 48
"""Requests to one address in a round."""


async def _serve() -> None:
    from dyff.accounts import grants
    from dyff.kernel import clock, garbage_collector, log_settings, settings
    from dyff.serve.audit import output
    from tests.api.conftest import opened

    with tempfile.TemporaryDirectory() as place:
        chosen = settings.Settings(data_dir=place, audit=log_settings.Audit(output="file"))
        audit = output.AuditOutput(chosen, clock.SystemClock())
        async with opened(Path(place)) as world:
            now = world.services.clock.now()
            token = await world.services.authority.issue(world.account, grants.ADMIN, now + timedelta(hours=1))
            body = await world.evaluation_body()
            world.view.pause()  # measure the work of the api, not that of the roles behind the log
            garbage_collector.tune()
            listening = [_listen(world.services, arm, audit.trail) for arm in ARMS]
            ports = [bound.getsockname()[1] for bound, _ in listening]
            writer = audit._lines._thread.native_id
            print(json.dumps({"ports": dict(zip(ARMS, ports, strict=True)), "token": token, "body": body, "writer": writer}), flush=True)
            await asyncio.gather(*(server.serve(sockets=[bound]) for bound, server in listening))


def _listen(services: Any, arm: str, trail: Any) -> tuple[Any, Any]:
    """Return a socket and a server for it, with what the arm has."""
    import msgspec
    import uvicorn

    from dyff.api import app, connections, express, forwarded, role

    built = app.build(msgspec.structs.replace(services, audit=trail if arm in ("audit", "all") else None))
    publishing = next(route for route in built.express if route.group == "evaluations").answer.__self__._context.publishing  # type: ignore[attr-defined]
    if arm not in ("metrics", "all"):
        built.lane.metering = SimpleNamespace(answered=_nothing, failed=_nothing, watch=connections.Watch())  # type: ignore[assignment]
        publishing._publications = SimpleNamespace(ok=SimpleNamespace(observe=_nothing), not_ok=_nothing)
    if arm not in ("traces", "all"):
        built.lane._tracing = SimpleNamespace(begin=_nothing, identified=_nothing, answered=_same)  # type: ignore[assignment]
        publishing._trace = _nothing
    proxies, limits = forwarded.Proxies(services.settings), connections.limits(services.settings)
    lane = express.protocol(built.express, built.lane.answer_express, limits, proxies)
    config = uvicorn.Config(built, loop="none", http=lane, access_log=False, log_level="warning", server_header=False, lifespan="off")
    return role.listener("127.0.0.1", 0), uvicorn.Server(config)


def _nothing(*_: object) -> None:
    """Do nothing."""


def _same(route: object, call: object, entered: object, reply: Any, *_: object) -> Any:
    """Add nothing to an answer."""
    return reply


def _cpu_ns(pid: int, thread: int) -> int:
    """Return the CPU time of a thread."""
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])


class Client:
    """Connections to one address."""

    def __init__(self, known: dict[str, Any], arm: str) -> None:
        """`known`: what the server printed."""
        body = json.dumps(known["body"]).encode()
        head = f"POST /v0/evaluations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {known['token']}\r\n"
        self._request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        self._port = known["ports"][arm]
        self._connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self) -> None:
        """Connect."""
        self._connections = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(CONNECTIONS)]

    async def batch(self) -> None:
        """Send requests on all connections at the same time, one after the other on each."""
        await asyncio.gather(*(self._ask(reader, writer) for reader, writer in self._connections))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(BATCH // CONNECTIONS):
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 201"):
                raise RuntimeError(head[:500])
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))


async def _rounds(known: dict[str, Any], pid: int, rounds: int) -> tuple[list[dict[str, float]], float]:
    """Return the CPU microseconds for each request in each round, and those of the audit log's thread for each entry."""
    clients = {arm: Client(known, arm) for arm in ARMS}
    for client in clients.values():
        await client.open()
        await client.batch()
    rows: list[dict[str, float]] = []
    writing = _cpu_ns(pid, known["writer"])
    for _ in range(rounds):
        row: dict[str, float] = {}
        for arm in random.sample(ARMS, len(ARMS)):
            before = _cpu_ns(pid, pid)
            await clients[arm].batch()
            row[arm] = (_cpu_ns(pid, pid) - before) / BATCH / 1e3
        rows.append(row)
    await asyncio.sleep(1.0)  # until the last entries are written
    entries = 2 * rounds * BATCH
    return rows, (_cpu_ns(pid, known["writer"]) - writing) / entries / 1e3


def measure(rounds: int) -> None:
    """Start the server, put load on its addresses in turn, and print the table."""
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        known = json.loads(server.stdout.readline()) if server.stdout else {}
        rows, writing = asyncio.run(_rounds(known, server.pid, rounds))
    finally:
        server.kill()
        server.wait()
    plain = statistics.median(row["plain"] for row in rows)
    print(f"POST /v0/evaluations: {rounds} rounds of {BATCH} requests to each address; load average {os.getloadavg()[0]:.1f}\n")
    print(f"plain: {plain:.1f} us of CPU on the event loop for each request")
    for arm in ARMS[1:]:
        low, middle, high = statistics.quantiles((row[arm] - row["plain"] for row in rows), n=4)
        error = 1.25 * (high - low) / 1.35 / rounds**0.5  # of a median
        thread = writing if arm in ("audit", "all") else 0.0
        total = middle + thread
        text = f"{arm:8} {middle:+6.2f} us (+- {error:.2f}) on the event loop ({middle / plain:+.1%})"
        print(f"{text}, {thread:5.2f} us in its thread; together {total:+6.2f} us ({total / plain:+.1%})")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        import uvloop

        uvloop.run(_serve())
    else:
        measure(given.rounds)


if __name__ == "__main__":
    main()
