"""What only the embedded query store promises."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import anyio
import anyio.from_thread
import apsw
import pytest

from dyff.entities import registry
from dyff.kernel import errors
from dyff.query import checked, columns, cutover, embedded, filters, plans, port
from dyff.query.maintenance import EmbeddedMaintenance
from tests import waiting


def document(number: int) -> port.Document:
    body: dict[str, Any] = {
        "id": f"{number:032x}", "account": f"a{number % 3}", "status": "Complete", "creationTime": f"2026-01-01T00:00:00.{number:06}Z",
        "dataset": f"d{number % 10}", "labels": {"n": f"{number}"},
    }  # fmt: skip
    return port.Document("evaluations", body["id"], number, json.dumps(body).encode())


async def test_it_resumes_where_it_was(tmp_path):
    """Documents, tombstones and positions survive closing."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path) as query:
        await query.apply([document(5), port.Document("evaluations", "b", 9, None)], port.Reached("e", {0: 10}, {0: 11}))
    async with embedded.EmbeddedQuery.open(path) as query:
        assert await query.reached() == port.Reached("e", {0: 10}, {0: 11})
        assert await query.get("evaluations", document(5).id) == document(5).body
        assert await query.apply([port.Document("evaluations", "b", 8, b"{}")], port.Reached("e")) == 0


