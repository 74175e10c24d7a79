"""What stands still, as a table of histories; and what a supervisor does about it, in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from dyff.kernel import errors, liveness, settings
from dyff.serve import supervisor, watchdog
from dyff.serve.health import Phase

LIMIT_S = 40.0


def behind(count, mark, name="topic/0"):
    return liveness.Sign(name, f"{count} behind" if count else None, mark)


HISTORIES: dict[str, tuple[list[Any], str | None]] = {
    "nothing waits": ([[behind(0, 1)]] * 9, None),
    "it makes progress": ([[behind(9 - n, n)] for n in range(9)], None),
    "it makes progress more slowly than others publish": ([[behind(9 + n, n)] for n in range(9)], None),
    "it stands still for too short": ([[behind(3, 7)]] * 4, None),
    "it stands still for too long": ([[behind(3, 7)]] * 5, "topic/0: 3 behind, and nothing has moved for 40 s"),
    "more and more waits": ([[behind(n, 7)] for n in range(1, 6)], "topic/0: 5 behind, and nothing has moved for 40 s"),
    "it stood still and continued": ([[behind(3, 7)]] * 5 + [[behind(2, 8)]], None),
    "nothing waits any more": ([[behind(3, 7)]] * 5 + [[behind(0, 7)]], None),
    "what comes after a pause is counted from then": ([[behind(1, 7)]] * 4 + [[behind(0, 7)]] + [[behind(1, 7)]] * 4, None),
    "one of several stands still": (
        [[behind(3, 7), behind(3, n, "topic/1"), behind(0, 0, "topic/2")] for n in range(5)],
        "topic/0: 3 behind, and nothing has moved for 40 s",
    ),
    "two stand still": (
        [[behind(3, 7), behind(4, 7, "topic/1")]] * 6,
        "topic/0: 3 behind, and nothing has moved for 50 s; topic/1: 4 behind, and nothing has moved for 50 s",
    ),
    "the partition is another's now": ([[behind(3, 7)]] * 5 + [[]], None),
    "the signs cannot be read": ([None] * 5, "its signs of life: no answer, and nothing has moved for 40 s"),
    "the signs can be read again": ([None] * 5 + [[behind(0, 1)]], None),
    "what stands still does so while the signs cannot be read": (
        [[behind(3, 7)]] + [None] * 4,
        "topic/0: 3 behind, and nothing has moved for 40 s",
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_what_stands_still(name):
    """The case's name is the rule; ten seconds from look to look, None: no answer."""
    history, want = HISTORIES[name]
    judged: dict[Any, Any] = {}
    for signs in history:
        judged = watchdog.unreadable(judged, "no answer", 10) if signs is None else watchdog.judge(judged, signs, 10)
    assert watchdog.problem(judged, LIMIT_S) == want


class LoopClock:
    """The event loop's time."""

    def now(self):
        return datetime(2026, 11, 3, tzinfo=UTC) + timedelta(seconds=anyio.current_time())

    def monotonic(self):
        return anyio.current_time()


class Worker:
    """A role with a queue: `progresses` says, for each start, whether anything is done about it."""

    def __init__(self, *progresses, waiting=1):
        self.progresses, self.waiting = list(progresses), waiting
        self.starts, self.done = 0, 0

    async def run(self, task_status, signs):
        self.starts += 1
        progresses = self.progresses.pop(0) if self.progresses else True

        async def read():
            return [liveness.Sign("queue", f"{self.waiting} waiting" if self.waiting else None, self.done)]

        signs.add(read)
        task_status.started()
        while True:
            # virtual time: those who use it are marked
            await anyio.sleep(4)
            self.done += progresses


def supervised(*workers, **limits):
    roles = [supervisor.Role(f"role-{number}", 0, each.run) for number, each in enumerate(workers)]
    return supervisor.Supervisor(roles, settings.Supervision(**limits), LoopClock())


async def after(subject, *moments):
    """The reports at these seconds, then an orderly stop."""
    reports = []
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        for moment in moments:
            # virtual time: those who use it are marked
            await anyio.sleep(moment - anyio.current_time())
            reports.append(subject.health.report())
        subject.stop()
    return reports


@pytest.mark.virtual_time
async def test_a_role_that_makes_progress_or_has_nothing_to_do_is_left_alone():
    """For an hour."""
    workers = Worker(True), Worker(False, waiting=0)
    (report,) = await after(supervised(*workers, stuck_s=120.0), 3600)
    assert (report["status"], report["alive"]) == ("ok", True)
    assert [each.starts for each in workers] == [1, 1]


