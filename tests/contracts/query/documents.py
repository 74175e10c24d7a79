"""Documents, put into a store and found in it."""

from __future__ import annotations

import json

from dyff.query import filters, port


def document(entity_id: str, version: int = 1, collection: str = "evaluations", **fields) -> port.Document:
    return port.Document(collection, entity_id, version, json.dumps({"id": entity_id, **fields}).encode())


async def put(query, *documents: port.Document) -> int:
    return await query.apply(documents, port.Reached("e"))


EVERYTHING = filters.AllOf()


async def found(query, where=EVERYTHING, collection: str = "evaluations", **given) -> list[str]:
    bodies = await port.found(query.find(filters.Find(collection=collection, where=where, **given)))
    return [json.loads(body)["id"] for body in bodies]


async def matching(query, where) -> set[str]:
    return set(await found(query, where))
