"""The query store on MongoDB, compared with bare bulk upserts of the same documents on the same server, in one run, with both drivers.

Prints the documents per second of `apply` (which encodes, writes with a version guard, and then writes positions), those of bare bulk
upserts into a collection with the same indexes (body and MongoDB document prepared in advance, guarded and unordered), and their ratio.
Rounds alternate, so that load on the machine affects both. Needs a server: `DYFF_TEST_MONGODB=mongodb://127.0.0.1:27017/`.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
import uuid
from typing import Any

import anyio
import pymongo

from dyff.entities import codecs, registry
from dyff.kernel import mongo
from dyff.query import port
from dyff.query.mongo import MongoQuery, stored

GOAL = 0.7
BATCH = 500
"""The size of the sink's batches."""
BATCHES = 4
"""Batches per round: new documents, then the same number with newer versions."""
ROUNDS = 4


def document(number: int, version: int) -> port.Document:
    """Return an evaluation of a typical size, 1.6 KB."""
    entity_id = f"{random.Random(number).getrandbits(128):032x}"
    service = {"id": f"s{number % 100}", "name": "service", "model": {"id": f"m{number % 50}", "name": "model"}, "args": ["x" * 30] * 20}
    body = {
        "id": entity_id, "kind": "Evaluation", "account": f"a{number % 5}", "status": "Complete" if version > 1 else "Created",
        "creationTime": f"2026-01-01T00:00:{number:013.6f}Z", "dataset": f"d{number % 500}", "labels": {"team": "red"},
        "inferenceSession": {"inferenceService": service}, "metadata": {"documentation": {"fullPage": "y" * 600}},
    }  # fmt: skip
    return port.Document("evaluations", entity_id, version, codecs.encode(body))


def batches(round_number: int) -> list[list[port.Document]]:
    """Return batches of new documents, then of newer versions of the same documents."""
    half = BATCHES // 2
    start = round_number * half * BATCH
    return [
        [document(number, version) for number in range(start + batch * BATCH, start + (batch + 1) * BATCH)]
        for version in (1, 2)
        for batch in range(half)
    ]


async def applied(store: MongoQuery, given: list[list[port.Document]]) -> float:
    """Return the documents per second through the adapter."""
    started = time.perf_counter()
    for count, batch in enumerate(given):
        await store.apply(batch, port.Reached("e", {0: count + 1}, {0: count + 1}))
    return sum(map(len, given)) / (time.perf_counter() - started)


async def bare(collection: Any, given: list[list[port.Document]]) -> float:
    """Return the documents per second of bare bulk upserts."""
    ready = [
        [
            pymongo.ReplaceOne(
                {"_id": each.id, "version": {"$lt": each.version}},
                {"version": each.version, "live": True, "body": each.body, "fields": codecs.decode_object(each.body)},
                upsert=True,
            )
            for each in batch
        ]
        for batch in given
    ]
    started = time.perf_counter()
    for batch in ready:
        await collection.bulk_write(batch, ordered=False)
    return sum(map(len, given)) / (time.perf_counter() - started)


async def measure(connection: mongo.Connection) -> float:
    """Return the ratio of the medians."""
    rates: dict[str, list[float]] = {"adapter": [], "bare": []}
    row = registry.BY_PLURAL["evaluations"]
    async with MongoQuery.open(connection) as store, mongo.Database.open(connection, "the benchmark") as database:
        try:
            await database.collection("bare").ensure(stored.indexes(row))
            collection = database._database["bare"]
            for number in range(ROUNDS):
                given = batches(number)
                for name in sorted(rates, reverse=number % 2 == 1):
                    rates[name].append(await (applied(store, given) if name == "adapter" else bare(collection, given)))
        finally:
            await database.drop()
    adapter, baseline = (statistics.median(rates[name]) for name in ("adapter", "bare"))
    print(f"{connection.driver:<10}{adapter:>12,.0f}{baseline:>12,.0f}{adapter / baseline:>8.2f}")
    return adapter / baseline


async def main() -> int:
    """Measure both drivers; return 1 if one misses the goal."""
    uri = os.environ.get("DYFF_TEST_MONGODB")
    if not uri:
        print("left out: DYFF_TEST_MONGODB names no server")
        return 0
    print(f"{'upserts/s':<10}{'adapter':>12}{'bare':>12}{'ratio':>8}")
    ratios = [
        await measure(mongo.Connection(uri=uri, database=f"dyff-bench-{uuid.uuid4().hex}", driver=driver, timeout_s=60.0))
        for driver in ("motor", "pymongo")
    ]
    reached = min(ratios) >= GOAL
    print(f"goal: at least {GOAL:.0%} of bare: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main))
