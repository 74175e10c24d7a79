"""Leadership by a Lease, in virtual time, on a cluster that is one object with a version."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from dyff.cluster import leases, port
from dyff.kernel import errors
from tests.narrowing import sure

pytestmark = pytest.mark.virtual_time

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


class Clock:
    """Of one machine: its time of day may be wrong, and it may have been asleep."""

    def __init__(self, off: timedelta = timedelta()):
        self._off = off

    def now(self):
        return NOON + self._off + timedelta(seconds=anyio.current_time())

    def monotonic(self):
        return anyio.current_time()


class Leases:
    """The port's verbs for one Lease, with optimistic concurrency. `broken`: raised instead of an answer. `lost`: after a write."""

    def __init__(self):
        self.lease, self._version = None, 0
        self.broken = self.lost = None
        self.writes = 0

    def _put(self, obj):
        self._version += 1
        self.writes += 1
        self.lease = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        if self.lost is not None:
            raise self.lost
        return self.lease

    async def _answer(self):
        await anyio.sleep(0.01)
        if self.broken is not None:
            raise self.broken

    async def get(self, kind, name):
        await self._answer()
        return self.lease

    async def create(self, kind, obj):
        await self._answer()
        if self.lease is not None:
            raise errors.AlreadyExists
        return self._put(obj)

    async def replace(self, kind, obj):
        await self._answer()
        if self.lease is None or obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise errors.StaleVersion
        return self._put(obj)

    @property
    def holder(self):
        return self.lease and self.lease["spec"]["holderIdentity"]


class View:
    """How one candidate reaches the cluster: its own way may be broken while the other's is not."""

    def __init__(self, real):
        self._real, self.cut = real, None

    def __getattr__(self, name):
        verb = getattr(self._real, name)

        async def call(*args):
            if self.cut is not None:
                await self.cut()
            return await verb(*args)

        return call


class Candidate:
    """Works while it leads, and notes when."""

    def __init__(self, cluster, identity, journal, clock=None, stop_s=0.0):
        self.view = View(cluster)
        self.identity, self.journal, self.stop_s = identity, journal, stop_s
        self.fail = anyio.Event()
        self.scope = anyio.CancelScope()
        self.elector = leases.Elector(self.view, "role", identity, clock or Clock(), jitter=random.Random(1))

    async def run(self):
        with self.scope:
            await self.elector.run(self.work, lambda: self.note("stands by"))

    async def work(self):
        self.note("begins")
        try:
            await self.fail.wait()
            raise errors.Unavailable("the broker is away")
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.stop_s)
            self.note("ends")

    def note(self, what):
        self.journal.append((round(anyio.current_time(), 1), self.identity, what))


def said(journal):
    return [f"{who} {what}" for _, who, what in journal]


def when(journal, who, what):
    return [at for at, name, reported in journal if (name, reported) == (who, what)]


async def the_first_of_two(group, cluster, **options):
    """A leads, B stands by."""
    journal: list[Any] = []
    one, two = Candidate(cluster, "A", journal, **options), Candidate(cluster, "B", journal)
    group.start_soon(one.run)
    await anyio.sleep(1)
    group.start_soon(two.run)
    await anyio.sleep(30)
    assert said(journal) == ["A begins", "B stands by"]
    return one, two, journal


async def test_one_leads_and_an_orderly_end_hands_over_at_once():
    """Who stops gives the Lease back when its work has ended, so the other waits for its next look only."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        one, _, journal = await the_first_of_two(group, cluster, stop_s=5)
        one.scope.cancel()
        await anyio.sleep(10)
        assert said(journal)[2:] == ["A ends", "B begins"]
        assert when(journal, "B", "begins")[0] - when(journal, "A", "ends")[0] < 3
        spec = sure(cluster.lease)["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("B", 1, 15)
        assert spec["acquireTime"] > clock_text(31)
        group.cancel_scope.cancel()
    assert cluster.holder == ""


def clock_text(seconds):
    return (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_it_is_renewed_until_slow_work_has_ended():
    """Work that takes long to end after the request still has its Lease: nobody else begins before."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        one, _, journal = await the_first_of_two(group, cluster, stop_s=60)
        one.scope.cancel()
        await anyio.sleep(70)
        assert said(journal)[2:] == ["A ends", "B begins"]
        group.cancel_scope.cancel()


async def test_a_leader_that_is_gone_is_replaced_when_its_lease_has_expired():
    """One that was killed is not heard of for the Lease's duration; then, and not before, another takes over."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        one, _, journal = await the_first_of_two(group, cluster)

        async def killed():
            await anyio.sleep_forever()

        one.view.cut = killed
        at = anyio.current_time()
        await anyio.sleep(25)
        begun = when(journal, "B", "begins")[0]
        assert 12 < begun - at < 19
        group.cancel_scope.cancel()


async def test_a_leader_that_cannot_renew_ends_its_work_before_another_begins():
    """Cut off from the cluster, it gives itself up sooner than the others take it for gone, and tries again."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        one, two, journal = await the_first_of_two(group, cluster)

        async def cut():
            raise errors.Unavailable("no route")

        one.view.cut = cut
        await anyio.sleep(30)
        assert said(journal)[2:] == ["A ends", "A stands by", "B begins"]
        assert when(journal, "B", "begins")[0] - when(journal, "A", "ends")[0] > 2
        one.view.cut = None
        two.scope.cancel()
        await anyio.sleep(5)
        assert said(journal)[-2:] == ["B ends", "A begins"]
        group.cancel_scope.cancel()


