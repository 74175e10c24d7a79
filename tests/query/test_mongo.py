"""What is special about the query store on MongoDB: how documents are stored, other sinks, resets, and what a crash leaves."""

from __future__ import annotations

import json

import anyio
import pytest

from dyff.entities import kinds
from dyff.kernel import errors, mongo
from dyff.query import filters, port
from dyff.query.mongo import MongoQuery, queries, rebuilding, store, stored
from tests.contracts import mongodb


@pytest.fixture(params=mongodb.params("view"))
async def connection(request):
    async with mongodb.database(request.param) as given:
        yield given


def document(number: int, version: int = 1, **fields) -> port.Document:
    body = {
        "id": f"{number:032x}", "account": f"a{number % 3}", "status": "Complete", "creationTime": f"2026-01-01T00:00:00.{number:06}Z",
        "dataset": f"d{number % 10}", "labels": {"n": f"{number}"}, **fields,
    }  # fmt: skip
    return port.Document("evaluations", body["id"], version, json.dumps(body).encode())


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
        for row in kinds.TABLE:
            made = await database._database[stored.collection(row.plural)].index_information()
            for path in [("account",), ("status",), *row.query.values()]:
                index = made[f"by_{'.'.join(path)}"]
                assert index["key"] == [(stored.field(path), 1), ("fields.creationTime", 1), ("_id", 1)]
                assert index["partialFilterExpression"] == {"live": True}
            assert made["by_creationTime"]["key"] == [("fields.creationTime", 1), ("_id", 1)]


MIDDLE = filters.After("2026-01-01T00:00:00.000500Z", "0")


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first", "middle"])
@pytest.mark.parametrize("path", [None, ("account",), ("status",), *kinds.BY_KIND["Evaluation"].query.values()], ids=str)
def test_a_page_asks_for_what_an_index_has(path, after, order):
    """Equal values of its first field, then its order: a walk along it, so a page costs the same wherever it starts."""
    where = filters.AllOf() if path is None else filters.AllOf((filters.Equals(path, "x"), filters.Equals(("labels", "k"), "v")))
    find = filters.Find(collection="evaluations", where=where, order_by=("creationTime",), order=order, limit=100, after=after)
    search = queries.search(find)
    first = [] if path is None else [stored.field(path)]
    walked = (*first, *(field for field, _ in search.order))
    assert walked in [index.paths for index in stored.indexes(kinds.BY_KIND["Evaluation"])]
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
    """Each writes all versions in an order of its own; whoever comes last, the highest stays."""
    async with MongoQuery.open(connection) as one, MongoQuery.open(connection) as other:

        async def write(query: MongoQuery, versions: list[int]) -> None:
            for version in versions:
                await query.apply([document(number, version, n=version) for number in range(5)], port.Reached("e", {0: version}))

        async with anyio.create_task_group() as group:
            group.start_soon(write, one, list(range(1, 21)))
            group.start_soon(write, other, list(range(20, 0, -1)))
        assert [json.loads(body)["n"] for body in await one.find(filters.Find(collection="evaluations"))] == [20] * 5
        assert (await other.reached()).state == {0: 20}


async def test_a_sink_that_missed_a_reset_does_not_move_the_positions(connection):
    """It is told to go on from the view's own; what it wrote of the old log does not stand in the new one's way."""
    async with MongoQuery.open(connection) as late, MongoQuery.open(connection) as sink:
        await sink.apply([document(1, 50)], port.Reached("old", {0: 51}))
        view = await late._begin("old")
        await sink.reset()
        await late.write("evaluations", [document(1, 60), document(2, 61)], view["generation"], 0)
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
        assert [json.loads(body)["id"] for body in await query.find(filters.Find(collection="evaluations"))] == [document(1).id]
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
        assert len(await query.find(filters.Find(collection="evaluations"))) == 10