@pytest.mark.parametrize("damage", ["text", "cut", "other tables", "other version", "gone"])
async def test_a_file_that_cannot_be_used_is_made_anew(tmp_path, damage):
    """A damaged, foreign or outdated view is empty and says so, so that the sink rebuilds it."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path) as query:
        await query.apply([document(number) for number in range(500)], port.Reached("e", {0: 500}))
    if damage == "text":
        path.write_bytes(b"this is not a database, however long you look at it" * 100)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "gone":
        path.unlink()
    else:
        connection = apsw.Connection(str(path))
        connection.execute("PRAGMA user_version = 7" if damage == "other version" else "DROP TABLE documents; PRAGMA user_version = 0")
        connection.close()
    async with embedded.EmbeddedQuery.open(path) as query:
        assert await query.reached() == port.Reached()
        assert await query.apply([document(1)], port.Reached("f", {0: 1})) == 1
        assert len(await port.found(query.find(filters.Find(collection="evaluations")))) == 1


PAGE: dict[str, Any] = {"order_by": ("creationTime",), "limit": 100}
MIDDLE = filters.After("2026-01-01T00:00:00.000500Z", "0")
SCOPE = filters.AnyOf((filters.OneOf(("account",), ("a1", "public")), filters.OneOf(("id",), ("x", "y"))))


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("after", [None, MIDDLE], ids=["first", "middle"])
@pytest.mark.parametrize(
    "terms",
    [
        (),
        (filters.Equals(("account",), "a1"),),
        (filters.OneOf(("account",), ("a1", "a2")),),
        (filters.Equals(("status",), "Complete"), SCOPE),
        *((filters.Equals(path, "x"), SCOPE) for path in registry.BY_KIND["Evaluation"].query.values()),
        (filters.OneOf(("dataset",), ("d1", "d2")), filters.Equals(("account",), "a1")),
    ],
    ids=repr,
)
async def test_a_page_is_a_walk_along_an_index(tmp_path, terms, order, after):
    """Nothing is sorted that grows with the collection, and no page scans the table: so a page costs the same wherever it starts."""
    async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite"):
        connection = apsw.Connection(str(tmp_path / "query.sqlite"))
        find = filters.Find(collection="evaluations", where=filters.AllOf(terms), order=order, after=after, **PAGE)
        for statement in plans.plan(find).statements:
            rows = connection.execute("EXPLAIN QUERY PLAN " + statement.text, (*statement.parameters, 100)).fetchall()
            steps = [str(row[3]) for row in rows]
            assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN documents")], steps
        connection.close()


async def test_the_narrowest_term_chooses_the_index(tmp_path):
    """A key of the kind comes before the accounts that one may see, and an unfinished status before both."""
    dataset, status = filters.Equals(("dataset",), "d1"), filters.Equals(("status",), "Admitted")
    account, final = filters.Equals(("account",), "a1"), filters.Equals(("status",), "Complete")
    for terms, index in [
        ((SCOPE, dataset), "evaluations_by_dataset"),
        ((account, final, dataset), "evaluations_by_dataset"),
        ((SCOPE, status), "by_status"),
        ((final, account), "by_account"),
        ((final, SCOPE), "by_account"),
        ((SCOPE,), "by_account"),
    ]:
        (statement,) = plans.plan(filters.Find(collection="evaluations", where=filters.AllOf(terms), limit=10)).statements
        async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite"):
            connection = apsw.Connection(str(tmp_path / "query.sqlite"))
            rows = connection.execute("EXPLAIN QUERY PLAN " + statement.text, (*statement.parameters, 100)).fetchall()
            assert any(f"INDEX {index} " in str(row[3]) for row in rows), rows
            connection.close()


async def test_a_large_find_does_not_hold_up_the_event_loop(tmp_path):
    """While thousands of documents are searched for a label, the loop goes on."""
    longest, done = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not done:
            before = time.monotonic()
            await anyio.sleep(0)
            longest = max(longest, time.monotonic() - before)

    async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite") as query:
        await query.apply([document(number) for number in range(20_000)], port.Reached("e"))
        for limit in (100, None):
            done, longest = False, 0.0
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await anyio.sleep(0)
                started = time.monotonic()
                assert (
                    await port.found(
                        query.find(filters.Find(collection="evaluations", where=filters.Equals(("labels", "no"), "x"), limit=limit))
                    )
                    == []
                )
                took, done = time.monotonic() - started, True
            assert longest < 0.8 * took


async def test_many_finds_at_once(tmp_path):
    """Finds in threads do not share a connection, and each gets its own answer."""
    async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite") as query:
        await query.apply([document(number) for number in range(300)], port.Reached("e"))

        async def one(number: int) -> None:
            bodies = await port.found(
                query.find(filters.Find(collection="evaluations", where=filters.Equals(("labels", "n"), f"{number}")))
            )
            assert [json.loads(body)["labels"]["n"] for body in bodies] == [f"{number}"]

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(one, number)


def test_every_query_parameter_has_a_column():
    """A row added to the table of kinds is indexed by itself."""
    for row in registry.ROWS:
        for path in row.query.values():
            assert columns.name(path)
            assert ".".join(path) in columns.schema()


async def test_readers_see_all_of_an_apply_or_nothing(tmp_path):
    """An apply is one step for those that read meanwhile (the port promises it of single documents only)."""
    sizes: set[Any] = set()

    async def reader() -> None:
        while not await query.wait({0: 30}, 0.0):
            sizes.add(len(await port.found(query.find(filters.Find(collection="evaluations")))) % 10)

    async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite") as query, anyio.create_task_group() as group:
        group.start_soon(reader)
        for step in range(30):
            await query.apply([document(10 * step + number) for number in range(10)], port.Reached("e", {}, {0: step + 1}))
    assert sizes <= {0}


async def test_a_get_is_not_older_than_a_find_before_it(tmp_path, monkeypatch):
    """What is remembered is forgotten before others can see what is newer, and is not remembered meanwhile."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path) as query, anyio.create_task_group() as group:
        old, new = document(1), port.Document("evaluations", document(1).id, 2, b'{"id":"new"}')
        await query.apply([old], port.Reached("e", {0: 1}))
        assert await query.get("evaluations", old.id) == old.body
        write, committed, proceed = query._write, threading.Event(), threading.Event()

        def slow(*given):
            assert query_reads_old()
            news = write(*given)
            committed.set()
            assert proceed.wait(10)
            return news

        def query_reads_old():
            return anyio.from_thread.run(query.get, "evaluations", old.id) == old.body

        monkeypatch.setattr(query, "_write", slow)
        group.start_soon(query.apply, [new], port.Reached("e", {0: 2}))
        while not committed.is_set():
            await waiting.a_moment()
        assert await port.found(query.find(filters.Find(collection="evaluations"))) == [new.body]
        assert await query.get("evaluations", old.id) == new.body
        proceed.set()


