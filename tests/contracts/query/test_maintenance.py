"""The contract of what another process may do with the query store, for every adapter."""

from __future__ import annotations

import json

import anyio
import pytest

from dyff.kernel import errors
from dyff.query import filters, port
from dyff.query import maintenance as maintenance_module
from dyff.query.embedded import EmbeddedQuery
from dyff.query.maintenance import EmbeddedMaintenance
from dyff.query.mongo import MongoQuery
from tests import waiting
from tests.contracts import mongodb
from tests.contracts.query.documents import document


@pytest.fixture(params=["query:embedded", *mongodb.params("query")])
async def stores(request, tmp_path):
    """The store as its server has it open, and as another process has it."""
    if request.param == "query:embedded":
        path = tmp_path / "query.sqlite"
        async with EmbeddedQuery.open(path) as query:
            yield query, EmbeddedMaintenance(path)
        return
    async with (
        mongodb.database(request.param) as connection,
        MongoQuery.open(connection) as query,
        MongoQuery.open(connection) as maintenance,
    ):
        yield query, maintenance


async def scanned(maintenance) -> list[port.Scanned]:
    return sorted(
        [each async for batch in maintenance.scan() for each in batch], key=lambda each: (each.document.collection, each.document.id)
    )


async def test_a_scan_has_everything_as_it_was_applied(stores):
    """All collections, each newest version, what was forgotten too; more than fit into one batch."""
    query, maintenance = stores
    odd = port.Document("odd.name/é", "x", 3, b'{"id": "x",  "labels":{"a.b":null,"$c":[1,{"d":1.5}]}}')
    large = port.Document("models", "large", 4, b'{"id":"large","text":"%s"}' % (b"x" * 5_000_000))
    many = [document(f"{number:04}", number) for number in range(1200)]
    for start in range(0, len(many), 200):
        await query.apply(many[start : start + 200], port.Reached("e"))
    await query.apply([odd, large, document("0001", 9, text="new")], port.Reached("e", {0: 3}, {0: 7}))
    await query.apply([port.Document("evaluations", "0002", 10, None)], port.Reached("e"))
    wanted = {(each.collection, each.id): each for each in [*many, odd, large, document("0001", 9, text="new")]}
    wanted["evaluations", "0002"] = port.Document("evaluations", "0002", 10, None)
    found = await scanned(maintenance)
    assert [each.document for each in found] == [wanted[key] for key in sorted(wanted)]
    assert all(each.sound for each in found)
    assert await maintenance.reached() == port.Reached("e", {0: 3}, {0: 7})


async def test_a_scan_of_nothing_is_empty(stores):
    """Also after a reset."""
    query, maintenance = stores
    assert await scanned(maintenance) == []
    await query.apply([document("a")], port.Reached("e", {0: 1}))
    await query.reset()
    assert await scanned(maintenance) == []
    assert await maintenance.reached() == port.Reached()


async def read(query, entity_id: str) -> bytes | None:
    """By get, which must be what find says."""
    body = await query.get("evaluations", entity_id)
    found = await port.found(query.find(filters.Find(collection="evaluations", where=filters.Equals(("id",), entity_id))))
    assert found == ([] if body is None else [body])
    return body


async def test_a_new_view_takes_the_place_of_the_present_one(stores):
    """It is not visible before; afterwards it is all that is visible, also in processes that have the store open."""
    query, maintenance = stores
    await query.apply([document("a", 1, n=1), document("gone", 2)], port.Reached("e", {0: 2}, {0: 3}))
    async with maintenance.rebuild() as rebuild:
        assert await rebuild.apply([document("a", 5, n=5)], port.Reached("e", {0: 4}, {0: 6})) == 1
        assert await rebuild.apply([document("b", 1), document("a", 4)], port.Reached("e", {1: 1})) == 1
        assert await read(query, "a") == document("a", 1, n=1).body
        assert await read(query, "b") is None
        assert await maintenance.reached() == port.Reached("e", {0: 2}, {0: 3})
        assert await rebuild.promote() == {}
    assert [await read(query, name) for name in ("a", "b", "gone")] == [document("a", 5, n=5).body, document("b", 1).body, None]
    assert await maintenance.reached() == port.Reached("e", {0: 4, 1: 1}, {0: 6})
    assert [each.document for each in await scanned(maintenance)] == [document("a", 5, n=5), document("b", 1)]


