"""The query store on MongoDB while it is scanned, and while a new view takes the place of the present one on the other side."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from dyff.kernel import errors, mongo
from dyff.query import port
from dyff.query.mongo import MongoQuery, rebuilding, sides, stored
from tests import waiting
from tests.query.documents import document


async def scanned(query) -> set[str]:
    """The IDs of all that is there."""
    return {each.document.id async for batch in query.scan() for each in batch}


async def versions(query) -> dict[str, int]:
    """By ID."""
    return {each.document.id: each.document.version async for batch in query.scan() for each in batch}


TAMPERED: dict[str, dict[str, Any]] = {
    "a byte of the body": {"$set": {"body": b'{"id":"b"}'}},
    "no JSON": {"$set": {"body": b"\xff"}},
    "a field": {"$set": {"fields.account": "other"}},
    "a field more": {"$set": {"fields.more": 1}},
    "hidden": {"$unset": {"live": ""}},
    "said to be compressed": {"$set": {"packed": True}},
    "no version": {"$set": {"at": stored.place(0, 0)[:-1] + "x"}},
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_scan_reports_where_queries_do_not_go_by_the_body(connection, what):
    """A document that another program changed in the database is not sound, and the scan goes on."""
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
    async with MongoQuery.open(connection) as late, MongoQuery.open(connection) as other:
        await late.apply([document(1, 1)], port.Reached("e", {0: 1}))
        advance, held, wrote = late._advance, anyio.Event(), anyio.Event()

        async def slow(reached, view, *, rejected):
            wrote.set()
            await held.wait()
            return await advance(reached, view, rejected=rejected)

        async with other.rebuild() as rebuild, anyio.create_task_group() as group:
            await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))
            monkeypatch.setattr(late, "_advance", slow)
            group.start_soon(late.apply, [document(2, 2)], port.Reached("e", {0: 2}))
            await wrote.wait()
            monkeypatch.setattr(rebuilding, "_RETIRE_S", 0.5)
            assert await rebuild.promote() == {}
            held.set()
        assert await other.get("evaluations", document(2).id) == document(2).body
        assert (await other.reached()).state == {0: 2}


async def test_what_was_read_is_on_the_new_side_before_readers_go_there(connection, monkeypatch):
    """A sink that is between its two writes when the view changes sides has done the one that readers come to."""
    monkeypatch.setattr(rebuilding, "_RETIRE_S", 0.2)
    async with MongoQuery.open(connection) as sink, MongoQuery.open(connection) as reader, MongoQuery.open(connection) as other:
        await sink.apply([document(1, 1)], port.Reached("e", {0: 1}))
        async with other.rebuild() as rebuild, anyio.create_task_group() as group:
            await rebuild.apply([], port.Reached("e", {0: 0}))
            assert await rebuild.promote() == {0: 1}
            await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))
            write, between, proceed = sink._write, anyio.Event(), anyio.Event()

            async def slow(*given):
                if between.is_set():
                    await proceed.wait()
                counts = await write(*given)
                between.set()
                return counts

            monkeypatch.setattr(sink, "_write", slow)
            group.start_soon(sink.apply, [document(1, 2)], port.Reached("e", {0: 2}))
            await between.wait()
            before = (await versions(reader))[document(1).id]
            assert await rebuild.promote() == {}
            await reader.reached()
            assert (await versions(reader))[document(1).id] >= before
            proceed.set()
        assert (await reader.reached()).state == {0: 2}


async def test_a_sink_that_is_writing_when_a_change_begins_is_waited_for(connection):
    """It writes to the old side only, where that is read at once: it must be on the new one before readers go there."""
    async with MongoQuery.open(connection) as sink, MongoQuery.open(connection) as other:
        await sink.apply([document(1, 1)], port.Reached("e", {0: 1}))
        view = await sink._begin("e")
        await sink._write("evaluations", [document(1, 2)], view, 0)
        async with other.rebuild() as rebuild, anyio.create_task_group() as group:
            await rebuild.apply([document(1, 1)], port.Reached("e", {0: 1}))

            async def finish() -> None:
                while "also" not in await sink._begin("e"):
                    await waiting.a_moment()
                await sink.apply([document(1, 2)], port.Reached("e", {0: 2}))

            group.start_soon(finish)
            assert await rebuild.promote() == {0: 2}


async def test_what_a_dead_rebuild_left_is_cleaned_by_the_next(connection, monkeypatch):
    """Killed while sinks wrote to both sides: the next one waits until it is sure, and begins again with nothing."""
    monkeypatch.setattr(rebuilding, "_DEAD_S", 2.5)
    async with MongoQuery.open(connection) as query, MongoQuery.open(connection) as other:
        await query.apply([document(1, 1)], port.Reached("e", {0: 1}))
        dying = rebuilding.begun(other._database)
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
            # real time: what the reader knows of the sides expires by its own clock
            await anyio.sleep(sides.VALID_S)
            slept.set()
        assert found == [document(1).body]


async def test_a_rebuild_learns_that_the_view_was_reset(connection):
    """It would put the old log's view in the place of the new one's."""
    async with MongoQuery.open(connection) as query, MongoQuery.open(connection) as other:
        await query.apply([document(1, 1)], port.Reached("old", {0: 1}))
        async with other.rebuild() as rebuild:
            await rebuild.apply([document(1, 1)], port.Reached("old", {0: 1}))
            await query.reset()
            with pytest.raises(errors.Fenced):
                await rebuild.promote()
        assert await query.apply([document(2, 1)], port.Reached("new", {0: 1})) == 1
        assert await scanned(query) == {document(2).id}
