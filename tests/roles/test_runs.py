"""The plan for one run, as a table of sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored
from dyff.consumers.orchestrator import runs
from dyff.entities import custom_resource, registry
from dyff.kernel import clock
from dyff.kernel.positions import Position
from tests.narrowing import sure
from tests.roles import world

ID = world.an_id(1)
NOW = datetime(2026, 11, 3, 13, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT = Position("log", 0, 7)


def folded(status, *, make=world.an_evaluation, ended_s=0, **fields):
    """The entity as mirrored; `ended_s`: seconds since its last transition."""
    entity = make(ID, status, lastTransitionTime=clock.iso(NOW - timedelta(seconds=ended_s)), **fields)
    return Mirrored(entity, AT, AT)


def a_resource(*, deleting=False, finalizers=(custom_resource.FINALIZER,), condition=None):
    """The custom resource in the cluster."""
    resource = registry.resource_for(world.an_evaluation(ID))
    resource["metadata"] |= {"uid": "uid", "resourceVersion": "5", "finalizers": list(finalizers)}
    if deleting:
        resource["metadata"]["deletionTimestamp"] = "2026-11-03T13:00:00Z"
    if condition:
        resource["status"] = {"conditions": [{"type": condition, "status": "True"}]}
    return resource


def a_run(mirrored, resource=None, *, active=False, kind="Evaluation", suspended=False):
    return runs.Run(kind, ID, mirrored, resource, active, suspended)


def says(status, reason=None):
    """A change to this status, decided on what was folded."""
    return lambda action: (
        isinstance(action, outcomes.Change)
        and (action.id, action.decided_on, action.status, action.reason) == (ID, AT.text(), status, reason)
    )


def does(action_type, /, **fields):
    """Something is done in the cluster."""
    return lambda action: type(action) is action_type and all(getattr(action, name) == value for name, value in fields.items())


def waits(action):
    """Nothing is done now."""
    return action is None


DELETES = does(runs.Delete, kind="Evaluation", name=f"eval-{ID}", uid="uid")
RELEASES = does(runs.Release, name=f"eval-{ID}", id=ID, resource_version="5", finalizers=())

CASES = {
    "what waits for admission has no run": (a_run(folded("Created")), waits),
    "what is reserved gets its resource": (a_run(folded("Schedulable")), does(runs.Create, kind="Evaluation")),
    "once the resource is there it is admitted": (a_run(folded("Schedulable"), a_resource()), says("Admitted")),
    "what is admitted and there is left alone": (a_run(folded("Admitted"), a_resource(), active=True), waits),
    "a resource that vanished is not created again": (a_run(folded("Admitted")), says("Failed", "Interrupted")),
    "a resource that someone deletes interrupts the run": (
        a_run(folded("Admitted"), a_resource(deleting=True), active=True),
        says("Failed", "Interrupted"),
    ),
    "a resource that is deleted before it was admitted interrupts too": (
        a_run(folded("Schedulable"), a_resource(deleting=True)),
        says("Failed", "Interrupted"),
    ),
    "an interrupted session is an error": (
        a_run(folded("Admitted", make=world.a_session), kind="InferenceSession"),
        says("Error", "Interrupted"),
    ),
    "an entity that cannot be made a resource is a schema error": (
        a_run(folded("Schedulable", inferenceSession={})),
        says("Failed", "SchemaError"),
    ),
    "what ended stays for its logs": (a_run(folded("Complete", ended_s=3599), a_resource(condition="Complete")), waits),
    "what ended long ago is deleted": (a_run(folded("Complete", ended_s=3600), a_resource(condition="Complete")), DELETES),
    "what failed stays as long": (a_run(folded("Failed", ended_s=3599), a_resource(condition="Failed")), waits),
    "what has ended in the log and still runs is deleted at once": (a_run(folded("Failed"), a_resource(), active=True), DELETES),
    "what was terminated is deleted at once": (a_run(folded("Terminated"), a_resource(), active=True), DELETES),
    "what was deleted is deleted at once": (a_run(folded("Deleted"), a_resource()), DELETES),
    "an ended entity without a resource needs nothing": (a_run(folded("Terminated"), active=True), waits),
    "what was let in does not start while its account is suspended": (
        a_run(folded("Schedulable"), suspended=True),
        says("Schedulable", "AccountSuspended"),
    ),
    "and says so once": (a_run(folded("Schedulable", reason="AccountSuspended"), suspended=True), waits),
    "what has been started goes on": (a_run(folded("Schedulable"), a_resource(), suspended=True), says("Admitted")),
    "the finalizer stays while a pod is active": (a_run(folded("Terminated"), a_resource(deleting=True), active=True), waits),
    "the finalizer goes when the pods are gone": (a_run(folded("Terminated"), a_resource(deleting=True)), RELEASES),
    "other finalizers are not ours to remove": (
        a_run(folded("Failed"), a_resource(deleting=True, finalizers=("a", custom_resource.FINALIZER, "b"))),
        does(runs.Release, finalizers=("a", "b")),
    ),
    "without our finalizer there is nothing to remove": (a_run(folded("Failed"), a_resource(deleting=True, finalizers=("a",))), waits),
    "a resource that nobody knows is not touched": (a_run(None, a_resource()), waits),
    "a deleted resource that nobody knows is let go": (a_run(None, a_resource(deleting=True)), RELEASES),
    "but not while its pods run": (a_run(None, a_resource(deleting=True), active=True), waits),
}


@pytest.mark.parametrize(("run", "want"), CASES.values(), ids=CASES)
def test_the_next_action(run, want):
    """The plan does what the case says, and only that."""
    action = runs.plan(run, NOW, HOUR)
    assert want(action), action


QUOTA = {
    "while a pod is active": (a_run(folded("Complete"), a_resource(condition="Complete"), active=True), True),
    "while the operator may still start something": (a_run(folded("Terminated"), a_resource()), True),
    "while it is cleaned up": (a_run(folded("Terminated"), a_resource(deleting=True)), True),
    "not when the run is over and its pods are gone": (a_run(folded("Complete"), a_resource(condition="Complete")), False),
    "not when a failed run's pods are gone": (a_run(folded("Failed"), a_resource(condition="Failed")), False),
    "not when nothing is left": (a_run(folded("Failed")), False),
}


@pytest.mark.parametrize(("run", "want"), QUOTA.values(), ids=QUOTA)
def test_an_ended_run_holds_its_quota(run, want):
    """Quota is given back when nothing of the run can be running, not when a status says so."""
    assert runs.holds_quota(run) is want


def test_creating_says_how_it_goes_on():
    """The plan to create has the whole resource, and both ways in which it can end, decided on the same status."""
    action = runs.plan(a_run(folded("Schedulable")), NOW, HOUR)
    assert isinstance(action, runs.Create)
    assert action.resource == registry.resource_for(world.an_evaluation(ID))
    assert says("Admitted")(action.done)
    assert says("Error", "AdmissionFailed")(action.refused)


def test_a_schema_error_names_the_field():
    """The message of a schema error says which field is missing."""
    action = runs.plan(a_run(folded("Schedulable", inferenceSession={})), NOW, HOUR)
    assert isinstance(action, outcomes.Change)
    assert "inferenceService" in sure(action.message)
