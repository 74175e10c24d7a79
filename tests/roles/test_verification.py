"""`dyff verify`: what is right is proved, and one byte that is wrong is found, wherever it is."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager

import anyio
import apsw
import msgspec
import pytest

from dyff.bus import envelope, port, topics
from dyff.bus.embedded import EmbeddedHistory
from dyff.consumers import sink
from dyff.consumers.aggregator import role as aggregator
from dyff.consumers.verification import proofs, verifying
from dyff.kernel.positions import Position
from dyff.query import port as query_port
from dyff.query.embedded import EmbeddedQuery
from dyff.query.maintenance import EmbeddedMaintenance
from tests.roles import log


@asynccontextmanager
async def installation(path):
    """Aggregator and sink on a log and a view."""
    async with (
        log.opened(path / "log.db") as bus,
        EmbeddedQuery.open(path / "view.sqlite") as view,
        log.running(aggregator.run, bus, clock=log.CLOCK),
        log.running(sink.run, bus, view),
    ):
        yield bus, view


async def filled(bus, view, count=20):
    """Entities, some changed, one forgotten, a repetition, and an event that cannot be folded."""
    entities = [log.an_evaluation(creationTime=f"2026-11-25T00:00:00.{number:06}Z") for number in range(count)]
    await log.publish(bus, *map(log.create, entities))
    await log.publish(bus, *(log.status(each, "Complete") for each in entities[::2]))
    await log.publish(bus, log.create(entities[0]), log.status(entities[1], "Deleted"), log.forget(entities[1]))
    await bus.publish(topics.EVENTS, [port.Message(b"junk", b"\xff", ())])
    await current(bus, view)
    return entities


async def current(bus, view):
    """Wait until the view has seen all."""
    assert await view.wait({partition: held.end for partition, held in (await bus.ranges(topics.EVENTS)).items()}, 20)


async def verified(path, patience_s=0.2):
    """The report, as another process makes it."""
    async with EmbeddedHistory.open(path / "log.db") as history:
        return await verifying.verify(history, EmbeddedMaintenance(path / "view.sqlite"), patience_s=patience_s)


def found(report):
    """What differs: place, what and ID."""
    assert report.count == len(report.differences)
    return {(each.place, each.what, each.entity.rpartition("/")[2]) for each in report.differences}


async def test_what_is_right_is_proved_while_it_runs_and_afterwards(tmp_path):
    """Nothing differs, the three roots are the same, and so they are when the servers are gone."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
        running = await verified(tmp_path)
    stopped = await verified(tmp_path)
    for report in (running, stopped):
        assert (report.count, report.notes, report.entities) == (0, [], 20)
        assert len(set(report.roots.values())) == 1
    assert stopped.roots == running.roots


async def test_the_root_is_what_the_documentation_says(tmp_path):
    """Anyone can compute it from the state topic with a few lines."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
        report = await verified(tmp_path)
        ends = {partition: held.end for partition, held in (await bus.ranges(topics.EVENTS)).items()}
        lines = []
        for record in await log.records(bus, topics.STATE):
            if record.key != topics.PROGRESS_KEY:
                source = envelope.source(record)
                digest = "-" if record.value == b"null" else hashlib.sha256(record.value).hexdigest()
                lines.append((f"Evaluation/{record.key.decode()}", source.offset, digest))
    newest = {name: (version, digest) for name, version, digest in lines}
    text = f"dyff-root 1 {report.epoch} " + ",".join(f"{p}={end}" for p, end in sorted(ends.items())) + "\n"
    text += "".join(f"{name} {version} {digest}\n" for name, (version, digest) in sorted(newest.items()))
    assert report.roots["events"] == hashlib.sha256(text.encode()).hexdigest()


async def test_it_is_right_while_others_write(tmp_path):
    """Changes during the verification are no differences."""
    async with installation(tmp_path) as (bus, view), anyio.create_task_group() as group:
        entities = await filled(bus, view)

        async def write():
            while True:
                await log.publish(bus, *(log.edit(each, "EditEntityLabels", {"labels": {"n": "1"}}) for each in entities[2:6]))
                await log.publish(bus, log.create(log.an_evaluation()))

        group.start_soon(write)
        for _ in range(5):
            report = await verified(tmp_path, patience_s=5)
            assert (report.count, report.notes, report.differences) == (0, [], [])
            assert len(set(report.roots.values())) == 1
        group.cancel_scope.cancel()


async def test_what_is_behind_is_reported_and_no_difference(tmp_path):
    """Commands that are not folded yet, because no server runs, are a note."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
    async with log.opened(tmp_path / "log.db") as bus:
        await log.publish(bus, log.create(log.an_evaluation("0" * 32)))
    report = await verified(tmp_path)
    assert report.count == 0
    assert len(report.notes) == 2
    assert all("is behind" in note for note in report.notes)


