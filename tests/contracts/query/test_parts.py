"""What every adapter of `dyff.query.port.QueryStore` guarantees of finding parts of documents, and of counting them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dyff.query import filters, port
from tests.contracts.query.documents import document, found, put

LAST = ("lastTransitionTime",)


async def parts(query, *fields: filters.Path, **given) -> list[Any]:
    """What is left of each document."""
    asked = filters.Find(collection="evaluations", fields=fields, order_by=("id",), **given)
    return [json.loads(body) for body in await port.found(query.find(asked))]


async def test_a_part_has_the_fields_that_are_there_and_nothing_else(query):
    """Nested as in the whole; what is absent stays absent, null stays null, and a path through a text or a list leads nowhere."""
    await put(
        query,
        document(
            "a", name="A", service={"model": {"id": "m", "size": 2**70}, "url": "x"}, tags=[{"k": 1}], labels={"a.b": "é"}, secret="s"
        ),
        document("b", name=None, service="none", labels={}),
    )
    assert await parts(query, ("id",), ("name",), ("service", "model", "id"), ("labels",), ("tags", "k")) == [
        {"id": "a", "name": "A", "service": {"model": {"id": "m"}}, "labels": {"a.b": "é"}},
        {"id": "b", "name": None, "labels": {}},
    ]
    assert await parts(query, ("service", "model", "id"), ("service",), where=filters.Equals(("id",), "a")) == [
        {"service": {"model": {"id": "m", "size": 2**70}, "url": "x"}}
    ]
    assert await parts(query) == [{}, {}]


@pytest.mark.parametrize("size", [20_000, 5 * 2**20])
async def test_a_part_of_a_large_document_is_as_it_was_written(query, size):
    """Also of one that is stored in another way because of its size."""
    long = "x" * 3000
    await put(query, document("a", text="y" * size, name=long), document("b", text="y" * size, number=1.5))
    assert await parts(query, ("name",), ("number",)) == [{"name": long}, {"number": 1.5}]


async def test_pages_of_parts_are_the_pages_of_wholes(query):
    """The order, the limit and the place to go on from do not depend on what is left of a document."""
    await put(
        query, *(document(f"{n:02}", lastTransitionTime=f"2026-01-{n // 3 + 1:02}", status="Ready", text="z" * 9000) for n in range(20))
    )
    given: dict[str, Any] = {"order_by": LAST, "order": "descending", "limit": 7, "after": filters.After("2026-01-04", "10")}
    wholes = await found(query, filters.OneOf(("status",), ("Ready", "Complete")), **given)
    asked = filters.Find(collection="evaluations", where=filters.OneOf(("status",), ("Ready", "Complete")), fields=(("id",),), **given)
    assert [json.loads(body) for body in await port.found(query.find(asked))] == [{"id": each} for each in wholes]
    assert wholes == ["09", "08", "07", "06", "05", "04", "03"]


async def test_a_count_ends_at_its_limit(query):
    """Each document counts once, whichever of several alternatives it matches; forgotten ones and other collections do not."""
    await put(query, *(document(f"{n:02}", status="Ready" if n % 2 else "Created", account="a" if n < 4 else "b") for n in range(10)))
    await put(query, document("other", collection="datasets", status="Ready"), port.Document("evaluations", "01", 9, None))

    async def count(where: filters.Predicate, limit: int) -> int:
        return await query.count(filters.Find(collection="evaluations", where=where, limit=limit))

    seen = filters.AnyOf((filters.OneOf(("account",), ("a",)), filters.OneOf(("id",), ("00", "09"))))
    assert [await count(filters.Equals(("status",), "Ready"), limit) for limit in (100, 4, 3, 0)] == [4, 4, 3, 0]
    assert await count(seen, 100) == 4
    assert await count(filters.AllOf((seen, filters.OneOf(("status",), ("Ready", "Complete")))), 100) == 2
    assert await count(filters.Equals(("text",), "nothing"), 100) == 0
    assert await count(filters.AnyOf(()), 100) == 0
    assert await count(filters.AllOf(), 100) == 9
