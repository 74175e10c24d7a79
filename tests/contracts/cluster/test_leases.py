"""Leases: who leads, on every adapter, in real time."""

from __future__ import annotations

import anyio
import pytest

from dyff.cluster import leases, port
from dyff.kernel import clock, errors
from tests import waiting
from tests.contracts.cluster.objects import DEADLINE_S

TIMING = leases.Timing(duration_s=2, renew_s=1.4, retry_s=0.2)


def a_lease(name: str, **spec) -> port.Object:
    return {"apiVersion": port.LEASE.api_version, "kind": "Lease", "metadata": {"name": name}, "spec": spec}


class Candidates:
    """Those that would lead, and who does."""

    def __init__(self, cluster: port.Cluster, name: str):
        self._cluster, self._name = cluster, name
        self.leading: list[str] = []
        self.standby: set[str] = set()

    async def stand(self, identity: str, *, task_status) -> None:
        async def work() -> None:
            self.leading.append(identity)
            try:
                await anyio.sleep_forever()
            finally:
                self.leading.remove(identity)

        with anyio.CancelScope() as scope:
            task_status.started(scope)
            elector = leases.Elector(self._cluster, self._name, identity, clock.SystemClock(), timing=TIMING)
            await elector.run(work, lambda: self.standby.add(identity))

    async def until(self, leading: list[str], standby: set[str]) -> None:
        with anyio.fail_after(DEADLINE_S):
            while (self.leading, self.standby) != (leading, standby):
                await waiting.a_moment()


async def test_leases_are_replaced_by_who_read_them_last(cluster, name):
    """A Lease is taken by a replacement of the version that was read; a second one is refused. Times have microseconds."""
    now = "2026-11-26T00:00:00.000001Z"
    made = await cluster.create(port.LEASE, a_lease(name, holderIdentity="a", leaseDurationSeconds=15, renewTime=now, leaseTransitions=0))
    assert made["spec"]["renewTime"] == now
    taken = {**made, "spec": {**made["spec"], "holderIdentity": "b", "leaseTransitions": 1}}
    await cluster.replace(port.LEASE, taken)
    with pytest.raises(errors.StaleVersion):
        await cluster.replace(port.LEASE, {**made, "spec": {**made["spec"], "holderIdentity": "c"}})
    assert (await cluster.get(port.LEASE, name))["spec"]["holderIdentity"] == "b"
    with pytest.raises(errors.InvalidFields, match="leaseDurationSeconds"):
        await cluster.create(port.LEASE, a_lease(f"{name}-2", holderIdentity="a", leaseDurationSeconds=0))


async def test_leadership_goes_from_one_to_the_next(cluster, name):
    """One of two leads; when it stops the other does at once; a Lease whose holder is not heard of expires."""
    await cluster.create(port.LEASE, a_lease(name, holderIdentity="gone", leaseDurationSeconds=2, leaseTransitions=7))
    subject = Candidates(cluster, name)
    async with anyio.create_task_group() as group:
        first = await group.start(subject.stand, "A")
        await subject.until(["A"], {"A"})
        await group.start(subject.stand, "B")
        await subject.until(["A"], {"A", "B"})
        first.cancel()
        await subject.until(["B"], {"A", "B"})
        assert (await cluster.get(port.LEASE, name))["spec"]["leaseTransitions"] == 9
        group.cancel_scope.cancel()
    assert (await cluster.get(port.LEASE, name))["spec"]["holderIdentity"] == ""
