from __future__ import annotations

import contextlib

import anyio
import pytest

from dyff.api import probing
from dyff.kernel import clock, degradation, errors, liveness, settings
from dyff.serve import supervisor
from dyff.serve.health import Phase
from tests import waiting


def a_supervisor(*roles: supervisor.Role, **limits) -> supervisor.Supervisor:
    return supervisor.Supervisor(roles, settings.Supervision(**limits), clock.SystemClock())


def a_role(name: str, stage: int, journal: list[str]) -> supervisor.Role:
    async def run(task_status, signs):
        journal.append(f"start {name}")
        try:
            task_status.started()
            await anyio.sleep_forever()
        finally:
            journal.append(f"stop {name}")

    return supervisor.Role(name, stage, run)


async def run_until_ready_then_stop(subject: supervisor.Supervisor) -> None:
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        subject.stop()


async def test_stages_start_in_order_and_stop_in_reverse():
    """A stage starts when the one below it is ready, and stops before it."""
    journal: list[str] = []
    subject = a_supervisor(*[a_role(f"s{stage}", stage, journal) for stage in (2, 0, 1)])
    await run_until_ready_then_stop(subject)
    assert journal == ["start s0", "start s1", "start s2", "stop s2", "stop s1", "stop s0"]


async def test_a_failed_role_restarts_while_its_sibling_goes_on():
    """A failure is answered by a restart of that role alone, and is in the health report until it is ready again."""
    starts: list[str] = []
    recovered = anyio.Event()

    async def flaky(task_status, signs):
        starts.append("flaky")
        if len(starts) == 1:
            raise errors.Unavailable("the broker is away")
        task_status.started()
        recovered.set()
        await anyio.sleep_forever()

    journal: list[str] = []
    subject = a_supervisor(supervisor.Role("flaky", 0, flaky), a_role("steady", 0, journal))
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        await recovered.wait()
        report = subject.health.report()["roles"]
        assert report["flaky"] == {**report["flaky"], "phase": Phase.READY, "failures": 1, "problem": None}
        assert journal == ["start steady"]
        subject.stop()


async def test_a_role_that_returns_unasked_is_a_failure():
    """An early return counts as a failure, and too many of them end the process with the reason."""

    async def short(task_status, signs):
        task_status.started()

    subject = a_supervisor(supervisor.Role("short", 0, short), max_failures=1)
    with pytest.raises(supervisor.RoleGaveUp, match="short gave up: the role returned without being asked"):
        await subject.run()


async def test_a_fatal_error_is_not_repeated():
    """What a person must fix ends the process the first time."""
    starts = []

    async def broken(task_status, signs):
        starts.append(1)
        raise errors.LogDiverged

    with pytest.raises(supervisor.RoleGaveUp, match="not the one that the state was folded from"):
        await a_supervisor(supervisor.Role("broken", 0, broken)).run()
    assert starts == [1]


async def test_a_failure_inside_a_roles_task_group_is_named():
    """The cause inside an exception group is what the report says."""

    async def grouped(task_status, signs):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            raise errors.Misconfigured("the port is taken")

    with pytest.raises(supervisor.RoleGaveUp, match="grouped gave up: the port is taken"):
        await a_supervisor(supervisor.Role("grouped", 0, grouped)).run()


async def test_a_stop_during_start_ends_in_order():
    """A request to stop before everything is ready is not an error."""
    journal: list[str] = []

    async def slow(task_status, signs):
        await anyio.sleep_forever()

    subject = a_supervisor(a_role("first", 0, journal), supervisor.Role("slow", 1, slow), a_role("last", 2, journal))
    async with anyio.create_task_group() as group:
        group.start_soon(subject.run)
        while "start first" not in journal:
            await waiting.a_moment()
        subject.stop()
    assert journal == ["start first", "stop first"]


async def test_a_role_may_answer_its_cancellation_by_a_return():
    """A role that ends its work under a shield and then returns has not failed."""

    async def gentle(task_status, signs):
        task_status.started()
        with contextlib.suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()

    subject = a_supervisor(supervisor.Role("gentle", 0, gentle), max_failures=1)
    await run_until_ready_then_stop(subject)
    assert subject.health.report()["roles"]["gentle"]["failures"] == 0


def failing(problem: Exception, starts: list[str], *, before: int, ready: bool = True) -> supervisor.Role:
    """A role whose first `before` starts end with `problem`, after it was ready if `ready`."""

    async def run(task_status, signs):
        starts.append("start")
        if ready or len(starts) > before:
            task_status.started()
        if len(starts) <= before:
            raise type(problem)(*problem.args)
        await anyio.sleep_forever()

    return supervisor.Role("worker", 0, run)


@pytest.mark.virtual_time
@pytest.mark.parametrize("problem", [errors.Unavailable("the disk is full"), errors.Misconfigured("refused"), OSError("no space")])
async def test_an_outage_never_ends_a_running_server(problem):
    """However often a role fails because of something outside, it is started again, ever more rarely."""
    starts: list[str] = []
    subject = a_supervisor(failing(problem, starts, before=30), max_failures=5)
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        await anyio.sleep(600)
        assert len(starts) == 31
        assert subject.health.is_ready
        subject.stop()


@pytest.mark.virtual_time
async def test_a_role_that_waits_for_a_reported_trouble_is_not_stuck():
    """It has work and does nothing, since it waits for space: it is restarted only when it still does nothing after that."""
    starts: list[str] = []
    troubles = degradation.Troubles()

    async def run(task_status, signs):
        starts.append("start")

        async def read():
            return [liveness.Sign("topic", "3 behind")]

        signs.add(read)
        task_status.started()
        await anyio.sleep_forever()

    limits = settings.Supervision(stuck_s=40.0)
    subject = supervisor.Supervisor([supervisor.Role("waits", 0, run)], limits, clock.SystemClock(), troubles)
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        troubles.report("space for the log", "the disk is full", blocks=True)
        await anyio.sleep(600)
        assert (starts, subject.health.report()["status"]) == (["start"], "degraded")
        troubles.clear("space for the log")
        await anyio.sleep(50)
        assert len(starts) == 2
        subject.stop()


async def test_wrong_settings_end_a_server_that_is_just_starting():
    """Before a role was ever ready, a person waits for the answer."""
    with pytest.raises(supervisor.RoleGaveUp, match="worker gave up: refused"):
        await a_supervisor(failing(errors.Misconfigured("refused"), [], before=9, ready=False)).run()


async def test_what_makes_serving_wrong_ends_a_running_server():
    """A log that lost its end is not served on."""
    with pytest.raises(supervisor.RoleGaveUp, match="lost its end"):
        await a_supervisor(failing(errors.LogDiverged("it lost its end"), [], before=9)).run()


async def test_a_degraded_process_says_why_and_is_ready():
    """Troubles are in the report with their reasons, and do not make a serving process unready."""
    troubles = degradation.Troubles()
    subject = supervisor.Supervisor([a_role("steady", 0, [])], settings.Supervision(), clock.SystemClock(), troubles)
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        assert subject.health.report()["status"] == "ok"
        troubles.report("sweep", "the store refuses deletes")
        report = subject.health.report()
        assert report["status"] == "degraded"
        assert [(each["name"], each["reason"]) for each in report["degraded"]] == [("sweep", "the store refuses deletes")]
        assert probing.ready(report) == 200
        troubles.clear("sweep")
        assert subject.health.report()["status"] == "ok"
        subject.stop()
