"""Roles of which one runs: standby in the health report, hand-over, and what the watchdog makes of it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from dyff.cluster import leases, port
from dyff.cluster.embedded import EmbeddedCluster
from dyff.kernel import clock, errors, ids, liveness, settings
from dyff.serve import adapters, assembling, election, roles, supervisor
from dyff.serve.health import Phase
from tests import waiting

TIMING = leases.Timing(duration_s=2, renew_s=1.4, retry_s=0.1)
TIME, NAMES = clock.SystemClock(), ids.RandomIds()


@pytest.fixture
async def cluster(tmp_path):
    async with EmbeddedCluster.open(tmp_path / "cluster.sqlite", clock=TIME, ids=NAMES) as opened:
        yield opened


class Member:
    """A server with one role, of which one runs in all servers together."""

    def __init__(self, cluster: port.Cluster, run=None, **limits):
        self.working = anyio.Event()
        self.stuck = False
        role = supervisor.Role("role", 0, run or self.run)
        chosen = election.elected(role, cluster, TIME, NAMES, timing=TIMING)
        self.supervisor = supervisor.Supervisor([chosen], settings.Supervision(**limits), TIME)

    async def run(self, task_status, signs):
        async def todo():
            return [liveness.Sign("todo", "work" if self.stuck else None, 0)]

        signs.add(todo)
        task_status.started()
        self.working.set()
        await anyio.sleep_forever()

    @property
    def report(self):
        return self.supervisor.health.report()["roles"]["role"]

    async def until(self, **wanted):
        with anyio.fail_after(20):
            while any(self.report[field] != value for field, value in wanted.items()):
                await waiting.a_moment()


@asynccontextmanager
async def serving(*members):
    async with anyio.create_task_group() as group:
        for each in members:
            await group.start(each.supervisor.run)
        yield
        for each in members:
            each.supervisor.stop()


async def test_one_serves_and_the_other_stands_by_ready(cluster):
    """Both servers are ready; the report says which one works, and that the other stands by, without a failure."""
    one, two = Member(cluster), Member(cluster)
    async with serving(one, two):
        assert (one.report["phase"], two.report["phase"]) == (Phase.READY, Phase.STANDBY)
        assert two.supervisor.health.is_ready
        assert two.supervisor.health.report()["status"] == "ok"
        one.supervisor.stop()
        await two.until(phase=Phase.READY)
        assert (one.report["phase"], two.report["failures"]) == (Phase.STOPPED, 0)


async def test_standing_by_is_not_being_stuck(cluster):
    """The watchdog looks at what works, and leaves a standby alone however long nothing moves there."""
    one, two = Member(cluster), Member(cluster, stuck_s=1)
    two.stuck = True
    async with serving(one, two):
        # real time: nothing reports that something does not happen
        await anyio.sleep(2.5)
        assert (two.report["phase"], two.report["failures"]) == (Phase.STANDBY, 0)


async def test_a_stuck_leader_hands_over(cluster):
    """One that gets nothing done is ended by its watchdog and gives the Lease back; the other takes over."""
    one, two = Member(cluster, stuck_s=1), Member(cluster)
    async with serving(one, two):
        one.stuck = True
        await two.until(phase=Phase.READY)
        one.stuck = False
        await one.until(phase=Phase.STANDBY, failures=1)


async def test_a_leader_that_fails_hands_over(cluster):
    """A failure is reported and counted as always, and meanwhile the other works."""

    async def failing(task_status, signs):
        task_status.started()
        await begun.wait()
        raise errors.Unavailable("the broker is away")

    begun = anyio.Event()
    one, two = Member(cluster, failing), Member(cluster)
    async with serving(one, two):
        begun.set()
        await two.until(phase=Phase.READY)
        await one.until(phase=Phase.STANDBY, failures=1)


async def test_a_lost_lease_is_no_failure(cluster):
    """Who loses the Lease ends its work, forgets its signs, and stands by."""
    one = Member(cluster)
    async with serving(one):
        lease = await cluster.get(port.LEASE, "dyff-role")
        while True:
            try:
                await cluster.replace(port.LEASE, {**lease, "spec": {**lease["spec"], "holderIdentity": "someone"}})
                break
            except errors.StaleVersion:
                lease = await cluster.get(port.LEASE, "dyff-role")
        await one.until(phase=Phase.STANDBY, failures=0)
        one.working = anyio.Event()
        with anyio.fail_after(20):
            await one.working.wait()  # someone is not heard of
        await one.until(phase=Phase.READY, failures=0)


@pytest.mark.parametrize("shared", [True, False])
async def test_single_roles_are_elected_where_the_cluster_is_shared(cluster, shared):
    """The local cluster belongs to one process, which needs no Lease; a shared one has one for each role of which one runs."""

    class Shared:
        def __getattr__(self, name):
            return getattr(cluster, name)

    given = adapters.Adapters(clock=TIME, ids=NAMES, cluster=Shared() if shared else cluster)
    async with anyio.create_task_group() as group:
        (operator,) = [
            each for each in assembling.build(roles.parse("operator"), settings.Settings(), given, dict) if each.name == "operator"
        ]

        async def run(*, task_status):
            await operator.run(task_status, liveness.Signs())

        await group.start(run)
        found = [each["metadata"]["name"] for each in (await cluster.list(port.LEASE)).items]
        assert found == (["dyff-operator"] if shared else [])
        group.cancel_scope.cancel()
