"""The sink: the view ends up with exactly what the states say, wherever it was and whatever process died."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from dyff.bus import envelope, port, topics
from dyff.consumers import sink
from dyff.consumers.aggregator import role as aggregator
from dyff.entities import codecs, folding
from dyff.kernel import errors, settings
from dyff.kernel.positions import Position
from dyff.query import filters
from dyff.query.embedded import EmbeddedQuery
from dyff.query.port import Reached
from dyff.query.port import found as found_by
from dyff.serve import supervisor
from tests.narrowing import sure
from tests.roles import log


class View:
    """A query store in memory, with the guards that the port asks for, which can be broken on purpose."""

    def __init__(self):
        self.documents = {}
        self.now = Reached()
        self.resets = 0
        self.broken = 0

    async def apply(self, documents, reached):
        if self.broken:
            self.broken -= 1
            raise errors.Unavailable("the database does not answer")
        await anyio.lowlevel.checkpoint()
        news = 0
        for each in documents:
            known = self.documents.get((each.collection, each.id))
            if known is None or known.version < each.version:
                self.documents[each.collection, each.id] = each
                news += 1
        state = {**self.now.state, **{p: max(o, self.now.state.get(p, 0)) for p, o in reached.state.items()}}
        events = {**self.now.events, **{p: max(o, self.now.events.get(p, 0)) for p, o in reached.events.items()}}
        self.now = Reached(reached.epoch, state, events)
        return news

    async def reset(self):
        self.resets += 1
        self.documents, self.now = {}, Reached()

    async def reached(self):
        return self.now

    async def lost(self):
        await anyio.sleep_forever()

    def entity(self, entity_id, collection="evaluations"):
        return codecs.decode(self.documents[collection, entity_id].body)


@pytest.fixture
def view():
    return View()


def running(bus, view):
    return log.running(sink.run, bus, view)


async def fold(bus, *commands):
    """Publish and fold, without a sink."""
    async with log.running(aggregator.run, bus, clock=log.CLOCK):
        await log.publish(bus, *commands)
        await log.until(lambda: log.is_current(bus))


async def caught_up(bus, view):
    """The view has seen all events and all states."""
    events, states = await bus.ranges(topics.EVENTS), await bus.ranges(topics.STATE)

    async def reached():
        return all(view.now.events.get(p, 0) == held.end for p, held in events.items()) and all(
            view.now.state.get(p, 0) == held.end for p, held in states.items()
        )

    await log.until(reached)


async def agrees(bus, view):
    """The view holds what compaction would leave of the states, and nothing else."""
    want = {("evaluations", key): (state.source.offset, state.value()) for key, state in (await log.latest(bus)).items()}
    assert {key: (each.version, each.body) for key, each in view.documents.items()} == want


async def test_states_become_documents(bus, view):
    """Each entity is in its kind's collection, whole, with the source offset as version; the positions say how far it is."""
    one, two = log.an_evaluation(), log.an_evaluation()
    async with running(bus, view):
        await fold(bus, log.create(one), log.create(two), log.status(one, "Admitted"))
        await caught_up(bus, view)
    assert view.entity(one["id"])["status"] == "Admitted"
    assert view.entity(two["id"]) == two
    assert view.now.epoch == (await bus.topic(topics.STATE)).epoch
    await agrees(bus, view)


async def test_a_command_that_leaves_no_state_moves_the_view(bus, view):
    """Who waits for the position of a command that folds to nothing does not wait in vain."""
    async with running(bus, view):
        await fold(bus, log.status(log.an_evaluation(), "Ready"))
        await caught_up(bus, view)
    assert view.documents == {}


async def test_a_backlog_is_written(bus, view):
    """What was folded before the sink began is written from the first state on."""
    await fold(bus, *(log.create(log.an_evaluation()) for _ in range(600)))
    async with running(bus, view):
        await caught_up(bus, view)
    assert len(view.documents) == 600
    await agrees(bus, view)


async def test_a_view_that_lost_its_end_heals(bus, view):
    """It goes on where the view is, not where the group was: what the view forgot is written again."""
    entities = [log.an_evaluation() for _ in range(20)]
    async with running(bus, view):
        await fold(bus, *map(log.create, entities))
        await caught_up(bus, view)
        backup = dict(view.documents), view.now
        await fold(bus, *(log.status(each, "Admitted") for each in entities))
        await caught_up(bus, view)
    view.documents, view.now = dict(backup[0]), backup[1]
    async with running(bus, view):
        await caught_up(bus, view)
    assert {view.entity(each["id"])["status"] for each in entities} == {"Admitted"}
    await agrees(bus, view)


