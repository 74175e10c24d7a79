"""Admission, as a table of sentences."""

from __future__ import annotations

import sys
from decimal import Decimal
from itertools import count

import msgspec
import pytest

from dyff.admission import cycle, order, outcome
from dyff.admission.outcome import Verdict
from dyff.admission.snapshot import Dependency, Snapshot, Waiting, limits
from dyff.entities import costs
from dyff.kernel import settings

GIB = 2**30
T4 = "nvidia.com/gpu-t4"
_born = count()


def a_run(entity_id="run", **changes) -> Waiting:
    """An evaluation that nothing prevents from running; each is younger than the ones made before."""
    cost = {costs.SLOT: 1, "cpu": 2, "memory": 2 * GIB, **changes.pop("cost", {})}
    fields = {
        "id": entity_id,
        "account": "a",
        "created": f"2026-11-03T12:00:{next(_born) % 60:02}.000000Z",
        "success": "Complete",
        "failure": "Failed",
        "cost": {resource: Decimal(amount) for resource, amount in cost.items() if amount is not None},
        **changes,
    }
    return Waiting(**fields)


def a_service(entity_id="service", **changes) -> Waiting:
    """An inference service: it runs nothing, and becomes `Ready`."""
    return msgspec.structs.replace(a_run(entity_id, success="Ready", failure="Error", runs=False, **changes), cost={})


def using(account="a", slots=0, cpu=0) -> dict:
    """What is in use."""
    return {account: {costs.SLOT: Decimal(slots), "cpu": Decimal(cpu)}}


def limited(slots=8, cpu=None, memory=None, devices=None) -> dict:
    """Limits of each account."""
    given = {costs.SLOT: slots, "cpu": cpu, "memory": memory, T4: devices}
    return {resource: Decimal(amount) for resource, amount in given.items() if amount is not None}


def needing(*statuses: str | None) -> dict:
    """Dependencies `d0`, `d1`, ... with these statuses: what the waiting entity needs, and what is known of them."""
    return {f"d{number}": Dependency("Dataset" if status else None, status) for number, status in enumerate(statuses)}


