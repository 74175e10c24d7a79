"""A view that the disk changed: nothing of it is served, and the sink fills a new one while the server runs."""

from __future__ import annotations

import contextlib

import anyio
import apsw
import pytest

from dyff.consumers import sink
from dyff.consumers.aggregator import role as aggregator
from dyff.kernel import degradation, errors
from dyff.query import filters
from dyff.query.embedded import EmbeddedQuery
from dyff.query.port import Reached
from dyff.query.port import found as found_by
from tests import waiting
from tests.roles import log
from tests.roles.test_verification import current

COUNT = 40
ALL = filters.Find(collection="evaluations")
EDITS = {
    "a byte of a body": "UPDATE documents SET body = replace(body, 'Created', 'Createe')",
    "half of a body": "UPDATE documents SET body = substr(body, 1, length(body) / 2)",
    "a body that is no text": "UPDATE documents SET body = CAST(x'00ff' AS TEXT)",
    "an ID": "UPDATE documents SET id = '0' || substr(id, 2) WHERE substr(id, 1, 1) != '0'",
    "a version": "UPDATE documents SET version = version + 4096",
    "a checksum": "UPDATE documents SET checksum = 7",
    "bodies in each other's places": "UPDATE documents SET body = (SELECT body FROM documents ORDER BY rowid LIMIT 1)",
}


@contextlib.asynccontextmanager
async def installation(path, troubles):
    async with (
        log.opened(path / "log.db") as bus,
        EmbeddedQuery.open(path / "view.sqlite", troubles=troubles) as view,
        log.running(aggregator.run, bus, clock=log.CLOCK),
        log.running(sink.run, bus, view),
    ):
        yield bus, view


async def filled(bus, view):
    entities = [log.an_evaluation() for _ in range(COUNT)]
    await log.publish(bus, *(log.create(each) for each in entities))
    await current(bus, view)
    return {each["id"]: await view.get("evaluations", each["id"]) for each in entities}


async def served(view, ids):
    """All documents as they are served; reads that are refused are repeated."""
    while True:
        try:
            listed = await found_by(view.find(ALL))
            return {each: await view.get("evaluations", each) for each in ids}, listed
        except errors.Unavailable:
            await waiting.a_moment()


@pytest.mark.parametrize("edit", EDITS)
async def test_a_damaged_document_is_never_served(tmp_path, edit):
    """Whatever was changed: a read is refused until the view is as far as it was, and then everything is as the log says."""
    troubles = degradation.Troubles()
    async with installation(tmp_path, troubles) as (bus, view):
        want = await filled(bus, view)
        view._documents.clear()
        with contextlib.closing(apsw.Connection(str(tmp_path / "view.sqlite"))) as disk:
            disk.execute(EDITS[edit])
        with pytest.raises(errors.Unavailable, match="damaged and is being filled again"):
            await found_by(view.find(ALL))
        (trouble,) = troubles.current()
        assert (trouble.name, "view.sqlite" in trouble.reason) == ("query store", True)
        with anyio.fail_after(30):
            found, listed = await served(view, want)
        assert found == want
        assert sorted(listed) == sorted(want.values())
        assert troubles.current() == []
        extra = log.an_evaluation()
        await log.publish(bus, log.create(extra))
        await current(bus, view)
        assert await view.get("evaluations", extra["id"]) is not None


async def test_a_damaged_tree_is_never_served(tmp_path):
    """Pages of zeros in the file, while the server runs: no read raises anything else, and the view is filled again."""
    troubles = degradation.Troubles()
    async with installation(tmp_path, troubles) as (bus, view):
        want = await filled(bus, view)
        view._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        with open(tmp_path / "view.sqlite", "r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\x5a" * (size - 4096))
        view._documents.clear()
        for connection in (view._readers._inline, view._writer):
            connection.execute("PRAGMA shrink_memory")
        with anyio.fail_after(30):
            found, _ = await served(view, want)
            assert found == want
            await log.publish(bus, log.create(log.an_evaluation()))
            await current(bus, view)
            while troubles.current():
                await waiting.a_moment()


@pytest.mark.parametrize("edit", ["UPDATE positions SET next = next + 1", "UPDATE positions SET checksum = 7"])
async def test_a_wrong_position_is_never_continued_from(tmp_path, edit):
    """A view that would skip records is replaced when it is opened."""
    async with EmbeddedQuery.open(tmp_path / "view.sqlite") as view:
        await view.apply([], Reached("e", {0: 10}))
        await view.apply([], Reached("e", {0: 9, 1: 5}))
        assert (await view.reached()).state == {0: 10, 1: 5}
    with contextlib.closing(apsw.Connection(str(tmp_path / "view.sqlite"))) as disk:
        disk.execute(edit)
    async with EmbeddedQuery.open(tmp_path / "view.sqlite") as view:
        assert await view.reached() == Reached()