async def test_a_document_of_nearly_16_mib_is_stored_and_found(connection):
    """The most that a message of the log may have."""
    text = [f"{number * 2654435761 % 2**32:08x}" for number in range(1_300_000)]
    large = document(1, text=text)
    assert 14 * 2**20 < len(large.body) < 16 * 2**20
    async with MongoQuery.open(connection) as query:
        assert await query.apply([large], port.Reached("e", {0: 1})) == 1
        assert await query.find(filters.Find(collection="evaluations", where=filters.Equals(("dataset",), "d1"))) == [large.body]


async def scanned(query) -> set[str]:
    """The IDs of all that is there."""
    return {each.document.id async for batch in query.scan() for each in batch}


async def versions(query) -> dict[str, int]:
    """By ID."""
    return {each.document.id: each.document.version async for batch in query.scan() for each in batch}


TAMPERED = {
    "a byte of the body": {"$set": {"body": b'{"id":"b"}'}},
    "no JSON": {"$set": {"body": b"\xff"}},
    "a field": {"$set": {"fields.account": "other"}},
    "a field more": {"$set": {"fields.more": 1}},
    "hidden": {"$unset": {"live": ""}},
    "said to be compressed": {"$set": {"packed": True}},
    "no version": {"$set": {"at": stored.place(0, 0)[:-1] + "x"}},
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_scan_tells_where_queries_do_not_go_by_the_body(connection, what):
    """Whatever was changed in the database by other hands: the document is not sound, and the scan goes on."""
    async with MongoQuery.open(connection) as query, mongo.Database.open(connection, "the database") as database:
        await query.apply([document(1), document(2)], port.Reached("e", {0: 1}))
        name = document(1).id
        assert await database.collection(stored.collection("evaluations")).update({"_id": name}, TAMPERED[what])
        found = {each.document.id: each for batch in [each async for each in query.scan()] for each in batch}
        assert found[name] != port.Scanned(document(1), sound=True)
        assert not found[name].sound
        assert found[document(2).id] == port.Scanned(document(2), sound=True)


async def test_a_sink_that_was_writing_when_the_view_changes_sides_writes_once_more(connection, monkeypatch):
    """It wrote to the old side only: its positions do not move until the new one has it, too."""
    async with MongoQuery.open(connection) as late, MongoQuery.open(connection) as beside:
        await late.apply([document(1, 1)], port.Reached("e", {0: 1}))
        advance, held, wrote = late._advance, anyio.Event(), anyio.Event()

        async def slow(reached, view):
            wrote.set()
            await held.wait()
            return await advance(reached, view)

        async with beside.rebuild() as rebuild, anyio.create_task_group() as group:
            await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))
            monkeypatch.setattr(late, "_advance", slow)
            group.start_soon(late.apply, [document(2, 2)], port.Reached("e", {0: 2}))
            await wrote.wait()
            monkeypatch.setattr(rebuilding, "_RETIRE_S", 0.5)
            assert await rebuild.promote() == {}
            held.set()
        assert await beside.get("evaluations", document(2).id) == document(2).body
        assert (await beside.reached()).state == {0: 2}


async def test_what_was_read_is_on_the_new_side_before_readers_go_there(connection, monkeypatch):
    """A sink that is between its two writes when the view changes sides has done the one that readers come to."""
    monkeypatch.setattr(rebuilding, "_RETIRE_S", 0.2)
    async with MongoQuery.open(connection) as sink, MongoQuery.open(connection) as reader, MongoQuery.open(connection) as beside:
        await sink.apply([document(1, 1)], port.Reached("e", {0: 1}))
        async with beside.rebuild() as rebuild, anyio.create_task_group() as group:
            await rebuild.apply([], port.Reached("e", {0: 0}))
            assert await rebuild.promote() == {0: 1}
            await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))
            write, between, go_on = sink.write, anyio.Event(), anyio.Event()

            async def slow(*given):
                if between.is_set():
                    await go_on.wait()
                counts = await write(*given)
                between.set()
                return counts

            monkeypatch.setattr(sink, "write", slow)
            group.start_soon(sink.apply, [document(1, 2)], port.Reached("e", {0: 2}))
            await between.wait()
            before = (await versions(reader))[document(1).id]
            assert await rebuild.promote() == {}
            await reader.reached()
            assert (await versions(reader))[document(1).id] >= before
            go_on.set()
        assert (await reader.reached()).state == {0: 2}