@pytest.mark.virtual_time
async def test_a_stuck_role_is_reported_then_restarted():
    """First `/ready` says what stands still, then the role, and no other, is started again; afterwards all is well."""
    stuck, other = Worker(False), Worker(True)
    early, warned, later = await after(supervised(stuck, other, stuck_s=120.0), 30, 100, 150)
    assert early["status"] == "ok"
    assert warned["status"] == "failing"
    assert warned["roles"]["role-0"]["phase"] == Phase.READY
    assert warned["roles"]["role-0"]["problem"].startswith("queue: 1 waiting, and nothing has moved for ")
    assert warned["roles"]["role-1"]["problem"] is None
    assert (later["status"], later["roles"]["role-0"]["failures"], later["roles"]["role-1"]["failures"]) == ("ok", 1, 0)
    assert (stuck.starts, other.starts) == (2, 1)


@pytest.mark.virtual_time
async def test_a_warning_ends_when_it_makes_progress():
    """What stood still for a while and moves again is no failure."""
    worker = Worker(False)
    subject = supervised(worker, stuck_s=120.0)
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        await anyio.sleep(100)
        assert not subject.health.is_ready
        worker.waiting = 0
        await anyio.sleep(10)
        assert subject.health.is_ready
        subject.stop()
    assert worker.starts == 1


@pytest.mark.virtual_time
async def test_a_role_that_is_stuck_again_and_again_gives_up():
    """Each time counts as a failure, however long it takes to see, and too many end the process with the reason."""
    worker = Worker(*[False] * 10)
    with pytest.raises(supervisor.RoleGaveUp, match="role-0 gave up: queue: 1 waiting, and nothing has moved for 120 s"):
        await supervised(worker, stuck_s=120.0, max_failures=3, window_s=60.0).run()
    assert worker.starts == 3


@pytest.mark.virtual_time
async def test_a_role_that_is_stuck_now_and_then_goes_on():
    """Failures that are far apart do not add up."""

    class Tiring(Worker):
        async def run(self, task_status, signs):
            with anyio.move_on_after(600):
                await super().run(task_status, signs)
            await anyio.sleep_forever()

    worker = Tiring()
    (report,) = await after(supervised(worker, stuck_s=120.0, max_failures=2, window_s=60.0), 10000)
    assert report["roles"]["role-0"]["failures"] == worker.starts - 1 > 10


@pytest.mark.virtual_time
@pytest.mark.parametrize("trouble", ["hangs", "fails"])
async def test_signs_that_cannot_be_read_are_a_sign(trouble):
    """A role whose backend does not even say how much there is to do is started again, with fresh clients."""
    starts = []

    async def read():
        if trouble == "fails":
            raise errors.Unavailable("the broker does not answer")
        await anyio.sleep_forever()

    async def run(task_status, signs):
        starts.append(anyio.current_time())
        if len(starts) == 1:
            signs.add(read)
        task_status.started()
        await anyio.sleep_forever()

    subject = supervisor.Supervisor([supervisor.Role("role", 0, run)], settings.Supervision(stuck_s=120.0), LoopClock())
    (report,) = await after(subject, 1000)
    assert (report["status"], report["roles"]["role"]["failures"], len(starts)) == ("ok", 1, 2)


@pytest.mark.virtual_time
async def test_a_role_that_cannot_be_stopped_is_reported_to_the_outside():
    """Where the task hangs in its clean-up only a new process helps: `/health` says so."""
    let_go = anyio.Event()

    async def run(task_status, signs):
        await Worker(False).run(task_status, signs)

    async def hanging(task_status, signs):
        try:
            await run(task_status, signs)
        finally:
            with anyio.CancelScope(shield=True):
                await let_go.wait()

    subject = supervisor.Supervisor([supervisor.Role("role", 0, hanging)], settings.Supervision(stuck_s=120.0), LoopClock())
    async with anyio.create_task_group() as group:
        await group.start(subject.run)
        await anyio.sleep(130)
        report = subject.health.report()
        assert (report["alive"], report["status"], report["roles"]["role"]["phase"]) == (True, "failing", Phase.STUCK)
        assert "queue: 1 waiting" in report["roles"]["role"]["problem"]
        await anyio.sleep(60)
        assert subject.health.report()["alive"] is False
        let_go.set()
        await anyio.sleep(1)
        assert subject.health.report()["alive"] is True
        subject.stop()


@pytest.mark.virtual_time
async def test_without_a_limit_nobody_watches():
    """The setting's None means never."""
    worker = Worker(False)
    (report,) = await after(supervised(worker, stuck_s=None), 3600)
    assert (report["status"], worker.starts) == ("ok", 1)


@pytest.mark.parametrize(("name", "value"), [("SUPERVISION__STUCK_S", "0"), ("RETENTION__SWEEP_S", "0"), ("RETENTION__DELETED_DAYS", "-1")])
def test_times_that_would_never_rest_are_refused(name, value):
    """The message names the setting; `null` means never, or for ever."""
    with pytest.raises(errors.Misconfigured, match=name.lower().replace("__", ".")):
        settings.load(environment={f"DYFF_{name}": value})
    if name != "RETENTION__SWEEP_S":
        settings.load(environment={f"DYFF_{name}": "null"})
