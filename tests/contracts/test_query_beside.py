"""The contract of what another process may do with the query store, for every adapter."""

from __future__ import annotations

import pytest

from dyff.query import port
from dyff.query.beside import EmbeddedBeside
from dyff.query.embedded import EmbeddedQuery
from dyff.query.mongo import MongoQuery
from tests.contracts import mongodb
from tests.contracts.test_query import document


@pytest.fixture(params=["query:embedded", *mongodb.params("query")])
async def stores(request, tmp_path):
    """The store as its server has it open, and as another process has it."""
    if request.param == "query:embedded":
        path = tmp_path / "query.sqlite"
        async with EmbeddedQuery.open(path) as query:
            yield query, EmbeddedBeside(path)
        return
    async with (
        mongodb.database(request.param) as connection,
        MongoQuery.open(connection) as query,
        MongoQuery.open(connection) as beside,
    ):
        yield query, beside


async def scanned(beside) -> list[port.Scanned]:
    return sorted([each async for batch in beside.scan() for each in batch], key=lambda each: (each.document.collection, each.document.id))


async def test_a_scan_has_everything_as_it_was_applied(stores):
    """All collections, each newest version, what was forgotten too; more than fit into one batch."""
    query, beside = stores
    odd = port.Document("odd.name/é", "x", 3, b'{"id": "x",  "labels":{"a.b":null,"$c":[1,{"d":1.5}]}}')
    large = port.Document("models", "large", 4, b'{"id":"large","text":"%s"}' % (b"x" * 5_000_000))
    many = [document(f"{number:04}", number) for number in range(2500)]
    await query.apply([*many, odd, large, document("0001", 9, text="new")], port.Reached("e", {0: 3}, {0: 7}))
    await query.apply([port.Document("evaluations", "0002", 10, None)], port.Reached("e"))
    wanted = {(each.collection, each.id): each for each in [*many, odd, large, document("0001", 9, text="new")]}
    wanted["evaluations", "0002"] = port.Document("evaluations", "0002", 10, None)
    found = await scanned(beside)
    assert [each.document for each in found] == [wanted[key] for key in sorted(wanted)]
    assert all(each.sound for each in found)
    assert await beside.reached() == port.Reached("e", {0: 3}, {0: 7})


async def test_a_scan_of_nothing_is_empty(stores):
    """Also after a reset."""
    query, beside = stores
    assert await scanned(beside) == []
    await query.apply([document("a")], port.Reached("e", {0: 1}))
    await query.reset()
    assert await scanned(beside) == []
    assert await beside.reached() == port.Reached()
