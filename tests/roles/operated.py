"""An operator on a real adapter of the cluster, with a kubelet that plays along."""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager

import anyio

from dyff.cluster import conditions, port
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.cluster.embedded.controllers import jobs
from dyff.entities import custom_resource
from dyff.kernel import clock, errors, ids, settings
from dyff.operator import role
from dyff.operator.kinds import table
from tests import waiting
from tests.roles import kubelet

DEADLINE_S = 120.0
"""A Job of a real cluster waits ten seconds and more before it tries again."""
KINDS = (port.POD, port.JOB, port.DEPLOYMENT, port.SERVICE, port.NETWORK_POLICY, port.CONFIG_MAP, *(row.kind for row in table.TABLE))
SETTINGS = settings.Operator(resync_s=3600)
"""Nothing may depend on looking again now and then, so that is never in these tests."""


@asynccontextmanager
async def embedded(tmp_path):
    """The local cluster with its controllers, which try a failed pod again at once."""
    time = clock.SystemClock()
    async with (
        EmbeddedCluster.open(tmp_path / "cluster.sqlite", clock=time, ids=ids.RandomIds()) as cluster,
        background(LocalControllers(cluster, clock=time, delays=jobs.Delays(0.01, 0.01)).run()),
    ):
        yield cluster


@asynccontextmanager
async def background(coroutine):
    """Run it meanwhile. Not in a task group, since a fixture is entered and left in different tasks."""
    task = asyncio.create_task(coroutine)
    try:
        yield
        assert not task.done() or task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def kubernetes(tmp_path):
    """A namespace of its own on a real API server, whose controllers it has."""
    from tests.contracts.cluster import conftest

    async with conftest.kubernetes(tmp_path) as cluster:
        yield cluster


ADAPTERS = {"cluster:embedded": embedded, "cluster:kubernetes": kubernetes}


class Operated:
    """A cluster, its kubelet, and operators that come and go."""

    def __init__(self, cluster: port.Cluster):
        self.cluster = cluster
        self.kubelet = kubelet.Kubelet(cluster)

    @classmethod
    @asynccontextmanager
    async def open(cls, cluster):
        """With the kubelet running and no operator."""
        self = cls(cluster)
        async with background(self.kubelet.run()):
            yield self

    @asynccontextmanager
    async def operator(self, cluster=None, **changes):
        """An operator for as long as the block lasts; then it is cut off in the middle of whatever it does."""
        async with anyio.create_task_group() as group:
            await self.start_operator(group, cluster, **changes)
            yield
            group.cancel_scope.cancel()

    async def start_operator(self, group, cluster=None, **changes):
        """An operator in a task group. `changes`: of the settings."""
        own = settings.Operator(**{"resync_s": SETTINGS.resync_s, **changes})

        async def run(task_status):
            env = {"DYFF_STORAGE_URL": "file:///srv/dyff"}
            await role.run(cluster or self.cluster, settings=own, storage_env=env, task_status=task_status)

        await group.start(run)

    async def create(self, resource):
        """A custom resource as the orchestrator creates it."""
        return await self.cluster.create(table.BY_KIND[resource["kind"]].kind, resource)

    async def get(self, kind, entity_id, component=None):
        """A custom resource; None: it is gone."""
        return await self.cluster.get(port.custom(kind), custom_resource.name(kind, entity_id, component))

    async def until(self, what, check):
        """Wait for what `check` returns to be true, and return it."""
        with anyio.move_on_after(DEADLINE_S):
            while not (found := await check()):
                await waiting.a_moment()
            return found
        raise AssertionError(f"{what} did not happen; there is {await self.everything()}")

    async def ended(self, kind, entity_id):
        """Wait until a custom resource has come to its end; returns the condition that says how."""

        async def check():
            found = await self.get(kind, entity_id)
            return next((conditions.get(found, each) for each in ("Complete", "Failed") if conditions.is_true(found, each)), None)

        return await self.until(f"the end of {kind.kind} {entity_id}", check)

    async def everything(self, entity_id=None):
        """Names of all objects by kind, or of those with an ID."""
        labels = {"dyff.io/id": entity_id} if entity_id else None
        found = {kind.kind: [each["metadata"]["name"] for each in (await self.cluster.list(kind, labels)).items] for kind in KINDS}
        return {kind: names for kind, names in found.items() if names}

    async def forget(self, kind, entity_id):
        """What the orchestrator does at the end: it takes its finalizer off when no pod of the ID runs."""

        async def pods_gone():
            pods = (await self.cluster.list(port.POD, {"dyff.io/id": entity_id})).items
            return not [pod for pod in pods if pod.get("status", {}).get("phase", "Pending") in ("Pending", "Running")]

        await self.until("the end of all pods", pods_gone)
        name = custom_resource.name(kind, entity_id)
        await self.cluster.patch(port.custom(kind), name, {"metadata": {"finalizers": []}})


class _Meddling:
    """A cluster in whose writes `meddle` meddles; everything else is the inner one's."""

    def __init__(self, cluster: port.Cluster):
        self._cluster, self._writes = cluster, 0

    def __getattr__(self, name):
        found = getattr(self._cluster, name)
        return functools.partial(self._counted, found) if name in ("create", "patch", "delete") else found

    async def _counted(self, write, *args, **kwargs):
        self._writes += 1
        return await self.meddle(self._writes, functools.partial(write, *args, **kwargs))


class Interrupted(_Meddling):
    """A cluster that kills its client after so many writes: the last one lands, its answer never arrives."""

    def __init__(self, cluster: port.Cluster, writes: int):
        super().__init__(cluster)
        self._most = writes

    async def meddle(self, number, write):
        result = await write()
        if number >= self._most:
            raise errors.Fatal("killed")
        return result


class Unreliable(_Meddling):
    """A cluster whose writes fail every third time: in turn before they land and after."""

    async def meddle(self, number, write):
        if number % 6 == 1:
            raise errors.Unavailable("not now", retry_after_s=0.01)
        result = await write()
        if number % 6 == 4:
            raise errors.OutcomeUnknown("the answer was lost")
        return result
