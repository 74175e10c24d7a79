"""Finds on MongoDB, in batches of bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio.to_thread

from dyff.kernel import mongo
from dyff.query import filters, port, projection
from dyff.query.mongo import queries, stored


async def batches(documents: mongo.Collection, query: filters.Find) -> AsyncGenerator[list[bytes], None]:
    """The bodies of all documents that match, in batches as `port.QueryReader.find` has them."""
    left = None if query.limit is None else max(query.limit, 0)
    search = queries.search(query)
    cut = projection.cut(query.fields)

    def read(found: dict[str, Any]) -> bytes:
        return cut(stored.body(found))

    batch: list[bytes] = []
    size = 0
    for where in search.filters:
        if left == 0:
            break
        async with aclosing(documents.each(where, stored.BODY, order=search.order, limit=left or 0)) as found:
            async for each in found:
                # Unpacking a large body takes too long for the event loop.
                body = await anyio.to_thread.run_sync(read, each) if each.get("packed") else read(each)
                batch.append(body)
                size += len(body)
                left = None if left is None else left - 1
                if size >= port.BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
    if batch:
        yield batch