async def test_what_the_log_has_lost_is_not_waited_for(stores):
    """A view that has seen more than the log has gives way; its position goes back in those partitions, and in no other."""
    query, maintenance = stores
    await query.apply([document("a", 8, n=8), document("b", 3)], port.Reached("e", {0: 9, 1: 4}, {0: 12, 1: 5}))
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("a", 2, n=2)], port.Reached("e", {0: 3}, {0: 4}))
        assert await rebuild.promote() == {0: 9, 1: 4}
        assert await rebuild.promote({0: 9}) == {1: 4}
        await rebuild.apply([document("b", 3)], port.Reached("e", {1: 4}, {1: 5}))
        assert await rebuild.promote({0: 9}) == {}
    assert await maintenance.reached() == port.Reached("e", {0: 3, 1: 4}, {0: 4, 1: 5})
    assert await read(query, "a") == document("a", 2, n=2).body
    assert await query.apply([document("a", 3, n=3)], port.Reached("e", {0: 4}, {0: 5})) == 1


async def test_a_scan_does_not_mix_two_views(stores, monkeypatch):
    """One that was begun before a switch ends with an error, instead of leaving documents out."""
    monkeypatch.setattr(maintenance_module, "_BATCH", 200)
    query, maintenance = stores
    many = [document(f"{number:04}", number) for number in range(300)]
    await query.apply(many, port.Reached("e", {0: 300}))
    scan = maintenance.scan()
    assert len(await anext(scan)) < len(many)
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply(many[::-1], port.Reached("e", {0: 300}))
        assert await rebuild.promote() == {}
    with pytest.raises(errors.Fenced):
        async for _ in scan:
            pass
    assert [each.document for each in await scanned(maintenance)] == many


async def test_writers_go_on_in_the_new_view(stores):
    """With versions, tombstones and positions; what the present one got during the rebuild must be in the new one first."""
    query, maintenance = stores
    await query.apply([document("a", 1)], port.Reached("e", {0: 1}))
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("a", 1)], port.Reached("e", {0: 1}))
        await query.apply([document("b", 2)], port.Reached("e", {0: 2, 1: 7}))
        assert await rebuild.promote() == {0: 2, 1: 7}
        await rebuild.apply([document("b", 2)], port.Reached("e", {0: 2, 1: 7}))
        assert await rebuild.promote() == {}
    assert await query.apply([document("a", 1), document("b", 3, n=3)], port.Reached("e", {0: 3}, {0: 4})) == 1
    assert await query.apply([port.Document("evaluations", "a", 4, None)], port.Reached("e", {0: 4}, {0: 5})) == 1
    assert (await read(query, "a"), await read(query, "b")) == (None, document("b", 3, n=3).body)
    assert await query.wait({0: 5}, 5)
    assert await maintenance.reached() == port.Reached("e", {0: 4, 1: 7}, {0: 5})


async def test_a_position_is_never_ahead_of_its_documents(stores):
    """A call that fails after some of its documents moves no position, in the present view and in a new one."""
    query, maintenance = stores
    await query.apply([document("a", 1)], port.Reached("e", {0: 1}, {0: 1}))
    broken = [document("b", 2), port.Document("evaluations", "c", 3, b"no JSON")]
    with pytest.raises(ValueError):
        await query.apply(broken, port.Reached("e", {0: 4}, {0: 4}))
    assert await maintenance.reached() == await query.reached() == port.Reached("e", {0: 1}, {0: 1})
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("a", 1)], port.Reached("e", {0: 1}, {0: 1}))
        with pytest.raises(ValueError):
            await rebuild.apply(broken, port.Reached("e", {0: 4}, {0: 4}))
        await query.apply([document("b", 2), document("c", 3)], port.Reached("e", {0: 4}, {0: 4}))
        assert await rebuild.promote() == {0: 4}


