"""What controllers say to the log holds only for the status on which they decided it."""

from __future__ import annotations

import pytest

from dyff.bus import envelope, expiry, topics
from dyff.consumers import informer
from dyff.consumers.common import outcomes
from dyff.consumers.orchestrator import role as orchestrator
from dyff.consumers.orchestrator import sweep
from dyff.entities import commands
from dyff.kernel import settings
from dyff.objects import local
from tests.roles import world
from tests.roles.orchestrated import E

CONTROLLERS = {orchestrator.OWNER, informer.PRINCIPAL, sweep.PRINCIPAL}


async def on_the_log(here):
    """All commands, in order within a partition."""
    found = []
    for partition, held in (await here.bus.ranges(topics.EVENTS)).items():
        async with here.bus.read(topics.EVENTS, partition, held.first) as reader:
            while reader.position < held.end:
                found += [envelope.event(each, "").command for each in await reader.poll(500, 0.1)]
    return found


async def test_every_command_of_a_controller_names_the_status_it_was_decided_on(here, tmp_path):
    """Admission, its refusals, interruptions, ends, sizes and forgetting: each of them is dropped if the status has moved meanwhile."""
    given = settings.Settings(
        quotas=settings.Quotas(admitted=1),
        orchestrator=settings.Orchestrator(resync_s=0.1),
        retention=settings.Retention(deleted_days=0, sweep_s=0.05),
    )
    objects = local.LocalObjects.open(tmp_path / "objects")
    async with (
        world.running(orchestrator, here.bus, here.cluster, clock=here.clock, settings=given, objects=objects),
        world.running(informer, here.bus, here.cluster, clock=here.clock),
    ):
        await here.create(
            world.an_evaluation(E[1], born=1),
            world.an_evaluation(E[2], born=2),
            world.an_evaluation(E[3], born=3, dataset="e" * 32),
            world.an_evaluation(E[4], inferenceSession={}),
            world.a_dataset(E[5]),
        )
        await here.until_status(E[1], "Admitted")
        await here.until_status(E[2], "Created", "QuotaLimit")
        await here.set_condition("Evaluation", E[1], "Complete")
        await here.until_status(E[1], "Complete")
        await here.until_status(E[2], "Admitted")
        await here.set_status("Evaluation", E[1], "Deleted")
        await here.set_status("Dataset", E[5], "Deleted")
        await world.until(lambda: here.folded.get(E[5]) is None, what="forgetting")
    said = [each for each in await on_the_log(here) if each.principal in CONTROLLERS]
    assert {each.principal for each in said} == CONTROLLERS
    assert {each.name for each in said} == {commands.UPDATE_STATUS, commands.RECORD_STORAGE, commands.FORGET}
    assert [(each.name, each.entity_id) for each in said if each.decided_on is None] == []


@pytest.mark.parametrize("status", ["Schedulable", "Failed"])
async def test_a_decision_on_an_earlier_status_is_dropped(here, status):
    """A controller that was paused between its decision and its command changes nothing: another one has decided meanwhile."""
    await here.create(world.an_evaluation(E[1]))
    old = outcomes.change(here.folded.get(E[1]), status, "Late")
    await here.set_status("Evaluation", E[1], "Admitted")
    await here.publish(outcomes.command(old, here.clock.now(), expiry.NEVER, orchestrator.OWNER))
    assert here.said(E[1])[:2] == ("Admitted", None)
    await here.publish(outcomes.command(outcomes.change(here.folded.get(E[1]), status), here.clock.now(), expiry.NEVER, informer.PRINCIPAL))
    assert here.said(E[1])[0] == status