async def test_a_sink_that_is_writing_when_a_change_begins_is_waited_for(connection):
    """It writes to the old side only, where that is read at once: it must be on the new one before readers go there."""
    async with MongoQuery.open(connection) as sink, MongoQuery.open(connection) as beside:
        await sink.apply([document(1, 1)], port.Reached("e", {0: 1}))
        view = await sink._begin("e")
        await sink.write("evaluations", [document(1, 2)], view["generation"], 0)
        async with beside.rebuild() as rebuild, anyio.create_task_group() as group:
            await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))

            async def finish() -> None:
                while "also" not in await sink._begin("e"):
                    await anyio.sleep(0.01)
                await sink.apply([document(1, 2)], port.Reached("e", {0: 2}))

            group.start_soon(finish)
            assert await rebuild.promote() == {0: 2}


async def test_what_a_dead_rebuild_left_is_cleaned_by_the_next(connection, monkeypatch):
    """Killed while sinks wrote to both sides: the next one waits until it is sure, and begins again with nothing."""
    monkeypatch.setattr(rebuilding, "_DEAD_S", 2.5)
    async with MongoQuery.open(connection) as query, MongoQuery.open(connection) as beside:
        await query.apply([document(1, 1)], port.Reached("e", {0: 1}))
        dying = rebuilding.begun(beside, beside._database)
        rebuild = await dying.__aenter__()
        await rebuild.apply([document(9, 9)], port.Reached("e", {0: 0}))
        assert await rebuild.promote() == {0: 1}
        rebuild._mine = {**rebuild._mine, "rebuild.owner": "nobody"}  # it beats no more, and can do nothing more
        await query.apply([document(2, 2)], port.Reached("e", {0: 2}))
        async with query.rebuild() as second:
            await second.apply([document(1, 1), document(2, 2)], port.Reached("e", {0: 2}))
            assert await second.promote() == {}
        with pytest.raises(errors.Fenced):
            await rebuild.apply([document(8, 8)], port.Reached("e", {0: 2}))
        assert await scanned(query) == {document(1).id, document(2).id}
        await dying.__aexit__(None, None, None)
        assert await query.get("evaluations", document(2).id) == document(2).body


async def test_a_reader_that_slept_reads_on_the_present_side(connection, monkeypatch):
    """However long it did, in the middle of a read or between two: what it answers was the present view during that read."""
    monkeypatch.setattr(rebuilding, "_RETIRE_S", 0.5)
    async with MongoQuery.open(connection) as query, MongoQuery.open(connection) as reader:
        await query.apply([document(1, 1)], port.Reached("e", {0: 1}))
        assert await reader.get("evaluations", document(1).id) is not None
        documents, reading, slept = reader._documents, anyio.Event(), anyio.Event()
        found = []

        class Slow:
            def __init__(self, collection):
                self._collection = collection

            async def get(self, *given):
                reading.set()
                await slept.wait()
                return await self._collection.get(*given)

        monkeypatch.setattr(reader, "_documents", lambda *given: Slow(documents(*given)))
        async with anyio.create_task_group() as group:

            async def read():
                found.append(await reader.get("evaluations", document(1).id))

            group.start_soon(read)
            await reading.wait()
            async with query.rebuild() as rebuild:
                await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))
                assert await rebuild.promote() == {}
            await anyio.sleep(store.VALID_S)
            slept.set()
        assert found == [document(1).body]


async def test_a_rebuild_is_told_that_the_view_was_reset(connection):
    """It would put the old log's view in the place of the new one's."""
    async with MongoQuery.open(connection) as query, MongoQuery.open(connection) as beside:
        await query.apply([document(1, 1)], port.Reached("old", {0: 1}))
        async with beside.rebuild() as rebuild:
            await rebuild.apply([document(1, 1)], port.Reached("old", {0: 1}))
            await query.reset()
            with pytest.raises(errors.Fenced):
                await rebuild.promote()
        assert await query.apply([document(2, 1)], port.Reached("new", {0: 1})) == 1
        assert await scanned(query) == {document(2).id}
