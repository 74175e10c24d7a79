"""What is special about the query store on MongoDB: how documents are stored, other sinks, resets, and what a crash leaves."""

from __future__ import annotations

import json

import anyio
import pytest

from dyff.entities import registry
from dyff.kernel import errors, mongo
from dyff.query import filters, port
from dyff.query.mongo import MongoQuery, queries, stored
from tests.narrowing import sure
from tests.query.documents import document


@pytest.mark.parametrize(
    ("key", "want"),
    [("name", "name"), ("a.b/c", "a%2Eb/c"), ("$in", "%24in"), ("", "%"), ("%", "%25"), ("%a", "%25a"), ("a\x00", "a%00"), ("0", "0")],
)
def test_a_key_has_no_meaning_of_its_own_there(key, want):
    """No dot, no dollar, nothing empty; no two keys become one, and none the key of an array's elements."""
    assert stored.step(key) == want
    assert stored.field(("labels", key)) == f"fields.labels.{want}"


@pytest.mark.parametrize("name", ["evaluations", "a.b", "$x", "", ".", "system.x", "\x00", "ü", "~", "%2E"])
def test_every_collection_has_a_name_that_is_allowed_and_its_own(name):
    """Letters, digits and escapes, and it is known for one of ours."""
    there = stored.collection(name)
    assert stored.is_collection(there)
    assert not set(there) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%")
    assert there == stored.collection("evaluations") or name != "evaluations"


def test_what_is_asked_of_an_array_cannot_be_asked_of_an_object():
    """An array is stored as no value and no path can be."""
    kept = stored.document(port.Document("x", "a", 1, b'{"a":[1,[2],{"b":null}],"big":%d,"n":%d}' % (10**400, 2**70)), 3)
    array = {stored.ARRAY: [1, {stored.ARRAY: [2]}, {"b": None}]}
    assert kept["fields"] == {"a": array, "big": None, "n": float(2**70)}
    assert (kept["at"], kept["live"]) == (stored.place(1, 3), True)


def test_the_forgotten_leaves_a_version_only():
    """Neither body nor fields, and it is not live."""
    assert stored.document(port.Document("x", "a", 7, None), 2) == {"at": stored.place(7, 2)}


def test_a_later_generation_is_newer_whatever_the_versions():
    """And within one the higher version is, however many digits it has."""
    places = [(9, 0), (10, 0), (2**63, 0), (0, 1), (99, 9), (100, 9), (0, 10)]
    texts = [stored.place(*each) for each in places]
    assert texts == sorted(texts)
    assert [stored.version(each) for each in texts] == [version for version, _ in places]