async def test_group_offsets_decide_nothing(bus, view):
    """An empty view is filled from the beginning, whatever the group has committed."""
    await fold(bus, *(log.create(log.an_evaluation()) for _ in range(10)))
    async with bus.own("somebody") as owner:
        for partition, held in (await bus.ranges(topics.STATE)).items():
            await owner.append(topics.QUARANTINE, [], port.Commit(sink.GROUP, topics.STATE, partition, held.end))
    async with running(bus, view):
        await caught_up(bus, view)
    assert len(view.documents) == 10


async def test_a_view_of_another_log_is_begun_anew(bus, view):
    """Positions of another log mean nothing here, so the view is reset and filled again."""
    await fold(bus, log.create(log.an_evaluation()))
    view.documents = {("evaluations", "old"): None}
    view.now = Reached("another log", {0: 1000, 1: 1000}, {0: 1000, 1: 1000})
    async with running(bus, view):
        await caught_up(bus, view)
    assert view.resets == 1
    await agrees(bus, view)


async def test_a_view_ahead_of_the_log_stops_loudly(bus, view):
    """A log of the same name that holds less than the view has seen has lost its end; that is not smoothed over."""
    view.now = Reached((await bus.topic(topics.STATE)).epoch, {0: 7}, {})
    with pytest.raises(BaseExceptionGroup) as caught:
        await sink.run(bus, view)
    assert caught.group_contains(errors.LogDiverged, match="lost its end")


async def test_an_unknown_kind_is_passed_over(bus, view):
    """A kind of a later release has no collection here; it is skipped and the view goes on."""
    known = log.an_evaluation()
    async with running(bus, view):
        await fold(bus, log.create(log.an_evaluation(kind="Hologram")), log.create(known))
        await caught_up(bus, view)
    assert [key[1] for key in view.documents] == [known["id"]]


async def test_the_forgotten_leaves_a_tombstone(bus, view):
    """A forgotten entity is a document without a body in the collection where it was, with the version of its end."""
    entity = log.an_evaluation()
    async with running(bus, view):
        await fold(bus, log.create(entity), log.status(entity, "Deleted"), log.forget(entity))
        await caught_up(bus, view)
    document = view.documents["evaluations", entity["id"]]
    assert document.body is None
    assert document.version == (await log.latest(bus))[entity["id"]].source.offset


async def test_a_database_that_does_not_answer_loses_nothing(bus, view):
    """The role ends, is started again, and writes what it had not written."""
    await fold(bus, *(log.create(log.an_evaluation()) for _ in range(20)))
    view.broken = 1
    with pytest.raises(BaseExceptionGroup) as caught:
        await sink.run(bus, view)
    assert caught.group_contains(errors.Unavailable)
    async with running(bus, view):
        await caught_up(bus, view)
    await agrees(bus, view)


async def test_documents_that_cannot_be_written_move_no_position(bus, view):
    """A view says that it has seen a state only when it has the document: a sink that dies in between writes it again."""
    apply = view.apply
    failures: list[Any] = []

    async def fail_once(documents, reached):
        if documents and not failures:
            failures.append(dict(view.now.state))
            raise errors.Unavailable("the database does not answer")
        return await apply(documents, reached)

    view.apply = fail_once
    await fold(bus, *(log.create(log.an_evaluation()) for _ in range(20)))
    with pytest.raises(BaseExceptionGroup) as caught:
        await sink.run(bus, view)
    assert caught.group_contains(errors.Unavailable)
    async with running(bus, view):
        await caught_up(bus, view)
    assert failures
    await agrees(bus, view)


async def test_an_old_state_behind_a_newer_does_no_harm(bus, view):
    """Versions guard the view: a stale record never replaces a newer document."""
    entity = log.an_evaluation()
    await fold(bus, log.create(entity), log.status(entity, "Admitted"))
    await bus.publish(topics.STATE, [(await log.written(bus))[0]])
    async with running(bus, view):
        await caught_up(bus, view)
    assert view.entity(entity["id"])["status"] == "Admitted"


