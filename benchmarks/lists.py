"""What the console asks a server for, with many entities: a page of a list, the overview, one entity; and bare SQLite, in one run.

Run: `python benchmarks/lists.py [entities]`. The server's application is called in this process, so that a busy network is no part of it.
The view is filled directly, without the log. Prints the median of each request, its ratio to reading the same page from bare SQLite (apsw),
and the bytes of whole entities and of rows. Whole lists and rows alternate, so load on the machine affects both.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import apsw
import httpx

from dyff.accounts.grants import Grant
from dyff.entities import codecs
from dyff.query import port

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.api import conftest

GOAL_MS = 200
ROUNDS = 15
ACCOUNTS = 20
STATUSES = ("Complete", "Complete", "Complete", "Complete", "Complete", "Complete", "Failed", "Terminated")
FIELDS = "status,reason,creationTime,labels,metadata.documentation.title,inferenceSession.inferenceService.name,dataset"
LIST = {"limit": 51, "orderBy": "creationTime", "order": "descending"}
LAST = {**LIST, "orderBy": "lastTransitionTime"}


def document(number: int, order: random.Random) -> port.Document:
    """An evaluation of a typical size, 2 KB. One in a thousand still runs or waits."""
    entity_id = f"{order.getrandbits(128):032x}"
    status = ("Admitted", "Created")[number // 1000 % 2] if number % 1000 == 0 else STATUSES[number % len(STATUSES)]
    service = {"id": f"{number % 100:032x}", "name": "service", "model": {"id": "m", "name": "model"}, "args": ["x" * 30] * 30}
    body = {
        "id": entity_id, "kind": "Evaluation", "account": f"a{number % ACCOUNTS}", "status": status, "schemaVersion": "0.1",
        "creationTime": f"2026-01-01T00:00:{number:013.6f}Z", "lastTransitionTime": f"2026-01-01T00:01:{number:013.6f}Z",
        "dataset": f"{number % 500:032x}", "labels": {"team": "red"}, "inferenceSession": {"inferenceService": service},
        "metadata": {"documentation": {"title": f"run {number}", "fullPage": "y" * 600}},
    }  # fmt: skip
    return port.Document("evaluations", entity_id, number, codecs.encode(body))


async def fill(world: conftest.World, bare: apsw.Connection, size: int) -> str:
    """Write the same documents to both; returns the ID of one in the middle."""
    order, middle = random.Random(1), ""
    bare.execute("PRAGMA journal_mode = WAL; CREATE TABLE documents (id TEXT PRIMARY KEY, created TEXT, body BLOB)").fetchall()
    bare.execute("CREATE INDEX c ON documents (created, id)")
    for start in range(0, size, 1000):
        batch = [document(number, order) for number in range(start, min(start + 1000, size))]
        await world.services.query.apply(batch, port.Reached())
        with bare:
            bare.executemany("INSERT INTO documents VALUES (?, ?, ?)", [(each.id, each.version, each.body) for each in batch])
        middle = batch[0].id if start <= size // 2 else middle
    return middle


def client_of(world: conftest.World, token: str) -> httpx.AsyncClient:
    """A client that checks no answers, unlike that of tests."""
    transport = httpx.ASGITransport(world.app)
    return httpx.AsyncClient(transport=transport, base_url="http://dyff.test", headers={"Authorization": f"Bearer {token}"}, timeout=60)


async def measured(client: httpx.AsyncClient, path: str, params: dict[str, Any]) -> tuple[float, int]:
    """Milliseconds and bytes of one answer."""
    began = time.perf_counter()
    answer = await client.get(path, params=params)
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status_code} {answer.text[:200]}")
    return 1000 * (time.perf_counter() - began), len(answer.content)


async def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        bare = apsw.Connection(f"{folder}/bare.sqlite")
        async with conftest.opened(Path(folder)) as world:
            began = time.perf_counter()
            middle = await fill(world, bare, size)
            print(f"{size} entities in {time.perf_counter() - began:.0f} s; goal: a median below {GOAL_MS} ms")
            one = await world.token(Grant(("*",), ("*",), ("a7",)))
            failed = {"query": json.dumps({"status": ["Failed", "Error", "Denied"]})}
            asked: dict[str, tuple[str, dict[str, Any], str | None]] = {
                "whole entities, newest first": ("/v0/evaluations", LIST, None),
                "rows, newest first": ("/v0/evaluations/rows", {**LIST, "fields": FIELDS}, None),
                "rows, last change first": ("/v0/evaluations/rows", {**LAST, "fields": FIELDS}, None),
                "rows that failed, last change first": ("/v0/evaluations/rows", {**LAST, **failed, "fields": FIELDS}, None),
                "rows of one account that failed": ("/v0/evaluations/rows", {**LAST, **failed, "fields": FIELDS}, one),
                "overview": ("/v0/overview", {}, None),
                "overview of one account": ("/v0/overview", {}, one),
                "one entity": (f"/v0/evaluations/{middle}", {}, None),
            }
            times: dict[str, list[float]] = {name: [] for name in ("bare page", *asked)}
            sizes: dict[str, int] = {"bare page": 0}
            for _ in range(ROUNDS):
                began = time.perf_counter()
                bare.execute("SELECT body FROM documents ORDER BY created DESC, id DESC LIMIT 51").fetchall()
                times["bare page"].append(1000 * (time.perf_counter() - began))
                for name, (path, params, token) in asked.items():
                    async with client_of(world, token or world.admin) as client:
                        spent, sizes[name] = await measured(client, path, params)
                    times[name].append(spent)
        bare.close()
    base = statistics.median(times["bare page"])
    for name, spent in times.items():
        middle_ms = statistics.median(spent)
        print(f"{name}: {middle_ms:.1f} ms ({min(spent):.1f} to {max(spent):.1f}), {middle_ms / base:.0f} of bare, {sizes[name]} bytes")
    slow = [name for name, spent in times.items() if statistics.median(spent) > GOAL_MS]
    print(f"missed by {', '.join(slow)}" if slow else "goal reached")


if __name__ == "__main__":
    anyio.run(main)
