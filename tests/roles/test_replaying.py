"""`dyff replay`: the view from the state topic once more, while the sink goes on in the present one."""

from __future__ import annotations

from typing import Any

import anyio
import apsw
import pytest

from dyff.bus import port, topics
from dyff.bus.embedded import EmbeddedHistory
from dyff.consumers.verification import replaying, verifying
from dyff.kernel import errors
from dyff.query import checked, filters, maintenance
from dyff.query.embedded import EmbeddedQuery
from dyff.query.maintenance import EmbeddedMaintenance
from dyff.query.port import found as found_by
from tests.roles import log
from tests.roles.test_verification import current, filled, installation, verified


async def replayed(path, patience_s=0.2):
    """As another process does it; returns how many documents were written."""
    async with EmbeddedHistory.open(path / "log.db") as history:
        return await replaying.replay(history, EmbeddedMaintenance(path / "view.sqlite"), patience_s=patience_s)


def spoil(path):
    """Change and remove documents, as a fault of the sink would: the checksums are right."""
    connection = apsw.Connection(str(path / "view.sqlite"))

    def summed(*place: Any) -> int:
        collection, version, entity_id = place
        return checked.checksum(collection, version, entity_id, b"{}")

    connection.create_scalar_function("summed", summed)
    connection.execute(
        "UPDATE documents SET body = '{}', checksum = summed(collection, version, id) WHERE rowid % 2;"
        "DELETE FROM documents WHERE rowid % 3 = 0; DELETE FROM tombstones"
    )
    connection.close()


async def test_a_spoilt_view_is_repaired_while_it_is_served(tmp_path):
    """Documents, tombstones and positions are as the log says; reads that were remembered, too."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
        spoil(tmp_path)
        wrong = {each["id"]: await view.get("evaluations", each["id"]) for each in entities}
        assert b"{}" in wrong.values()
        assert (await verified(tmp_path)).count > 0
        assert await replayed(tmp_path) == 20
        assert (await verified(tmp_path)).count == 0
        for each in entities:
            found = await view.get("evaluations", each["id"])
            assert (found is None) == (each is entities[1])
            assert found != b"{}"
        await log.publish(bus, log.create(log.an_evaluation("0" * 32)))
        await current(bus, view)
        assert await view.get("evaluations", "0" * 32) is not None
        assert (await verified(tmp_path)).count == 0


async def test_it_catches_up_with_a_sink_that_does_not_rest(tmp_path):
    """Changes go on during replays: none is lost, and afterwards all is proved."""
    async with installation(tmp_path) as (bus, view), anyio.create_task_group() as group:
        entities = await filled(bus, view)
        count = 0

        async def write():
            nonlocal count
            while True:
                count += 1
                await log.publish(bus, *(log.edit(each, "EditEntityLabels", {"labels": {"n": str(count)}}) for each in entities[2:6]))
                await log.publish(bus, log.create(log.an_evaluation()))
                # real time: a writer at a pace, so that others have their turn
                await anyio.sleep(0.002)

        group.start_soon(write)
        for _ in range(3):
            before = count
            await replayed(tmp_path, patience_s=5)
            assert count > before
        group.cancel_scope.cancel()
    async with installation(tmp_path) as (bus, view):
        await current(bus, view)
        report = await verified(tmp_path)
        assert (report.count, report.notes) == (0, [])
        assert len(await found_by(view.find(filters.Find(collection="evaluations")))) == report.entities - 1


async def test_without_a_server_and_without_a_view(tmp_path):
    """The file is made, and a sink that starts later has nothing to do."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
    for name in ("view.sqlite", "view.sqlite-wal", "view.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    assert await replayed(tmp_path) == 20
    assert (await verified(tmp_path)).count == 0


async def test_a_replay_that_ends_early_changes_nothing(tmp_path):
    """A record of a newer release stops it; the present view goes on."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
    async with log.opened(tmp_path / "log.db") as bus:
        record = next(each for each in await log.records(bus, topics.STATE) if each.key != topics.PROGRESS_KEY)
        newer = tuple((name, b"99" if name == "dyff-fold-version" else value) for name, value in record.headers)
        await bus.publish(topics.STATE, [port.Message(record.key, record.value, newer, record.partition)])
    with pytest.RaisesGroup(errors.NewerSchema):
        await replayed(tmp_path)
    async with EmbeddedQuery.open(tmp_path / "view.sqlite") as view:
        assert len(await found_by(view.find(filters.Find(collection="evaluations")))) == 19


class ReplayedMeanwhile(EmbeddedMaintenance):
    """A view that is replayed in the middle of the first scan."""

    def __init__(self, path):
        super().__init__(path / "view.sqlite")
        self._path_of_both, self.scans = path, 0

    async def scan(self):
        self.scans += 1
        async for batch in super().scan():
            yield batch
            if self.scans == 1:
                await replayed(self._path_of_both)


async def test_a_verification_meanwhile_finds_nothing_wrong(tmp_path, monkeypatch):
    """It looks at one view, the old one or the new one."""
    monkeypatch.setattr(maintenance, "_BATCH", 6)
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
        view = ReplayedMeanwhile(tmp_path)
        async with EmbeddedHistory.open(tmp_path / "log.db") as history:
            report = await verifying.verify(history, view)
    assert (report.count, report.notes, view.scans) == (0, [], 2)
