"""The items of evaluations are counted from their progress objects, each once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dyff.consumers.orchestrator import items
from dyff.entities import codecs
from dyff.kernel import degradation, errors
from dyff.kernel.telemetry import log_fields, metrics, names

RUNS, ENDED = "Admitted", "Complete"


class Place:
    """A mirror and an object store that a test fills, and what is counted of them."""

    def __init__(self):
        self.statuses: dict[str, str] = {}
        self.written: dict[str, Any] = {}
        self.reads = 0
        self.measured = metrics.Metrics()
        self.subject = items.Items(cast(Any, self), cast(Any, self), self.measured, degradation.Troubles())

    def get(self, name):
        """Both ports have this method: with an ID the mirror's, with a key the store's."""
        return self._object(name) if "/" in name else self._mirrored(name)

    def _mirrored(self, entity_id):
        status = self.statuses.get(entity_id)
        return (
            None
            if status is None
            else SimpleNamespace(
                entity={"id": entity_id, "kind": "Evaluation", "status": status},
                ended=status == ENDED,
                about=log_fields.About(entity=entity_id),
            )
        )

    async def _object(self, key):
        self.reads += 1
        found = self.written.get(key.split("/")[1])
        if found is None:
            raise errors.NotFound
        if isinstance(found, Exception):
            raise found
        return codecs.encode({"stage": "any", "done": 1, "total": 1, **found})

    async def look(self, **progress):
        """One pass of the orchestrator and one look; `progress`: what the clients have written since, by ID."""
        self.written |= {name: {"items": dict(zip(("done", "errors", "total"), each, strict=True))} for name, each in progress.items()}
        self.subject.follow([each for name, status in self.statuses.items() if status == RUNS and (each := self._mirrored(name))])
        await self.subject.look()
        done, given_up = (self.measured.counter(name).cell().value for name in (names.ITEMS, names.ITEM_ERRORS))
        (left,) = await self.subject.read()
        return done, given_up, left.value


@pytest.fixture
async def place():
    subject = Place()
    await subject.look()
    return subject


async def test_what_is_done_is_counted_as_it_grows(place):
    """Of all evaluations together; what is left shrinks."""
    place.statuses |= {"a": RUNS, "b": RUNS}
    assert await place.look(a=(10, 1, 100)) == (10, 1, 89)
    assert await place.look(a=(30, 2, 100), b=(5, 0, 5)) == (35, 2, 68)
    assert await place.look() == (35, 2, 68)


async def test_a_short_evaluation_is_counted_whole(place):
    """It ended before it was read for the first time: its last progress counts, once, and it is forgotten."""
    place.statuses["a"] = RUNS
    assert await place.look() == (0, 0, 0)
    place.statuses["a"] = ENDED
    assert await place.look(a=(20, 3, 23)) == (20, 3, 0)
    reads = place.reads
    assert await place.look() == (20, 3, 0)
    assert place.reads == reads


async def test_what_ran_before_this_process_is_not_counted_again():
    """Another process has counted it; from then on it counts."""
    place = Place()
    place.statuses["a"] = RUNS
    assert await place.look(a=(50, 5, 100)) == (0, 0, 45)
    assert await place.look(a=(60, 5, 100)) == (10, 0, 35)


async def test_an_attempt_that_begins_again_counts_its_own_errors(place):
    """What the last attempt gave up is tried again, so the number of errors falls; items are never counted twice."""
    place.statuses["a"] = RUNS
    assert await place.look(a=(10, 4, 100)) == (10, 4, 86)
    assert await place.look(a=(10, 0, 100)) == (10, 4, 90)
    assert await place.look(a=(15, 2, 100)) == (15, 6, 83)


@pytest.mark.parametrize("written", [errors.Unavailable(), {}, {"items": None}, {"items": {"done": "many"}}, {"items": {"done": -1}}])
async def test_a_progress_that_cannot_be_read_counts_nothing(place, written):
    """The store does not answer, or an older release or somebody else wrote it; it is read again a few times, then given up."""
    place.statuses["a"], place.written["a"] = RUNS, written
    assert await place.look() == (0, 0, 0)
    place.statuses["a"] = ENDED
    for _ in range(items.LAST_READS + 1):
        assert (await place.look())[:2] == (0, 0)
    reads = place.reads
    await place.look()
    assert place.reads == reads


async def test_evaluations_take_turns_and_are_bounded(place, monkeypatch):
    """At most so many are read at once, those first that waited longest; and at most so many are followed."""
    monkeypatch.setattr(items, "MAX_READS", 2)
    monkeypatch.setattr(items, "MAX_FOLLOWED", 3)
    place.statuses |= dict.fromkeys("abcd", RUNS)
    every = dict.fromkeys("abcd", (10, 0, 10))
    assert (await place.look(**every))[0] == 20
    assert (await place.look())[0] == 30
    assert (await place.look())[0] == 30