CASES = {
    "what has no dependencies and fits is scheduled": (
        Snapshot(waiting=(a_run(),), limits=limited()),
        [("run", "Schedulable", None, None)],
    ),
    "without a limit everything fits": (
        Snapshot(waiting=(a_run(cost={"cpu": 10**6}),), reserved=using(slots=10**6)),
        [("run", "Schedulable", None, None)],
    ),
    "what runs nothing is ready at once, however full the quota": (
        Snapshot(waiting=(a_service(),), reserved=using(slots=8), limits=limited()),
        [("service", "Ready", None, None)],
    ),
    "what runs nothing still waits for its dependencies": (
        Snapshot(waiting=(a_service(dependencies=("d0",)),), dependencies=needing("WaitingForUpload")),
        [("service", "Created", "UnsatisfiedDependency", "Waiting for Dataset d0")],
    ),
    "every way to succeed satisfies a dependency": (
        Snapshot(waiting=(a_run(dependencies=("d0", "d1", "d2")),), dependencies=needing("Ready", "Complete", "Approved")),
        [("run", "Schedulable", None, None)],
    ),
    "one dependency that is not there yet is enough to wait, and is named": (
        Snapshot(waiting=(a_run(dependencies=("d0", "d1", "d2")),), dependencies=needing("Ready", "Created", "Admitted")),
        [("run", "Created", "UnsatisfiedDependency", "Waiting for Dataset d1, Dataset d2")],
    ),
    "a dependency that is not known yet is waited for": (
        Snapshot(waiting=(a_run(dependencies=("dx",)),)),
        [("run", "Created", "UnsatisfiedDependency", "Waiting for dx")],
    ),
    "a dependency that does not exist fails": (
        Snapshot(waiting=(a_run(dependencies=("d0",)),), dependencies=needing(None)),
        [("run", "Failed", "FailedDependency", "It needs d0 (does not exist)")],
    ),
    "of many dependencies only some are named": (
        Snapshot(waiting=(a_run(dependencies=tuple(f"d{n}" for n in range(7))),), dependencies=needing(*["Created"] * 7)),
        [
            (
                "run",
                "Created",
                "UnsatisfiedDependency",
                "Waiting for Dataset d0, Dataset d1, Dataset d2, Dataset d3, Dataset d4 and 2 more",
            )
        ],
    ),
    **{
        f"a dependency that is {status} fails a job-like entity": (
            Snapshot(waiting=(a_run(dependencies=("d0", "d1")),), dependencies=needing("Created", status)),
            [("run", "Failed", "FailedDependency", f"It needs Dataset d1 ({status})")],
        )
        for status in ("Failed", "Error", "Denied", "Terminated", "Deleted")
    },
    "a failed dependency is an error of what is not job-like": (
        Snapshot(waiting=(a_service(dependencies=("d0",)),), dependencies=needing("Deleted")),
        [("service", "Error", "FailedDependency", "It needs Dataset d0 (Deleted)")],
    ),
    "a full quota is said as published": (
        Snapshot(waiting=(a_run(),), reserved=using(slots=8), limits=limited()),
        [("run", "Created", "QuotaLimit", "Account quota exceeded: 8/8")],
    ),
    "a quota that was lowered below what runs stops nothing and admits nothing": (
        Snapshot(waiting=(a_run(),), reserved=using(slots=8), limits=limited(slots=3)),
        [("run", "Created", "QuotaLimit", "Account quota exceeded: 8/3")],
    ),
    "the last free slot goes to the oldest": (
        Snapshot(waiting=tuple(reversed([a_run("old"), a_run("young")])), reserved=using(slots=7), limits=limited()),
        [("old", "Schedulable", None, None), ("young", "Created", "QuotaLimit", "Account quota exceeded: 8/8")],
    ),
    "one account's use does not touch another's quota": (
        Snapshot(waiting=(a_run("mine"), a_run("theirs", account="b")), reserved=using("b", slots=8), limits=limited()),
        [("mine", "Schedulable", None, None), ("theirs", "Created", "QuotaLimit", "Account quota exceeded: 8/8")],
    ),
    "what waits for a dependency does not hold up younger ones": (
        Snapshot(waiting=(a_run("old", dependencies=("d0",)), a_run("young")), dependencies=needing("Created"), limits=limited(slots=1)),
        [("old", "Created", "UnsatisfiedDependency", "Waiting for Dataset d0"), ("young", "Schedulable", None, None)],
    ),
    "the reason for missing cpu says how much is in use and how much more is needed": (
        Snapshot(waiting=(a_run(cost={"cpu": "4.5"}),), reserved=using(cpu=30), limits=limited(cpu=32)),
        [("run", "Created", "QuotaLimit", "Account quota exceeded: 30/32 cpu in use, 4.5 more needed")],
    ),
    "memory is shown in units that people use": (
        Snapshot(waiting=(a_run("first"), a_run("second")), limits=limited(memory=3 * GIB)),
        [
            ("first", "Schedulable", None, None),
            ("second", "Created", "QuotaLimit", "Account quota exceeded: 2Gi/3Gi memory in use, 2Gi more needed"),
        ],
    ),
    "something large is not starved by small things behind it": (
        Snapshot(
            waiting=(a_run("large", cost={"cpu": 8}), a_run("small", cost={"cpu": 1}), a_run("other", cost={"cpu": None})),
            reserved=using(cpu=4),
            limits=limited(cpu=8),
        ),
        [
            ("large", "Created", "QuotaLimit", "Account quota exceeded: 4/8 cpu in use, 8 more needed"),
            ("small", "Created", "QuotaLimit", "Account quota exceeded: 4/8 cpu in use, waiting behind large"),
            ("other", "Schedulable", None, None),
        ],
    ),
    "if slots and cpu are lacking, slots are the reason": (
        Snapshot(waiting=(a_run(),), reserved=using(slots=8, cpu=8), limits=limited(cpu=8)),
        [("run", "Created", "QuotaLimit", "Account quota exceeded: 8/8")],
    ),
    "a fraction too much is too much": (
        Snapshot(waiting=(a_run(cost={"cpu": "0.2"}),), reserved=using(cpu="0.9"), limits=limited(cpu=1)),
        [("run", "Created", "QuotaLimit", "Account quota exceeded: 0.9/1 cpu in use, 0.2 more needed")],
    ),
    "exactly the rest of a quota fits": (
        Snapshot(waiting=(a_run(cost={"cpu": "0.1"}),), reserved=using(cpu="0.9"), limits=limited(cpu=1)),
        [("run", "Schedulable", None, None)],
    ),
    "what can never fit fails at once, even while it would have to wait": (
        Snapshot(waiting=(a_run(cost={"cpu": 64}, dependencies=("d0",)),), dependencies=needing("Created"), limits=limited(cpu=32)),
        [
            (
                "run",
                "Failed",
                "QuotaLimit",
                "It needs 64 cpu, but an account may use at most 32 at once: ask for less or raise the quota",
            )
        ],
    ),
    "devices are counted by their type": (
        Snapshot(
            waiting=(a_run("first", cost={T4: 6}), a_run("second", cost={T4: 4}), a_run("other", cost={"nvidia.com/gpu-a100": 4})),
            limits=limited(devices=8),
        ),
        [
            ("first", "Schedulable", None, None),
            ("second", "Created", "QuotaLimit", "Account quota exceeded: 6/8 nvidia.com/gpu-t4 in use, 4 more needed"),
            ("other", "Schedulable", None, None),
        ],
    ),
    "more devices than there may ever be fail at once": (
        Snapshot(waiting=(a_run(cost={T4: 16}, failure="Error"),), limits=limited(devices=8)),
        [
            (
                "run",
                "Error",
                "QuotaLimit",
                "It needs 16 nvidia.com/gpu-t4, but an account may use at most 8 at once: ask for less or raise the quota",
            )
        ],
    ),
    "memory that is no whole number of units is shown in bytes": (
        Snapshot(waiting=(a_run(cost={"memory": 3_000_000_000}),), limits=limited(memory=GIB + 1)),
        [
            (
                "run",
                "Failed",
                "QuotaLimit",
                "It needs 3000000000 memory, but an account may use at most 1073741825 at once: ask for less or raise the quota",
            )
        ],
    ),
    "more memory than can ever be available is shown in units that people use": (
        Snapshot(waiting=(a_run(cost={"memory": 64 * GIB}),), limits=limited(memory=32 * GIB)),
        [
            (
                "run",
                "Failed",
                "QuotaLimit",
                "It needs 64Gi memory, but an account may use at most 32Gi at once: ask for less or raise the quota",
            )
        ],
    ),
    "a limit of zero is a pause": (
        Snapshot(waiting=(a_run(),), limits=limited(slots=0)),
        [("run", "Created", "QuotaLimit", "Account quota exceeded: 0/0")],
    ),
    "nothing of a suspended account begins to run": (
        Snapshot(waiting=(a_run(), a_service(), a_run("other", account="b")), limits=limited(), suspended=frozenset("a")),
        [
            ("run", "Created", "AccountSuspended", outcome.suspension("a")),
            ("service", "Ready", None, None),
            ("other", "Schedulable", None, None),
        ],
    ),
    "nothing waits, nothing is decided": (Snapshot(waiting=()), []),
}


