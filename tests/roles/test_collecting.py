"""How the orchestrator completes runs that compute results."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import msgspec
import pytest

from dyff.bus import expiry
from dyff.consumers import informer
from dyff.consumers.orchestrator import collecting
from dyff.consumers.orchestrator import role as orchestrator
from dyff.kernel import errors, settings
from dyff.objects import layout
from dyff.objects.local import LocalObjects
from tests.roles import world
from tests.roles.orchestrated import E

METHOD = "e" * 32
FAST = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2), retention=settings.Retention(sweep_s=3600))
RESULTS = {"scores": [{"name": "mean", "quantity": 1.5}], "curves": [], "provenance": {"seed": 1}}


def a_measurement(entity_id, status="Created"):
    method = {"id": METHOD, "name": "m", "inputs": [], "output": {"kind": "Measurement"}}
    return world.entity("Measurement", entity_id, status, method=method, scope={}, name="m", level="Dataset", schema={})


@pytest.fixture
async def here(tmp_path):
    async with world.installation(tmp_path, version=2) as made:
        await made.create(world.entity("Method", METHOD, "Ready"))
        yield made


@pytest.fixture
def objects(tmp_path):
    return LocalObjects.open(tmp_path / "objects")


def leading(here, objects):
    return world.running(orchestrator, here.bus, here.cluster, clock=here.clock, settings=FAST, objects=objects)


def reporting(here):
    return world.running(informer, here.bus, here.cluster, clock=here.clock)


async def store(objects, entity_id, results=RESULTS):
    data = results if isinstance(results, bytes) else msgspec.json.encode(results)
    await objects.put(layout.results(layout.root("measurements", entity_id)), data)


async def folded(here, entity_id):
    """The whole entity as the log has it, also after its end."""
    return (await here.whole(entity_id))["scores"]


async def test_an_entity_is_complete_together_with_its_results(here, objects):
    """The results come first on the log, and the informer does not complete the entity without them."""
    await here.create(a_measurement(E[1]))
    async with leading(here, objects), reporting(here):
        await here.until_status(E[1], "Admitted")
        await here.set_condition("Measurement", E[1], "Complete")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.3)
        assert here.said(E[1])[0] in ("Admitted", "Failed")
    await store(objects, E[1])
    await here.create(a_measurement(E[2]))
    async with leading(here, objects), reporting(here):
        await here.until_status(E[2], "Admitted")
        await store(objects, E[2])
        await here.set_condition("Measurement", E[2], "Complete")
        await here.until_status(E[2], "Complete")
    assert (await folded(here, E[2])) == RESULTS["scores"]
    assert [status for status, _ in await here.reported(E[2])].count("Complete") == 1


async def test_results_that_are_missing_or_damaged_fail_the_run(here, objects):
    """A complete entity always has its results; otherwise it fails, and the message says what to do."""
    await here.create(a_measurement(E[1]), a_measurement(E[2]), a_measurement(E[3]))
    await store(objects, E[2], b"no JSON")
    await store(objects, E[3], b" " * (collecting.MAX_BYTES + 1))
    async with leading(here, objects), reporting(here):
        for each in E[1:4]:
            await here.until_status(each, "Admitted")
            await here.set_condition("Measurement", each, "Complete")
        for each in E[1:4]:
            await here.until_status(each, "Failed", "SchemaError")
    messages = [(await here.status_changes(each))[-1]["message"] for each in E[1:4]]
    assert ["missing" in messages[0], "cannot be read" in messages[1], "too much" in messages[2]] == [True] * 3


async def test_a_store_that_does_not_answer_delays_the_end(here, objects, monkeypatch):
    """It is tried again, and nothing is lost."""
    real = objects.head
    calls: list[str] = []

    async def head(key):
        if key.endswith("results.json") and len(calls) < 2:
            calls.append(key)
            raise errors.Unavailable("the store does not answer")
        return await real(key)

    monkeypatch.setattr(objects, "head", head)
    await here.create(a_measurement(E[1]))
    await store(objects, E[1])
    async with leading(here, objects):
        await here.until_status(E[1], "Admitted")
        await here.set_condition("Measurement", E[1], "Complete")
        await here.until_status(E[1], "Complete")
    assert len(calls) == 2


async def test_results_that_came_too_late_are_recorded_again_before_the_end(here, objects, monkeypatch):
    """A command that the fold drops leaves the entity without results, so it is not complete yet."""
    real = expiry.after
    calls: list[datetime] = []

    def after(now, offset_s):
        calls.append(now)
        return real(now, offset_s) - timedelta(days=len(calls) == 1)

    monkeypatch.setattr(expiry, "after", after)
    await here.create(a_measurement(E[1]))
    await store(objects, E[1])
    async with leading(here, objects):
        await here.until_status(E[1], "Admitted")
        calls.clear()
        await here.set_condition("Measurement", E[1], "Complete")
        await here.until_status(E[1], "Complete")
    assert (await folded(here, E[1])) == RESULTS["scores"]


async def test_a_log_of_an_older_version_takes_no_results(tmp_path, objects):
    """Until `dyff migrate post`, the fold does not know the command: the entity waits, and is not complete without its results."""
    async with world.installation(tmp_path, version=1) as old:
        await old.create(world.entity("Method", METHOD, "Ready"), a_measurement(E[1]))
        await store(objects, E[1])
        async with leading(old, objects), reporting(old):
            await old.until_status(E[1], "Admitted")
            await old.set_condition("Measurement", E[1], "Complete")
            # real time: nothing reports that something does not happen
            await anyio.sleep(0.5)
            assert old.said(E[1])[0] == "Admitted"


async def test_a_failure_is_reported_by_the_informer(here, objects):
    """Nothing is read of what a failed run has stored."""
    await here.create(a_measurement(E[1]))
    await store(objects, E[1])
    async with leading(here, objects), reporting(here):
        await here.until_status(E[1], "Admitted")
        await here.set_condition("Measurement", E[1], "Failed", "RunFailed", "line 3: KeyError")
        await here.until_status(E[1], "Failed", "RunFailed")


async def test_a_new_leader_continues(here, objects):
    """What was complete while nobody led is completed at the start."""
    await here.create(a_measurement(E[1]))
    async with leading(here, objects):
        await here.until_status(E[1], "Admitted")
    await store(objects, E[1])
    await here.set_condition("Measurement", E[1], "Complete")
    async with leading(here, objects):
        await here.until_status(E[1], "Complete")
    assert (await folded(here, E[1])) == RESULTS["scores"]
