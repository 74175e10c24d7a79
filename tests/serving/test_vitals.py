"""The metrics of a process: its roles and their signs, restarts, troubles, losses, its disk."""

from __future__ import annotations

import anyio
import pytest

from dyff.kernel import clock, degradation, errors, lines, liveness, settings
from dyff.kernel.telemetry import metrics, names
from dyff.serve import outputs, space, supervisor, vitals, watchdog
from tests.telemetry.scraped import scrape


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch):
    """No scrape gets the answer of the one before."""
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)


class Output:
    """An output that has lost so many lines."""

    def __init__(self) -> None:
        self.lost = 0

    def look(self) -> lines.State:
        return lines.State(self.lost, None)


class Process:
    """A supervisor with one role, whose `run` a test chooses."""

    def __init__(self, run, **limits):
        self.measured, self.troubles = metrics.Metrics(), degradation.Troubles()
        role = supervisor.Role("worker", 0, run)
        self.subject = supervisor.Supervisor([role], settings.Supervision(**limits), clock.SystemClock(), self.troubles, self.measured)
        self.lost = {outputs.LOG: Output(), outputs.AUDIT: Output(), outputs.TRACES: Output()}
        self.outputs = outputs.Outputs(self.lost[outputs.LOG], self.lost[outputs.AUDIT], self.troubles, self.lost[outputs.TRACES])
        self.vitals = vitals.Vitals(self.measured, self.subject.health, self.troubles, self.outputs.lost)

    async def scrape(self):
        return await scrape(self.measured)


async def a_partition(task_status, signs: liveness.Signs, ahead: int = 7):
    """A role that consumes a partition and is behind."""

    async def read():
        return [liveness.behind("events/3", "events", 3, 10, 10 + ahead), liveness.Sign("rounds", None, 1)]

    signs.add(read)
    task_status.started()
    await anyio.sleep_forever()


async def test_the_signs_of_a_role_are_gauges_while_it_runs():
    """Whether there is work, and how far behind a partition is; nothing is left when the role has ended."""
    process = Process(a_partition)
    with process.vitals.shown():
        async with anyio.create_task_group() as group:
            await group.start(process.subject.run)
            found = await process.scrape()
            assert found.value(names.LAG, role="worker", topic="events", partition="3") == 7
            assert found.value(names.SIGN_WAITING, role="worker", sign="events/3") == 1
            assert found.value(names.SIGN_WAITING, role="worker", sign="rounds") == 0
            assert found.value(names.SIGN_STALLED, role="worker", sign="events/3") == 0
            assert found.value(names.PHASE, role="worker", phase="ready") == 1
            process.subject.stop()
        found = await process.scrape()
        assert found.all(names.LAG) == found.all(names.SIGN_WAITING) == found.all(names.SIGN_STALLED) == {}
        assert {dict(labels)["phase"]: value for labels, value in found.all(names.PHASE).items() if value} == {"stopped": 1}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errors.Unavailable(), "outage"),
        (OSError(), "outage"),
        (RuntimeError(), "fault"),
        (errors.Fenced(), "fault"),
        (errors.Stuck(), "stuck"),
    ],
)
async def test_a_restart_is_counted_with_its_cause(error, cause):
    """Every cause is there from the start, so that the first restart is an increase; a role that restarts has its signs once."""
    runs = []

    async def run(task_status, signs):
        runs.append(1)
        if len(runs) == 1:
            raise error
        await a_partition(task_status, signs)

    process = Process(run)
    with process.vitals.shown():
        async with anyio.create_task_group() as group:
            group.start_soon(process.subject.run)
            await anyio.sleep(0)
            await process.subject.health.wait_ready()
            found = await process.scrape()
            process.subject.stop()
    counts = {dict(labels)["cause"]: value for labels, value in found.all(names.RESTARTS, role="worker").items()}
    assert counts == {"stuck": 0, "outage": 0, "fault": 0, cause: 1}
    assert found.value(names.LAG, role="worker", topic="events", partition="3") == 7


async def test_how_long_nothing_moves_is_what_the_watchdog_counts():
    """Also if the signs themselves cannot be read, which the scrape survives."""

    async def fail():
        raise errors.Unavailable

    signs, measured = liveness.Signs(), metrics.Metrics()
    signs.add(fail)
    subject = vitals.RoleSigns("sink", signs)
    subject.judged = watchdog.unreadable(watchdog.unreadable({}, "no answer", 5.0), "no answer", 5.0)
    with subject.shown(measured):
        found = await scrape(measured)
    assert found.value(names.SIGN_STALLED, role="sink", sign="its signs of life") == 5
    assert found.value(names.SCRAPE_ERRORS, reader="signs of sink") == 1


async def test_troubles_and_losses_are_shown(monkeypatch):
    """Each trouble by its name while it lasts, at most so many; what each output lost, traces among them, as counters."""
    monkeypatch.setattr(names, "MAX_TROUBLES", 2)
    process = Process(a_partition)
    with process.vitals.shown():
        assert (await process.scrape()).types[names.TROUBLE] == "gauge"
        for name in ("topics", "clock", "quarantine"):
            process.troubles.report(name, "why")
        process.lost[outputs.AUDIT].lost = 3
        process.lost[outputs.TRACES].lost = 5
        await process.outputs.look()
        found = await process.scrape()
        assert found.all(names.TROUBLE) == {frozenset({("trouble", each)}): 1 for each in ("clock", "quarantine", "other")}
        lost = {dict(labels)["output"]: value for labels, value in found.all(names.LOST_LINES).items()}
        assert lost == {"log": 0, "audit": 3, "traces": 5}
        assert found.all(names.SCRAPE_ERRORS) == {}
        assert found.types[names.LOST_LINES] == "counter"
        process.troubles.clear("clock")
        found = await process.scrape()
        assert {dict(labels)["trouble"] for labels in found.all(names.TROUBLE)} == {"topics", "quarantine"}


async def test_the_disk_and_the_log_are_measured(tmp_path):
    """With the file that the log appends to first; a log that is not there yet has no bytes."""
    process = Process(a_partition)
    log = tmp_path / "bus.sqlite"
    subject = vitals.Vitals(
        process.measured, process.subject.health, process.troubles, dict, disk=space.Space(tmp_path, 0, process.troubles), log=log
    )
    with subject.shown():
        assert (await process.scrape()).value(names.LOG_BYTES) == 0
        log.write_bytes(b"x" * 1000)
        log.with_name("bus.sqlite-wal").write_bytes(b"x" * 10)
        found = await process.scrape()
        assert found.value(names.LOG_BYTES) == 1010
        assert 0 < found.value(names.DISK_FREE) <= found.value(names.DISK_SIZE)
        assert found.value(names.DISK_FULL) == 0
    assert names.DISK_FREE not in (await process.scrape()).types


@pytest.mark.virtual_time
async def test_a_late_event_loop_is_observed():
    """A timer that was on time is in the first bucket."""
    process = Process(a_partition)
    async with anyio.create_task_group() as group:
        group.start_soon(process.vitals.watch_delays)
        await anyio.sleep(10.5)
        group.cancel_scope.cancel()
    (series,) = process.measured.histogram(names.LOOP_DELAY).series.values()
    assert (sum(series.counts), series.counts[0]) == (10, 10)