async def test_bytes_that_are_no_state_are_passed_over(bus, view):
    """Garbage among the states stops nothing."""
    entity = log.an_evaluation()
    async with running(bus, view):
        await bus.publish(topics.STATE, [port.Message(b"x", b"garbage", (), partition) for partition in range(log.PARTITIONS)])
        await fold(bus, log.create(entity))
        await caught_up(bus, view)
    assert list(view.documents) == [("evaluations", entity["id"])]


async def test_a_state_of_a_newer_fold_stops_loudly(bus, view):
    """States of a newer release are not written by this one."""
    position = Position((await bus.topic(topics.EVENTS)).epoch, 0, 0)
    state = folding.State("Evaluation", log.an_evaluation(), position, "id", position, {}, "", folding.VERSION + 1)
    await bus.publish(topics.STATE, [envelope.state_message(state, "x")])
    with pytest.raises(BaseExceptionGroup) as caught:
        await sink.run(bus, view)
    assert caught.group_contains(errors.NewerSchema)


async def test_two_sinks_share_the_partitions(bus, view):
    """Two sinks on one view write everything; when one ends the other goes on with its partitions."""
    entities = [log.an_evaluation() for _ in range(30)]
    async with running(bus, view):
        async with running(bus, view):
            await fold(bus, *map(log.create, entities))
            await caught_up(bus, view)
        await fold(bus, *(log.status(each, "Admitted") for each in entities))
        await caught_up(bus, view)
    await agrees(bus, view)


async def test_a_compacted_log_fills_the_same_view(bus, view):
    """A view that begins after compaction ends up like one that saw every state."""
    entities = [log.an_evaluation() for _ in range(10)]
    full = View()
    for new in ("Created", "Admitted", "Complete"):
        await fold(bus, *(log.create(each) if new == "Created" else log.status(each, new) for each in entities))
    async with running(bus, full):
        await caught_up(bus, full)
    assert await bus.compact(topics.STATE, lag=timedelta(seconds=-1)) == 20
    async with running(bus, view):
        await caught_up(bus, view)
    assert view.documents == full.documents
    assert view.now == full.now


async def test_the_embedded_store_is_such_a_view(bus, tmp_path):
    """With the product's own store: documents come, positions can be waited for, a deleted file is filled again."""
    entity = log.an_evaluation()
    for name in ("view.db", "rebuilt.db"):
        async with EmbeddedQuery.open(tmp_path / name) as store, running(bus, store):
            if name == "view.db":
                await fold(bus, log.create(entity), log.status(entity, "Admitted"))
            ends = {partition: held.end for partition, held in (await bus.ranges(topics.EVENTS)).items() if held.end}
            assert await store.wait(ends, log.DEADLINE_S)
            assert codecs.decode(sure(await store.get("evaluations", entity["id"])))["status"] == "Admitted"
            (found,) = await found_by(store.find(filters.Find(collection="evaluations", where=filters.Equals(("status",), "Admitted"))))
            assert found == (await log.latest(bus))[entity["id"]].value()


async def test_a_database_that_hangs_is_noticed_and_left(bus, view):
    """A sink whose write never returns is alive as a task, but makes no progress: the supervisor starts it again, and it catches up."""
    apply = view.apply
    hung: list[Any] = []

    async def hang_once(documents, reached):
        if not hung:
            hung.append(len(documents))
            await anyio.sleep_forever()
        return await apply(documents, reached)

    async def run(task_status, signs):
        await sink.run(bus, view, signs=signs, task_status=task_status)

    view.apply = hang_once
    subject = supervisor.Supervisor([supervisor.Role("sink", 0, run)], settings.Supervision(stuck_s=0.5), log.CLOCK)
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        await fold(bus, log.create(log.an_evaluation()))
        await caught_up(bus, view)
        assert subject.health.report()["roles"]["sink"]["failures"] == 1
        subject.stop()
    assert hung
    await agrees(bus, view)


async def test_a_view_with_parts_is_read_again_from_before_them():
    """Of a document that the database rejected only a part is there, so a start begins earlier than the view's position."""

    class Bus:
        async def ranges(self, topic):
            return {0: port.Range(3, 100)}

    view = View()
    for again, want in [({}, 50), ({0: 20}, 20), ({0: 1}, 3), ({1: 20}, 50)]:
        view.now = Reached("e", {0: 50}, {}, again)
        assert await sink._start(cast(Any, Bus()), view, 0) == want