async def test_a_rebuild_can_follow_another(stores):
    """As often as one likes, and each is whole."""
    query, maintenance = stores
    for number in range(1, 4):
        async with maintenance.rebuild() as rebuild:
            await rebuild.apply([document(f"{number}", number)], port.Reached("e", {0: number}))
            assert await rebuild.promote() == {}
        assert [each.document.id for each in await scanned(maintenance)] == [f"{number}"]
        assert all(each.sound for each in await scanned(maintenance))
        assert await read(query, f"{number}") == document(f"{number}", number).body


async def test_a_rebuild_that_is_left_leaves_nothing(stores):
    """Neither in the present view nor in the next rebuild."""
    query, maintenance = stores
    await query.apply([document("a", 1)], port.Reached("e", {0: 1}))
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("left", 9)], port.Reached("e", {0: 9}))
    assert [each.document.id for each in await scanned(maintenance)] == ["a"]
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("b", 1)], port.Reached("e", {0: 1}))
        assert await rebuild.promote() == {}
    assert [each.document.id for each in await scanned(maintenance)] == ["b"]
    assert await maintenance.reached() == port.Reached("e", {0: 1})


async def test_two_rebuilds_at_once_are_refused(stores):
    """The second is, and the first goes on."""
    query, maintenance = stores
    await query.apply([document("a", 1)], port.Reached("e", {0: 1}))
    async with maintenance.rebuild() as rebuild:
        with pytest.raises(errors.InUse):
            async with maintenance.rebuild():
                pass
        await rebuild.apply([document("b", 1)], port.Reached("e", {0: 1}))
        assert await rebuild.promote() == {}
    assert await read(query, "b") is not None


async def test_a_view_that_is_not_there_or_of_another_log_is_replaced(stores):
    """Positions of another log are not compared."""
    query, maintenance = stores
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("a", 1)], port.Reached("e", {0: 1}, {0: 2}))
        assert await rebuild.promote() == {}
    assert await maintenance.reached() == port.Reached("e", {0: 1}, {0: 2})
    async with maintenance.rebuild() as rebuild:
        await rebuild.apply([document("b", 0)], port.Reached("f", {0: 1}, {0: 1}))
        with pytest.raises(errors.LogDiverged):
            await rebuild.apply([], port.Reached("g", {0: 1}))
        assert await rebuild.promote() == {}
    assert await maintenance.reached() == port.Reached("f", {0: 1}, {0: 1})
    assert (await read(query, "a"), await read(query, "b")) == (None, document("b", 0).body)


async def test_no_read_is_older_or_emptier_while_it_changes(stores):
    """A writer counts, two readers read without a pause, and views are replaced meanwhile: what is read only rises."""
    query, maintenance = stores
    written = 0
    done = anyio.Event()
    await query.apply([document("a", 0, n=0)], port.Reached("e", {0: 0}))

    async def write() -> None:
        nonlocal written
        while not done.is_set():
            number = written + 1
            await query.apply([document("a", number, n=number)], port.Reached("e", {0: number}, {0: number}))
            written = number
            # real time: a writer at a pace, so that others have their turn at a real engine
            await anyio.sleep(0.005)

    async def look(store) -> None:
        last = 0
        while not done.is_set():
            least = written
            for body in (await store.get("evaluations", "a"), *await port.found(store.find(filters.Find(collection="evaluations")))):
                assert body is not None
                seen = json.loads(body)["n"]
                assert seen >= max(last, least)
                last = seen
            await anyio.sleep(0)

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        group.start_soon(look, query)
        if isinstance(maintenance, MongoQuery):
            group.start_soon(look, maintenance)
        for _ in range(2):
            before = written
            async with maintenance.rebuild() as rebuild:
                need = {0: written}
                while need:
                    number = need[0]
                    await rebuild.apply([document("a", number, n=number)], port.Reached("e", {0: number}, {0: number}))
                    need = await rebuild.promote()
            while written < before + 20:
                await waiting.a_moment()
        done.set()
    assert [each.document.version for each in await scanned(maintenance)] == [written]
