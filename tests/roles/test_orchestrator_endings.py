"""The orchestrator and what ends: by itself, by somebody's hand, or on request."""

from __future__ import annotations

import anyio
import pytest

from dyff.consumers.common import custom_resources
from dyff.kernel import settings
from tests.roles import world
from tests.roles.orchestrated import E, leading, with_quota


@pytest.mark.parametrize("while_down", [False, True], ids=["while it leads", "while nobody leads"])
async def test_a_resource_that_vanished_interrupts_the_run(here, while_down):
    """A resource removed by force, finalizer and all, ends the run, and is never made again."""

    async def vanish():
        await here.cluster.patch(custom_resources.KINDS["Evaluation"], f"eval-{E[1]}", {"metadata": {"finalizers": []}})
        await here.cluster.delete(custom_resources.KINDS["Evaluation"], f"eval-{E[1]}")

    await here.create(world.an_evaluation(E[1]))
    async with leading(here):
        await here.until_status(E[1], "Admitted")
        if not while_down:
            await vanish()
            await here.until_status(E[1], "Failed", "Interrupted")
    if while_down:
        await vanish()
    async with leading(here):
        await here.until_status(E[1], "Failed", "Interrupted")
    assert await here.resource("Evaluation", E[1]) is None


async def test_a_resource_deleted_by_hand_goes_after_its_pods(here):
    """`kubectl delete` interrupts the run; the resource stays until that is in the log and no pod runs any more."""
    await here.create(world.an_evaluation(E[1]))
    async with leading(here):
        await here.until_status(E[1], "Admitted")
        await here.start_pod(E[1])
        await here.cluster.delete(custom_resources.KINDS["Evaluation"], f"eval-{E[1]}")
        await here.until_status(E[1], "Failed", "Interrupted")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.3)
        assert await here.resource("Evaluation", E[1])
        await here.end_pod()
        await world.until(lambda: _is_gone(here, E[1]), what="the resource to go")


async def _is_gone(here, entity_id):
    return await here.resource("Evaluation", entity_id) is None


@pytest.mark.parametrize("status", ["Terminated", "Deleted"])
async def test_what_is_terminated_or_deleted_is_stopped(here, status):
    """The resource is deleted at once and goes when the pods are gone; then the quota is free."""
    await here.create(world.an_evaluation(E[1], born=1), world.an_evaluation(E[2], born=2))
    async with leading(here, with_quota(admitted=1)):
        await here.until_status(E[1], "Admitted")
        await here.start_pod(E[1])
        await here.set_status("Evaluation", E[1], status)
        await world.until(lambda: _is_deleting(here, E[1]), what="the deletion")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.2)
        assert here.said(E[2])[1] == "QuotaLimit"
        await here.end_pod()
        await here.until_status(E[2], "Admitted")
        await world.until(lambda: _is_gone(here, E[1]), what="the resource to go")


async def _is_deleting(here, entity_id):
    resource = await here.resource("Evaluation", entity_id)
    return resource is not None and "deletionTimestamp" in resource["metadata"]


async def test_what_has_finished_is_deleted_after_a_while(here):
    """The resource of a finished run stays for the retention time, then goes."""
    await here.create(world.an_evaluation(E[1]))
    async with leading(here):
        await here.until_status(E[1], "Admitted")
        await here.set_condition("Evaluation", E[1], "Complete")
        await here.set_status("Evaluation", E[1], "Complete")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.3)
        assert not await _is_deleting(here, E[1])
        assert not await _is_gone(here, E[1])
    soon = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.1, finished_retention_s=0))
    async with leading(here, soon):
        await world.until(lambda: _is_gone(here, E[1]), what="the resource to go")