STATE_EDITS = {
    "bytes": lambda record: msgspec.structs.replace(record, value=record.value.replace(b"Complete", b"Complets")),
    "headers": lambda record: msgspec.structs.replace(
        record, headers=tuple((name, b"0" * len(value) if name == "dyff-event-id" else value) for name, value in record.headers)
    ),
    "malformed": lambda record: msgspec.structs.replace(record, headers=()),
    "position": lambda record: msgspec.structs.replace(
        record, headers=tuple((name, b"e" + value if name == "dyff-source" else value) for name, value in record.headers)
    ),
}


@pytest.mark.parametrize("what", STATE_EDITS)
async def test_a_state_that_was_written_by_somebody_else_is_found(tmp_path, what):
    """The last record of an entity must be the very one that the events make, with its headers."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
    async with log.opened(tmp_path / "log.db") as bus:
        record = [each for each in await log.records(bus, topics.STATE) if each.key == entities[0]["id"].encode()][-1]
        changed = STATE_EDITS[what](record)
        assert changed != record
        await bus.publish(topics.STATE, [port.Message(changed.key, changed.value, changed.headers, changed.partition)])
    report = await verified(tmp_path)
    assert found(report) == {("state topic", what, entities[0]["id"])}
    assert (report.roots["state topic"] == report.roots["events"]) == (what in ("headers", "position"))


async def test_an_older_state_behind_a_newer_one_is_found(tmp_path):
    """A zombie's record, which compaction would keep, is stale."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
    async with log.opened(tmp_path / "log.db") as bus:
        record = next(each for each in await log.records(bus, topics.STATE) if each.key == entities[0]["id"].encode())
        await bus.publish(topics.STATE, [port.Message(record.key, record.value, record.headers, record.partition)])
    assert found(await verified(tmp_path)) == {("state topic", "stale", entities[0]["id"])}


async def test_a_state_without_events_is_found(tmp_path):
    """Nothing can come into being without the log."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
    async with log.opened(tmp_path / "log.db") as bus:
        record = next(each for each in await log.records(bus, topics.STATE) if each.key == entities[0]["id"].encode())
        await bus.publish(topics.STATE, [port.Message(b"f" * 32, record.value, record.headers, record.partition)])
    assert found(await verified(tmp_path)) == {("state topic", "extra", "f" * 32)}


VIEW_EDITS = {
    "bytes": "UPDATE documents SET body = replace(body, 'Complete', 'Complets') WHERE id = ?",
    "index": "UPDATE documents SET status = 'Complets' WHERE id = ?",
    "missing": "DELETE FROM documents WHERE id = ?",
    "version": "UPDATE documents SET version = version + 1000 WHERE id = ?",
    "stale": "UPDATE documents SET version = 1 WHERE id = ?",
    "headers": "UPDATE documents SET collection = 'datasets' WHERE id = ?",
}


@pytest.mark.parametrize("what", VIEW_EDITS)
async def test_a_document_that_was_changed_is_found(tmp_path, what):
    """A byte of the body, what queries go by, the version, the collection: all are compared."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
    connection = apsw.Connection(str(tmp_path / "view.sqlite"))
    connection.execute(VIEW_EDITS[what], (entities[0]["id"],))
    assert connection.changes() == 1
    connection.close()
    report = await verified(tmp_path)
    assert found(report) == {("query store", what, entities[0]["id"])}
    assert (report.roots["query store"] == report.roots["events"]) == (what == "index")


async def test_a_tombstone_that_is_gone_is_found(tmp_path):
    """What was forgotten must stay so."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
    connection = apsw.Connection(str(tmp_path / "view.sqlite"))
    connection.execute("DELETE FROM tombstones")
    connection.close()
    assert found(await verified(tmp_path)) == {("query store", "missing", entities[1]["id"])}


async def test_an_event_that_is_not_in_quarantine_is_found(tmp_path):
    """What cannot be folded must be there, and nothing that can be folded."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
        junk = next(each for each in await log.records(bus, topics.EVENTS) if each.key == b"junk")
        good = next(each for each in await log.records(bus, topics.EVENTS) if each.key != b"junk")
        await bus.truncate(topics.QUARANTINE, 0, 1)
        await bus.publish(topics.QUARANTINE, [envelope.quarantine_message(good, "no reason")])
        report = await verified(tmp_path)
    origins = {what: f"{topics.EVENTS}:{each.partition}:{each.offset}" for what, each in (("missing", junk), ("extra", good))}
    assert found(report) == {("quarantine", what, origin) for what, origin in origins.items()}


