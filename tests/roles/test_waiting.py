"""What runs wait for: reported soon, in words, and at a bounded rate."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dyff.consumers import informer, waiting
from dyff.consumers.common import custom_resources
from dyff.consumers.common.mirror import Mirrored
from dyff.entities import registry
from dyff.kernel.positions import Position
from tests.roles import world

ID = world.an_id(1)


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.s = 0.0

    def monotonic(self):
        return self.s


class Run:
    """An evaluation that is admitted, and its custom resource."""

    def __init__(self):
        self.time = Time()
        time: Any = self.time
        self.subject = waiting.Waiting(time)
        self.entity = world.an_evaluation(ID, "Admitted")

    def look(self, reason="Starting", message="pod p: Unschedulable", status="False"):
        """One pass; returns what is reported, which the entity then has."""
        conditions = [{"type": "Complete", "status": status, "reason": reason, "message": message}]
        position = Position("e", 0, 0)
        nothing: dict[str, Any] = {each.name: None for each in msgspec.structs.fields(Mirrored)}
        mirrored = Mirrored(**nothing)
        mirrored = msgspec.structs.replace(mirrored, entity=self.entity, status_source=position)
        found = list(waiting.changes(self.subject, iter([(mirrored, {"status": {"conditions": conditions}})])))
        for each in found:
            self.entity = {**self.entity, "reason": each.reason, "message": each.message}
        return [(each.status, each.reason, each.message) for each in found]


def test_a_state_that_lasts_is_reported_once():
    """Not at once, because most runs start in a moment; then within seconds, and not again."""
    run = Run()
    assert run.look() == []
    run.time.s += run.subject.next_s(30.0)
    assert run.time.s <= 3.0
    assert run.look() == [("Admitted", "Starting", "pod p: Unschedulable")]
    assert run.subject.next_s(30.0) == 30.0
    run.time.s += 1000
    assert run.look() == []


def test_a_run_that_starts_at_once_causes_no_report():
    """Its states pass faster than they are reported."""
    run = Run()
    assert run.look("WaitingForSession") == []
    run.time.s += waiting.SETTLED_S / 2
    assert run.look(status="True") == []
    run.time.s += 100
    assert run.look(status="True") == []


def test_what_changes_all_the_time_is_reported_at_a_bounded_rate():
    """An hour of retries, with another message each second, causes about one report a minute."""
    run, reports = Run(), 0
    for second in range(3600):
        run.time.s += 1
        reports += len(run.look("Inference", f"trying again, {second}"))
    assert 60 <= reports <= waiting.REPORTS_AT_ONCE + 3600 / waiting.REPORT_EVERY_S + 1
    assert len(run.subject._runs) == 1
    list(waiting.changes(run.subject, iter([])))
    assert run.subject._runs == {}


def test_a_long_message_is_cut():
    """The log is not the place for a kilobyte of an answer."""
    run = Run()
    run.look("Inference", "x" * 100_000)
    run.time.s += 10
    ((_, _, message),) = run.look("Inference", "x" * 100_000)
    assert len(message) < waiting.REPORT_CHARS + 10


@pytest.mark.parametrize("status", ["Created", "Schedulable", "Complete", "Deleted"])
def test_only_what_is_admitted_is_reported(status):
    """Before that, the orchestrator says what it waits for; after the end, nothing is waited for."""
    run = Run()
    run.entity = {**run.entity, "status": status}
    run.look()
    run.time.s += 10
    assert run.look() == []


async def test_the_informer_reports_what_a_run_waits_for(tmp_path, monkeypatch):
    """Reason and message of the custom resource become those of the entity, and its end still counts."""
    monkeypatch.setattr(waiting, "SETTLED_S", 0.0)
    async with world.installation(tmp_path) as here:
        await here.create(world.an_evaluation(ID, "Admitted"))
        await here.cluster.create(custom_resources.KINDS["Evaluation"], registry.resource_for(world.an_evaluation(ID)))
        async with world.running(informer, here.bus, here.cluster, clock=here.clock):
            await here.set_condition("Evaluation", ID, "Complete", "WaitingForSession", "no node has a GPU", status="False")
            await here.until_status(ID, "Admitted", "WaitingForSession")
            assert here.folded.get(ID).entity["message"] == "no node has a GPU"
            await here.set_condition("Evaluation", ID, "Complete")
            await here.until_status(ID, "Complete", None)