async def test_one_lost_renewal_is_no_loss():
    """A server that does not answer for less than the renewal's deadline costs nobody the leadership."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        _, _, journal = await the_first_of_two(group, cluster)
        for trouble in (errors.Unavailable("restarting"), errors.StaleVersion("touched")):
            cluster.broken = trouble
            await anyio.sleep(5)
            cluster.broken = None
            await anyio.sleep(20)
        assert said(journal) == ["A begins", "B stands by"]
        group.cancel_scope.cancel()


async def test_clocks_that_disagree_change_nothing():
    """Times of day are never compared: a candidate whose clock is hours ahead waits like any other."""
    cluster = Leases()
    journal: list[Any] = []
    one = Candidate(cluster, "A", journal, clock=Clock(timedelta(hours=-5)))
    two = Candidate(cluster, "B", journal, clock=Clock(timedelta(hours=5)))
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        await anyio.sleep(1)
        group.start_soon(two.run)
        await anyio.sleep(120)
        assert said(journal) == ["A begins", "B stands by"]
        group.cancel_scope.cancel()


async def test_a_leader_that_was_paused_finds_that_it_does_not_lead():
    """After a pause of minutes its first look says that another leads: it ends its work, and stands by."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        one, _, journal = await the_first_of_two(group, cluster)
        awake = anyio.Event()
        # A pause of one process stops its timers, too, which a test in the other's cannot: so its renewal waits, and its deadline.
        one.elector._timing = leases.Timing(renew_s=1000)
        await anyio.sleep(5)
        one.view.cut = awake.wait
        await anyio.sleep(300)
        assert said(journal)[2:] == ["B begins"]
        awake.set()
        await anyio.sleep(5)
        assert said(journal)[2:] == ["B begins", "A ends", "A stands by"]
        assert cluster.holder == "B"
        group.cancel_scope.cancel()


async def test_a_leader_whose_work_fails_gives_the_lease_up():
    """Nobody leads and does nothing: the failure is the role's, and another takes over at once."""
    cluster = Leases()
    async with anyio.create_task_group() as group:
        journal: list[Any] = []
        one, two = Candidate(cluster, "A", journal), Candidate(cluster, "B", journal)

        async def failing():
            with pytest.raises(BaseExceptionGroup) as caught:
                await one.run()
            assert caught.group_contains(errors.Unavailable)
            one.note("failed")

        group.start_soon(failing)
        await anyio.sleep(1)
        group.start_soon(two.run)
        await anyio.sleep(30)
        one.fail.set()
        await anyio.sleep(5)
        assert said(journal)[2:] == ["A ends", "A failed", "B begins"]
        group.cancel_scope.cancel()


async def test_work_that_returns_unasked_is_a_failure():
    """And the Lease is free again."""
    cluster = Leases()

    async def nothing():
        await anyio.sleep(5)

    only_leases: Any = cluster
    with pytest.raises(BaseExceptionGroup) as caught:
        await leases.Elector(only_leases, "role", "A", Clock()).run(nothing)
    assert caught.group_contains(errors.DyffError, match="returned without being asked")
    assert cluster.holder == ""


async def test_a_write_whose_answer_was_lost_is_recognised():
    """Who took the Lease without hearing of it finds its own name there, and leads."""
    cluster = Leases()
    journal: list[Any] = []
    cluster.lost = errors.OutcomeUnknown("the answer was lost")
    one = Candidate(cluster, "A", journal)
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        await anyio.sleep(0.5)
        assert (cluster.holder, journal) == ("A", [])
        cluster.lost = None
        await anyio.sleep(4)
        assert said(journal) == ["A begins"]
        group.cancel_scope.cancel()


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 10), marks=pytest.mark.slow)], ids=["a few", "more"])
async def test_of_many_one_leads_at_any_time(seeds):
    """Candidates that come, fail, are cut off and go in any order never work two at a time, and somebody always works again."""
    for seed in seeds:
        await _many(random.Random(seed))


async def _many(chance):
    cluster = Leases()
    journal: list[Any] = []
    working = set()

    class Noted(Candidate):
        async def work(self):
            working.add(self.identity)
            assert working == {self.identity}, journal
            try:
                await super().work()
            finally:
                working.discard(self.identity)

    async def cut():
        raise errors.Unavailable("no route")

    async with anyio.create_task_group() as group:
        present: list[Any] = []
        for number in range(40):
            if len(present) < 2 or (len(present) < 4 and chance.random() < 0.4):
                present.append(Noted(cluster, f"C{number}", journal, Clock(timedelta(hours=chance.uniform(-9, 9)))))
                group.start_soon(present[-1].run)
            chosen = chance.choice(present)
            match chance.choice(("stop", "cut", "heal", "wait")):
                case "stop":
                    present.remove(chosen)
                    chosen.scope.cancel()
                case "cut":
                    chosen.view.cut = cut
                case "heal":
                    chosen.view.cut = None
            await anyio.sleep(chance.uniform(0, 25))
        for each in present:
            each.view.cut = None
        await anyio.sleep(40)
        assert not present or len(working) == 1
        group.cancel_scope.cancel()


def test_the_port_names_the_kind():
    """A Lease is Kubernetes' own, so that kubectl shows who leads."""
    assert (port.LEASE.api_version, port.LEASE.plural) == ("coordination.k8s.io/v1", "leases")