async def test_a_view_of_another_log_is_found(tmp_path):
    """Nothing of it may be compared by numbers."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
    async with EmbeddedQuery.open(tmp_path / "view.sqlite") as view:
        await view.reset()
        await view.apply([], query_port.Reached("another", {0: 1}, {0: 1}))
    report = await verified(tmp_path)
    assert ("query store", "position", "all of it") in found(report)


async def test_the_view_of_another_release_is_no_obstacle(tmp_path):
    """In an upgrade the log can be proved before a server replaces the view: a note says what was not compared."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
        whole = await verified(tmp_path)
    old = apsw.Connection(str(tmp_path / "view.sqlite"))
    old.execute("PRAGMA user_version = 7")
    old.close()
    report = await verified(tmp_path)
    assert (report.differences, report.roots) == ([], {name: whole.roots[name] for name in (proofs.EVENTS, proofs.STATE)})
    (note,) = set(report.notes) - set(whole.notes)
    assert note.startswith("the query store was not compared: ")
    assert "a server of this one replaces it" in note


async def test_a_log_that_lost_its_end_is_found(tmp_path):
    """A state that names an event beyond the log's end is one of another history."""
    async with log.opened(tmp_path / "log.db") as bus, EmbeddedQuery.open(tmp_path / "view.sqlite"):
        epoch = (await bus.topic(topics.EVENTS)).epoch
        await bus.publish(topics.STATE, [envelope.progress_message(Position(epoch, 0, 5), "x")])
        assert found(await verified(tmp_path)) == {("state topic", "position", "partition 0")}


class Shorter:
    """A history whose state topic has lost the last records of a partition."""

    def __init__(self, history, partition, lost):
        self._history, self._partition, self._lost = history, partition, lost
        self.topic, self.read = history.topic, history.read

    async def ranges(self, topic):
        held = await self._history.ranges(topic)
        if topic == topics.STATE:
            end = held[self._partition].end - self._lost
            held[self._partition] = msgspec.structs.replace(held[self._partition], end=end)
        return held


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_state_topic_that_lost_its_end_is_found(tmp_path, lost):
    """The view has seen more than is there: that is no state topic that is merely behind."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
    async with EmbeddedHistory.open(tmp_path / "log.db") as history:
        shorter = Shorter(history, 0, lost)
        report = await verifying.verify(shorter, EmbeddedMaintenance(tmp_path / "view.sqlite"), patience_s=0.2)
    assert ("state topic", "position", "partition 0") in found(report)


async def test_a_progress_record_of_another_event_is_found(tmp_path):
    """What it says of the last event is compared with that."""
    async with installation(tmp_path) as (bus, view):
        await filled(bus, view)
    async with log.opened(tmp_path / "log.db") as bus:
        epoch = (await bus.topic(topics.EVENTS)).epoch
        await bus.publish(topics.STATE, [envelope.progress_message(Position(epoch, 0, 0), "not this")])
        junk = next(each for each in await log.records(bus, topics.EVENTS) if each.key == b"junk")
        source = Position(epoch, junk.partition, junk.offset)
        await bus.publish(topics.STATE, [envelope.progress_message(source, "nor this")])
    assert ("state topic", "position", f"event {junk.offset}") in found(await verified(tmp_path))


async def test_what_the_log_does_not_hold_any_more_is_reported(tmp_path):
    """With a beginning that is gone the rest is proved, and the report says what was not."""
    async with installation(tmp_path) as (bus, view):
        entities = await filled(bus, view)
        first = (await bus.ranges(topics.EVENTS))[0].end
        await bus.truncate(topics.EVENTS, 0, first)
        later = [log.an_evaluation() for _ in range(4)]
        await log.publish(bus, *map(log.create, later), log.status(entities[2], "Deleted"))
        await current(bus, view)
    report = await verified(tmp_path)
    assert report.count == 0
    assert [note for note in report.notes if f"begins at offset {first}" in note]
    connection = apsw.Connection(str(tmp_path / "view.sqlite"))
    connection.execute("UPDATE documents SET body = replace(body, 'acc', 'add')")
    connection.close()
    assert {name for _, _, name in found(await verified(tmp_path))} == {each["id"] for each in [*entities, *later]} - {entities[1]["id"]}


def test_differences_are_counted_and_a_bounded_number_is_kept():
    """A view of a million wrong documents fills no memory."""
    findings = proofs.Findings()
    for number in range(proofs.SHOWN + 5):
        findings.differ("query store", "extra", str(number), "it", "nothing")
    assert (findings.count, len(findings.differences)) == (proofs.SHOWN + 5, proofs.SHOWN)
