"""The orchestrator while the cluster's watches are late: what it started counts until the cluster itself says that it is gone."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from dyff.cluster import conditions, port
from dyff.consumers.common import custom_resources
from dyff.entities import custom_resource, registry
from dyff.kernel import errors
from tests.roles import world
from tests.roles.instead import Instead
from tests.roles.orchestrated import E, leading, with_quota

LATE_S = 0.5
EVALUATION = custom_resources.KINDS["Evaluation"]


def late(cluster, *kinds):
    """The cluster, whose watches of these kinds report every event `LATE_S` seconds late. Lists and reads are current."""

    async def watch(kind, resource_version, *, timeout_s, labels=None):
        async for event in cluster.watch(kind, resource_version, timeout_s=timeout_s, labels=labels):
            if kind in kinds:
                # real time: the watch is late by that much, while stores in threads are not
                await anyio.sleep(LATE_S)
            yield event

    return Instead(cluster, watch=watch)


def watched(here, cluster, running):
    """The cluster; notes in `running` what of E1 could still run at the instant when the resource of E2 was created."""

    async def create(kind, obj):
        if obj["metadata"]["name"] == f"eval-{E[2]}":
            resource = await here.resource("Evaluation", E[1])
            pods = (await here.cluster.list(port.POD, {"dyff.io/id": E[1]})).items
            running.extend(each["metadata"]["name"] for each in pods if each["status"]["phase"] == "Running")
            if resource is not None and not conditions.finished(resource):
                running.append(resource["metadata"]["name"])
        return await here.cluster.create(kind, obj)

    return Instead(cluster, create=create)


async def two(here):
    """E1 and E2, of an account that may run one."""
    await here.create(world.an_evaluation(E[1], born=1), world.an_evaluation(E[2], born=2))


@pytest.mark.parametrize("status", ["Terminated", "Deleted"])
async def test_what_was_created_just_now_counts_before_the_watch_has_reported_it(here, status):
    """A run that ends before the watch has reported its resource holds its quota until the resource and the pods are gone."""
    running: list[Any] = []
    async with leading(here, with_quota(admitted=1), cluster=watched(here, late(here.cluster, EVALUATION, port.POD), running)):
        await two(here)
        await world.until(lambda: here.resource("Evaluation", E[1]))
        await here.start_pod(E[1])
        await here.set_status("Evaluation", E[1], status)
        # real time: nothing reports that something does not happen
        await anyio.sleep(LATE_S / 2)
        assert here.said(E[2])[0] == "Created"
        await here.end_pod()
        await here.until_status(E[2], "Admitted")
    assert running == []


async def test_a_finished_run_counts_while_a_pod_runs_that_the_watch_has_not_reported(here):
    """The resource says that the run is over, and no pod was seen: the cluster is asked whether there is one."""
    running: list[Any] = []
    async with leading(here, with_quota(admitted=1), cluster=watched(here, late(here.cluster, port.POD), running)):
        await two(here)
        await here.until_status(E[1], "Admitted")
        await here.start_pod(E[1])
        await here.set_condition("Evaluation", E[1], "Complete")
        await here.set_status("Evaluation", E[1], "Complete")
        # real time: nothing reports that something does not happen
        await anyio.sleep(LATE_S / 2)
        assert here.said(E[2])[0] == "Created"
        await here.end_pod()
        await here.until_status(E[2], "Admitted")
    assert running == []


async def test_a_resource_that_was_removed_by_force_counts_while_its_pods_run(here):
    """Nobody waited for the pods of a resource whose finalizer was removed by hand; they count although the watch has not seen them."""
    running: list[Any] = []
    async with leading(here, with_quota(admitted=1), cluster=watched(here, late(here.cluster, port.POD), running)):
        await two(here)
        await here.until_status(E[1], "Admitted")
        await here.start_pod(E[1])
        await here.cluster.patch(EVALUATION, f"eval-{E[1]}", {"metadata": {"finalizers": []}})
        await here.cluster.delete(EVALUATION, f"eval-{E[1]}")
        await here.until_status(E[1], "Failed", "Interrupted")
        # real time: nothing reports that something does not happen
        await anyio.sleep(LATE_S / 2)
        assert here.said(E[2])[0] == "Created"
        await here.end_pod()
        await here.until_status(E[2], "Admitted")
    assert running == []


async def test_a_new_leader_counts_what_the_old_one_created(here):
    """What was terminated while nobody led still counts, also while the new leader's watches are late."""
    running: list[Any] = []
    async with leading(here, with_quota(admitted=1)):
        await two(here)
        await here.until_status(E[1], "Admitted")
    await here.set_status("Evaluation", E[1], "Terminated")
    await here.start_pod(E[1])
    async with leading(here, with_quota(admitted=1), cluster=watched(here, late(here.cluster, EVALUATION, port.POD), running)):
        # real time: nothing reports that something does not happen
        await anyio.sleep(LATE_S)
        assert here.said(E[2])[0] == "Created"
        await here.end_pod()
        await here.until_status(E[2], "Admitted")
    assert running == []


async def test_a_cluster_that_does_not_answer_releases_nothing(here):
    """As long as it cannot be asked whether anything runs, the quota stays held; afterwards it is released."""
    down = False

    async def read(kind, labels=None):
        if down and labels:
            raise errors.Unavailable()
        return await here.cluster.list(kind, labels)

    async with leading(here, with_quota(admitted=1), cluster=Instead(here.cluster, list=read)):
        await two(here)
        await here.until_status(E[1], "Admitted")
        down = True
        await here.set_condition("Evaluation", E[1], "Complete")
        await here.set_status("Evaluation", E[1], "Complete")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.4)
        assert here.said(E[2])[0] == "Created"
        down = False
        await here.until_status(E[2], "Admitted")


async def test_a_creation_without_an_answer_counts_although_the_cluster_does_not_have_it_yet(here):
    """A request that timed out can take effect later, after the entity has ended: its quota stays held for that long."""
    tried = anyio.Event()

    async def create(kind, obj):
        if obj["metadata"]["name"] == f"eval-{E[1]}":
            tried.set()
            raise errors.Unavailable()
        return await here.cluster.create(kind, obj)

    async with leading(here, with_quota(admitted=1), cluster=Instead(here.cluster, create=create)):
        await two(here)
        await tried.wait()
        await here.set_status("Evaluation", E[1], "Terminated")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.5)
        assert here.said(E[2])[0] == "Created"
        await here.cluster.create(EVALUATION, registry.resource_for(world.an_evaluation(E[1])))
        await here.until_status(E[2], "Admitted")
        assert await here.resource("Evaluation", E[1]) is None


@pytest.mark.parametrize("status", ["Terminated", "Deleted"])
async def test_the_finalizer_stays_while_a_pod_runs_that_the_watch_has_not_reported(here, status):
    """The resource goes after its pods, as the cluster has them and not as the cache does."""
    async with leading(here, cluster=late(here.cluster, port.POD)):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        await here.start_pod(E[1])
        await here.set_status("Evaluation", E[1], status)
        await world.until(lambda: _deleting(here), what="the deletion")
        # real time: nothing reports that something does not happen
        await anyio.sleep(LATE_S / 2)
        assert (await here.resource("Evaluation", E[1]))["metadata"]["finalizers"] == [custom_resource.FINALIZER]
        await here.end_pod()
        await world.until(lambda: _gone(here), what="the end of the resource")


async def _deleting(here):
    return "deletionTimestamp" in (await here.resource("Evaluation", E[1]))["metadata"]


async def _gone(here):
    return await here.resource("Evaluation", E[1]) is None