def test_of_a_large_document_what_is_asked_for_is_stored_twice():
    """The rest lies in its body only, compressed; and it comes back as it was."""
    body = {"id": "a", "status": "x", "labels": {"k": "v"}, "inferenceSession": {"inferenceService": {"id": "s", "x": 1}}, "dataset": "d"}
    given = json.dumps({**body, "text": ["y" * 100] * (stored.LARGE_BYTES // 100)}).encode()
    kept = stored.document(port.Document("evaluations", "a", 1, given), 0)
    assert len(kept["body"]) < len(given) / 10
    assert stored.body(kept) == given
    assert kept["fields"]["inferenceSession"] == {"inferenceService": {"id": "s"}}
    assert (kept["fields"]["labels"], kept["fields"]["status"], kept["fields"]["dataset"]) == ({"k": "v"}, "x", "d")
    assert "text" not in kept["fields"]


@pytest.mark.parametrize(
    ("order", "value", "want_parts"),
    [
        ("ascending", "x", 4),
        ("descending", "x", 3),
        ("ascending", None, 6),
        ("descending", None, 1),
        ("ascending", True, 1),
        ("descending", 1, 2),
    ],
)
def test_a_page_goes_on_with_the_types_beyond(order, value, want_parts):
    """After a value come those of its type, then the types beyond, and null last when descending: each a walk of its own."""
    find = filters.Find(collection="evaluations", order_by=("labels", "k"), order=order, after=filters.After(value, "a"))
    assert len(queries.search(find).filters) == want_parts


async def test_every_key_of_a_kind_has_an_index(connection):
    """In the order of creation, of what is not forgotten; opening again makes no other."""
    for _ in range(2):
        async with MongoQuery.open(connection):
            pass
    async with mongo.Database.open(connection, "the test") as database:
        for row in registry.ROWS:
            made = await database._database[stored.collection(row.plural)].index_information()
            for path in [("account",), ("status",), *row.query.values()]:
                index = made[f"by_{'.'.join(path)}"]
                assert index["key"] == [(stored.field(path), 1), ("fields.creationTime", 1), ("_id", 1)]
                assert index["partialFilterExpression"] == {"live": True}
            assert made["by_creationTime"]["key"] == [("fields.creationTime", 1), ("_id", 1)]


MIDDLE = filters.After("2026-01-01T00:00:00.000500Z", "0")


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first", "middle"])
@pytest.mark.parametrize("path", [None, ("account",), ("status",), *registry.BY_KIND["Evaluation"].query.values()], ids=str)
def test_a_page_asks_for_what_an_index_has(path, after, order):
    """Equal values of its first field, then its order: a walk along it, so a page costs the same wherever it starts."""
    where = filters.AllOf() if path is None else filters.AllOf((filters.Equals(path, "x"), filters.Equals(("labels", "k"), "v")))
    find = filters.Find(collection="evaluations", where=where, order_by=("creationTime",), order=order, limit=100, after=after)
    search = queries.search(find)
    first = [] if path is None else [stored.field(path)]
    walked = (*first, *(field for field, _ in search.order))
    assert walked in [index.paths for index in stored.indexes(registry.BY_KIND["Evaluation"])]
    assert len({direction for _, direction in search.order}) == 1
    for each in search.filters:
        assert each["live"]
        assert {*first, *(["fields.creationTime"] if after else [])} <= set(each)


async def test_waiting_ends_with_what_another_process_applies(connection):
    """The api waits for what the sink writes, with another client."""
    async with MongoQuery.open(connection) as api, MongoQuery.open(connection) as sink:
        seen = []

        async def wait() -> None:
            seen.append(await api.wait({0: 2, 3: 1}, 20.0))

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(wait)
            await sink.apply([], port.Reached("e", {}, {0: 2}))
            assert not await api.wait({3: 1}, 0.1)
            assert seen == []
            await sink.apply([document(1)], port.Reached("e", {}, {3: 1}))
        assert seen == [True] * 50
        assert await api.get("evaluations", document(1).id) is not None


async def test_a_waiter_can_give_up_at_any_time(connection):
    """It costs no connection: the looks go on for the others."""
    async with MongoQuery.open(connection) as query:
        ended = []

        async def wait() -> None:
            ended.append(await query.wait({0: 1}, 20.0))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            for _ in range(20):
                with anyio.move_on_after(0.03):
                    await query.wait({0: 1}, 20.0)
            await query.apply([], port.Reached("e", {}, {0: 1}))
        assert ended == [True]


async def test_sinks_that_write_at_once_leave_the_newest(connection):
    """Each writes all versions in an order of its own; in any order, the highest stays."""
    async with MongoQuery.open(connection) as one, MongoQuery.open(connection) as other:

        async def write(query: MongoQuery, versions: list[int]) -> None:
            for version in versions:
                await query.apply([document(number, version, n=version) for number in range(5)], port.Reached("e", {0: version}))

        async with anyio.create_task_group() as group:
            group.start_soon(write, one, list(range(1, 21)))
            group.start_soon(write, other, list(range(20, 0, -1)))
        assert [json.loads(body)["n"] for body in await port.found(one.find(filters.Find(collection="evaluations")))] == [20] * 5
        assert (await other.reached()).state == {0: 20}


async def test_a_sink_that_missed_a_reset_does_not_move_the_positions(connection):
    """It gets an error that says to go on from the view's own; what it wrote of the old log does not stand in the new one's way."""
    async with MongoQuery.open(connection) as late, MongoQuery.open(connection) as sink:
        await sink.apply([document(1, 50)], port.Reached("old", {0: 51}))
        view = await late._begin("old")
        await sink.reset()
        await late._write("evaluations", [document(1, 60), document(2, 61)], view, 0)
        with pytest.raises(errors.Unavailable, match="reset meanwhile"):
            await late._advance(port.Reached("old", {0: 62}), view)
        assert await sink.reached() == port.Reached()
        assert await sink.apply([document(1, 3), document(2, 4)], port.Reached("new", {0: 5})) == 2
        assert await sink.reached() == port.Reached("new", {0: 5})
        with pytest.raises(errors.LogDiverged):
            await late.apply([document(3, 63)], port.Reached("old", {0: 64}))


async def test_a_reset_that_was_cut_off_is_ended_by_the_next_apply(connection, monkeypatch):
    """The positions are gone at once; what older generations left is removed before anything is written."""
    async with MongoQuery.open(connection) as query:
        await query.apply([document(1, 50), document(2, 51), port.Document("datasets", "x", 52, None)], port.Reached("old", {0: 53}))

        async def crash(generation: int) -> None:
            raise errors.Unavailable("killed")

        with monkeypatch.context() as patch:
            patch.setattr(query, "_clear", crash)
            with pytest.raises(errors.Unavailable):
                await query.reset()
    async with MongoQuery.open(connection) as query:
        assert await query.reached() == port.Reached()
        assert await query.apply([document(1, 1)], port.Reached("new", {0: 2})) == 1
        assert [json.loads(body)["id"] for body in await port.found(query.find(filters.Find(collection="evaluations")))] == [document(1).id]
        assert await query.apply([port.Document("datasets", "x", 1, b"{}")], port.Reached("new")) == 1


async def test_a_view_that_lost_its_tail_heals(connection):
    """Restored from a backup, its positions are older, too: it goes on from them."""
    async with MongoQuery.open(connection) as query:
        await query.apply([document(number, number + 1) for number in range(10)], port.Reached("e", {0: 10}))
        async with mongo.Database.open(connection, "the test") as database:
            await database.collection(stored.collection("evaluations")).delete({"at": {"$gt": stored.place(5, 0)}})
            await database.collection("view").update({"_id": "reached"}, {"$set": {"state": {"0": 5}}})
        start = (await query.reached()).state[0]
        assert await query.apply([document(number, number + 1) for number in range(start - 1, 10)], port.Reached("e", {0: 10})) == 5
        assert len(await port.found(query.find(filters.Find(collection="evaluations")))) == 10


async def test_a_document_of_nearly_16_mib_is_stored_and_found(connection):
    """The most that a message of the log may have."""
    text = [f"{number * 2654435761 % 2**32:08x}" for number in range(1_300_000)]
    large = document(1, text=text)
    assert 14 * 2**20 < len(sure(large.body)) < 16 * 2**20
    async with MongoQuery.open(connection) as query:
        assert await query.apply([large], port.Reached("e", {0: 1})) == 1
        assert await port.found(query.find(filters.Find(collection="evaluations", where=filters.Equals(("dataset",), "d1")))) == [
            large.body
        ]