@pytest.mark.parametrize(("snapshot", "want"), CASES.values(), ids=CASES)
def test_a_decision(snapshot: Snapshot, want: list):
    """Each waiting entity gets the status, reason and message that the case says."""
    decided = cycle.decide(snapshot)
    assert {(each.id, each.status, each.reason, each.message) for each in decided} == set(want)
    assert len(decided) == len(want)


NEWS = {
    "nothing was said before": (a_run(), Verdict.UNSATISFIED_DEPENDENCY, "Waiting for d0", True),
    "the same was said": (
        a_run(reason="UnsatisfiedDependency", message="Waiting for d0"),
        Verdict.UNSATISFIED_DEPENDENCY,
        "Waiting for d0",
        False,
    ),
    "one dependency less": (
        a_run(reason="UnsatisfiedDependency", message="Waiting for d0, d1"),
        Verdict.UNSATISFIED_DEPENDENCY,
        "Waiting for d0",
        True,
    ),
    "another reason": (
        a_run(reason="UnsatisfiedDependency", message="Waiting for d0"),
        Verdict.QUOTA_LIMIT,
        "Account quota exceeded: 8/8",
        True,
    ),
    "only the numbers of a quota changed": (
        a_run(reason="QuotaLimit", message="Account quota exceeded: 9/8"),
        Verdict.QUOTA_LIMIT,
        "Account quota exceeded: 8/8",
        False,
    ),
    "it is admitted": (a_run(reason="QuotaLimit", message="Account quota exceeded: 8/8"), Verdict.ADMIT, None, True),
    "it can never fit any more": (a_run(reason="QuotaLimit", message="x"), Verdict.NEVER_FITS, "x", True),
}


