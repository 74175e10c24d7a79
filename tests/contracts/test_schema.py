"""The contract of `dyff.kernel.schema.Store`, for the store of every port on every adapter."""

from __future__ import annotations

import os
import uuid
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from dyff.accounts import embedded as accounts
from dyff.bus import port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.bus.kafka import Connection, KafkaBus
from dyff.bus.schema import BusStore
from dyff.kernel import clock, errors, ids, mongo, schema
from dyff.kernel.schema_mongo import MongoStore
from dyff.kernel.schema_sqlite import SqliteStore
from dyff.serve import numbered
from tests.conftest import missing
from tests.contracts import mongodb
from tests.narrowing import sure

AT, RELEASE = "2026-01-01T00:00:00.000000Z", "0.1.0"
KAFKA = pytest.param("bus:kafka", marks=pytest.mark.engines)
PARAMS = ["bus:embedded", KAFKA, "accounts:embedded", "cluster:embedded", *mongodb.params("query"), *mongodb.params("accounts")]


@pytest.fixture(params=PARAMS)
async def opened(request, tmp_path):
    """Makes openings of the same store, as different processes would have them (the embedded log has one)."""
    async with AsyncExitStack() as stack:
        log, connection, database = None, None, None
        name, _, adapter = request.param.partition(":")
        if adapter == "kafka" and "DYFF_TEST_KAFKA" not in os.environ:
            missing("no Kafka: DYFF_TEST_KAFKA is not set; run make test-engines")
        if request.param == "bus:embedded":
            log = await stack.enter_async_context(EmbeddedBus.open(tmp_path / "log", clock=clock.SystemClock(), ids=ids.RandomIds()))
        elif adapter == "kafka":
            connection = Connection(bootstrap_servers=os.environ["DYFF_TEST_KAFKA"], prefix=f"{uuid.uuid4().hex}.")
        elif adapter != "embedded":
            database = await stack.enter_async_context(mongodb.database(request.param))

        async def open_it():
            if name == "bus":
                bus: Any = log or await stack.enter_async_context(KafkaBus.open(sure(connection)))
                return BusStore(bus, 2)
            if database is not None:
                return MongoStore(f"{name}:mongodb", await stack.enter_async_context(mongo.Database.open(database, "the test")))
            return SqliteStore(f"{name}:sqlite", tmp_path / f"{name}.sqlite")

        yield open_it


@pytest.fixture
async def store(opened):
    return await opened()


class Counted:
    """What a step does: it counts, and fails as often as requested."""

    def __init__(self, store, failing: int = 0) -> None:
        self.calls, self._failing = 0, failing
        self._awaited = not isinstance(store, SqliteStore)

    def __call__(self, given):
        self.calls += 1
        if self.calls <= self._failing:
            raise errors.Unavailable("killed")
        return anyio.sleep(0) if self._awaited else None


async def test_a_store_that_is_not_there_has_gone_through_nothing(store, tmp_path):
    """To look makes nothing."""
    before = sorted(tmp_path.iterdir())
    assert list(await store.applied()) == []
    assert sorted(tmp_path.iterdir()) == before


async def test_a_step_is_recorded_when_it_is_done(store, opened):
    """With its name, its time and the release; everyone who opens the store sees it."""
    for number in range(3):
        await store.apply(schema.Step(f"000{number}_a.pre", "", Counted(store)), f"2026-01-0{number + 1}T00:00:00.000000Z", RELEASE)
    want = [schema.Applied(f"000{number}_a.pre", f"2026-01-0{number + 1}T00:00:00.000000Z", RELEASE) for number in range(3)]
    assert list(await store.applied()) == want
    assert list(await (await opened()).applied()) == want


async def test_a_step_that_fails_is_not_recorded(store):
    """It is due again, and then it is done."""
    counted = Counted(store, failing=1)
    step = schema.Step("0001_a.pre", "", counted)
    with pytest.raises(errors.Unavailable):
        await store.apply(step, AT, RELEASE)
    assert list(await store.applied()) == []
    await store.apply(step, AT, RELEASE)
    assert [each.name for each in await store.applied()] == ["0001_a.pre"]
    assert counted.calls == 2


async def test_two_at_once_do_no_harm(store, opened):
    """Both end well, and the step is recorded once."""
    other = await opened()
    async with anyio.create_task_group() as group:
        for each in (store, other):
            group.start_soon(each.apply, schema.Step("0001_a.pre", "", Counted(each)), AT, RELEASE)
    assert [each.name for each in await store.applied()] == ["0001_a.pre"]


async def test_our_migrations_can_be_done_again(store, opened):
    """All steps of this release, twice, also at the same time: what is there is the same, and nothing is to be set right."""
    for each in (store, await opened()):
        for step in (step for phase in schema.PHASES for step in schema.steps(numbered.load(), store.name, phase)):
            await each.apply(step, AT, RELEASE)
        assert await each.amend(dry_run=True) == []


async def test_what_was_made_before_the_first_migration_is_adopted(store, opened, tmp_path):
    """A log and accounts of 0.1.0 have no record: their content stays, and the steps are done on it."""
    if store.name == "bus":
        await store._bus.create_topics(topics.specs(2))
        await store._bus.publish(topics.EVENTS, [port.Message(b"k", b"kept")])
        before = await store._bus.topic(topics.EVENTS)
    elif store.name == "accounts:sqlite":
        async with accounts.EmbeddedAccounts.open(tmp_path / "accounts.sqlite") as database:
            secret = await database.signing_secret()
    for step in schema.steps(numbered.load(), store.name, "pre"):
        await store.apply(step, AT, RELEASE)
    assert schema.refusal(store.name, schema.compared(numbered.load(), store.name, await store.applied())) is None
    if store.name == "bus":
        assert await store._bus.topic(topics.EVENTS) == before
        assert sum(each.end for each in (await store._bus.ranges(topics.EVENTS)).values()) == 1
    elif store.name == "accounts:sqlite":
        async with accounts.EmbeddedAccounts.open(tmp_path / "accounts.sqlite") as database:
            assert await database.signing_secret() == secret