async def test_what_was_read_before_a_switch_is_not_remembered_after_it(tmp_path):
    """A document that another process replaced with the whole view is read again, though nothing was written here."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path) as query:
        wrong = port.Document("evaluations", document(1).id, 1, b'{"id":"wrong"}')
        await query.apply([wrong], port.Reached("e", {0: 1}))
        assert await query.get("evaluations", wrong.id) == wrong.body
        async with EmbeddedMaintenance(path).rebuild() as rebuild:
            await rebuild.apply([document(1)], port.Reached("e", {0: 1}))
            assert await query.get("evaluations", wrong.id) == wrong.body
            assert await rebuild.promote() == {}
        assert await query.get("evaluations", wrong.id) == document(1).body


async def test_what_a_killed_rebuild_left_is_removed_by_the_next(tmp_path):
    """Its tables, and a cutover that it had begun: until that is ended nothing is cached."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path) as query:
        await query.apply([document(1)], port.Reached("e", {0: 1}))
        connection = apsw.Connection(str(path))
        connection.execute(columns.schema("_next", "_b") + columns.schema("_old", "_c"))
        connection.close()
        cutover.CutoverCounter(path).begin()
        assert await query.get("evaluations", document(1).id) == document(1).body
        changed = apsw.Connection(str(path))
        changed.create_scalar_function("summed", summed)
        changed.execute("UPDATE documents SET body = '{}', checksum = summed(collection, version, id)")
        assert await query.get("evaluations", document(1).id) == b"{}"
        async with EmbeddedMaintenance(path).rebuild() as rebuild:
            await rebuild.apply([document(1)], port.Reached("e", {0: 1}))
            assert await rebuild.promote() == {}
        assert await query.get("evaluations", document(1).id) == document(1).body
        names = {row[0] for row in changed.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert names == set(columns.TABLES)
        changed.close()


async def test_a_cutover_that_was_begun_by_a_dead_process_is_ended_by_the_next_server(tmp_path):
    """Else it would never remember anything again."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path):
        cutover.CutoverCounter(path).begin()
    async with embedded.EmbeddedQuery.open(path):
        assert cutover.CutoverCounter(path).count() % 2 == 0


async def test_a_rebuild_does_not_touch_the_view_of_another_release(tmp_path):
    """A server that has it open would lose its file."""
    path = tmp_path / "query.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE documents (id); PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(errors.Misconfigured, match="another release"):
        async with EmbeddedMaintenance(path).rebuild():
            pass


async def test_a_new_view_is_asked_by_the_same_indexes(tmp_path):
    """Also by those that belong to one collection."""
    path = tmp_path / "query.sqlite"
    async with embedded.EmbeddedQuery.open(path):
        before = indexes(path)
        for _ in range(2):
            async with EmbeddedMaintenance(path).rebuild() as rebuild:
                assert await rebuild.promote() == {}
            assert indexes(path) == before


def summed(*place: Any) -> int:
    collection, version, entity_id = place
    return checked.checksum(collection, version, entity_id, b"{}")


def indexes(path) -> list[str]:
    """What each index is of, without its name."""
    connection = apsw.Connection(str(path))
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY rootpage").fetchall()
    connection.close()
    return sorted(re.sub(r'INDEX "?[\w.]+"? ON', "INDEX ON", str(sql)).replace('"documents"', "documents") for (sql,) in rows)


def test_a_new_file_can_be_opened_by_a_server_and_a_rebuild_at_once(tmp_path):
    """The first one makes the tables, the others find them: no error, and no file is removed."""
    for number in range(30):
        path, barrier = tmp_path / f"{number}.sqlite", threading.Barrier(4)
        failed: list[Any] = []

        def open_it(path=path, barrier=barrier, failed=failed):
            barrier.wait()
            try:
                connection = embedded._open(path)
                assert embedded.is_current(connection)
                connection.close()
            except (apsw.Error, AssertionError) as error:
                failed.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