@pytest.mark.parametrize(("entity", "verdict", "message", "want"), NEWS.values(), ids=NEWS)
def test_only_news_is_reported(entity: Waiting, verdict: Verdict, message: str | None, want: bool):
    """A decision is published only if it tells something that the entity does not say already."""
    assert outcome.is_news(entity, outcome.decision(entity, verdict, message)) is want


def test_deciding_again_after_it_was_reported_is_no_news():
    """A second cycle over what the first has led to changes nothing, whatever was decided."""
    for snapshot, _ in CASES.values():
        reported = {each.id: each for each in cycle.decide(snapshot)}
        still = [entity for entity in snapshot.waiting if reported[entity.id].status == "Created"]
        again = tuple(
            msgspec.structs.replace(entity, reason=reported[entity.id].reason, message=reported[entity.id].message) for entity in still
        )
        repeated = {each.id: each for each in cycle.decide(msgspec.structs.replace(snapshot, waiting=again))}
        for entity in again:
            if repeated[entity.id].status == "Created":
                assert not outcome.is_news(entity, repeated[entity.id])


def test_the_turn_is_by_age_then_by_id():
    """Two entities of the same moment have a fixed order, so that every cycle agrees."""
    same = "2026-11-03T12:00:00.000000Z"
    given = [a_run("c", created=same), a_run("z", created="2026-11-03T11:59:59.999999Z"), a_run("a", created=same)]
    assert [each.id for each in order.in_turn(given)] == ["z", "a", "c"]


def test_limits_come_from_settings():
    """What is not set is unlimited; quantities are understood."""
    assert limits(settings.Quotas(admitted=3)) == {costs.SLOT: 3}
    assert limits(settings.Quotas(cpu="500m", memory="2Gi")) == {costs.SLOT: 8, "cpu": Decimal("0.5"), "memory": 2 * GIB}
    assert limits(settings.Quotas(accelerators={T4: 8})) == {costs.SLOT: 8, T4: 8}


def many_waiting(count: int) -> Snapshot:
    return Snapshot(
        waiting=tuple(
            a_run(f"{number:032x}", account=f"account-{number % 30}", created=f"2026-11-03T12:00:00.{number:06}Z", dependencies=("d0",))
            for number in range(count)
        ),
        dependencies=needing("Ready"),
        limits=limited(cpu=1000),
    )


def calls(snapshot: Snapshot) -> tuple[int, list]:
    """How many functions a cycle calls, and what it decides."""
    count = 0

    def counting(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counting)
    try:
        decided = cycle.decide(snapshot)
    finally:
        sys.setprofile(None)
    return count, decided


def test_the_cost_of_fifteen_thousand_waiting_entities_grows_with_their_number_only():
    """Ten times as many cost about ten times the steps, and each of 30 accounts gets its eight oldest."""
    few, _ = calls(many_waiting(1_500))
    many, decided = calls(many_waiting(15_000))
    assert many < 12 * few
    assert sorted(each.id for each in decided if each.verdict is Verdict.ADMIT) == [f"{number:032x}" for number in range(240)]
