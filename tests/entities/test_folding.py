"""What each command does. Pure, so everything here is a table."""

from __future__ import annotations

import pytest

from dyff.entities import commands, statuses
from dyff.entities.folding import Outcome
from tests.entities.history import APPLIED, FINAL_WHEN_DELETED, INVALID, an_entity, at, create, edit, folded, forget, restore, status

pytestmark = pytest.mark.usefixtures("every_version")


def test_a_created_entity_is_the_commands_data(every_version):
    """The whole object is kept, also what the fold does not know, and says where it came from."""
    state, outcome = folded(create())
    assert outcome is Outcome.APPLIED
    assert state.entity == an_entity()
    assert (state.kind, state.source, state.status_source) == ("Evaluation", at(10), at(10))
    assert (state.event_id, state.previous, state.fold_version) == ("create", "", every_version)
    assert list(state.recent) == (["create"] if every_version == 1 else [])


@pytest.mark.parametrize(("command", "want"), APPLIED.values(), ids=APPLIED)
def test_edits_change_what_they_name(command, want):
    """An edit changes its fields as a JSON Merge Patch (None here: gone), and nothing else."""
    before = an_entity(reason="old", message="old")
    state, outcome = folded(create(**before), command)
    assert outcome is Outcome.APPLIED
    assert state.entity == {key: value for key, value in {**before, **want}.items() if value is not None}


def test_documentation_keeps_what_it_does_not_name():
    """Later texts join earlier ones, and other metadata stays."""
    first = edit(commands.EDIT_DOCUMENTATION, {"documentation": {"title": "T", "summary": "S"}}, "1")
    second = edit(commands.EDIT_DOCUMENTATION, {"documentation": {"title": None, "fullPage": "P"}}, "2")
    state, _ = folded(create(metadata={"preconditions": []}), first, second)
    assert state.entity["metadata"] == {"preconditions": [], "documentation": {"summary": "S", "fullPage": "P"}}


TERMINAL = sorted(statuses.TERMINAL - {statuses.DELETED})


@pytest.mark.parametrize("old", TERMINAL)
@pytest.mark.parametrize("new", ["Created", "Admitted", "Complete", "Failed", "Terminated", "Ready"])
def test_terminal_is_final(old, new):
    """No status follows a terminal one, not even the same with another reason."""
    state, outcome = folded(create(status=old, reason="r"), status(new, reason="late"))
    assert outcome is Outcome.FINAL
    assert (state.entity["status"], state.entity["reason"]) == (old, "r")


@pytest.mark.parametrize("old", [*TERMINAL, "Created", "Admitted", "WaitingForUpload"])
def test_everything_can_be_deleted(old):
    """`Deleted` follows every status."""
    state, outcome = folded(create(status=old), status("Deleted", reason="DeleteCommand"))
    assert outcome is Outcome.APPLIED
    assert state.entity["status"] == "Deleted"


@pytest.mark.parametrize("command", FINAL_WHEN_DELETED.values(), ids=FINAL_WHEN_DELETED)
def test_deleted_stays_deleted(command):
    """A deleted entity is not changed by any edit."""
    state, outcome = folded(create(status="Deleted", reason="r"), command)
    assert outcome is Outcome.FINAL
    assert state.entity == an_entity(status="Deleted", reason="r")


def test_labels_of_an_ended_entity_can_change():
    """A terminal status protects the status, not the labels and texts."""
    state, outcome = folded(create(status="Complete"), edit(commands.EDIT_LABELS, {"labels": {"b": "2"}}))
    assert outcome is Outcome.APPLIED
    assert state.entity["labels"] == {"a": "1", "b": "2"}


def test_only_the_deleted_is_forgotten():
    """`ForgetEntity` leaves nothing of a deleted entity, and does nothing to one that was restored meanwhile."""
    state, outcome = folded(create(status="Complete"), forget())
    assert (outcome, state.entity) == (Outcome.FINAL, an_entity(status="Complete"))
    state, outcome = folded(create(status="Deleted"), forget())
    assert (outcome, state.entity, state.value(), state.kind) == (Outcome.APPLIED, None, None, "Evaluation")


def test_the_forgotten_does_not_come_back():
    """After forgetting, neither a new creation nor an edit brings anything back; the positions move on."""
    state, outcome = folded(create(status="Deleted"), forget(), create("again"))
    assert (outcome, state.entity, state.source) == (Outcome.REPEATED, None, at(12))
    state, outcome = folded(create(status="Deleted"), forget(), status("Ready"))
    assert (outcome, state.entity, state.source) == (Outcome.UNKNOWN_ENTITY, None, at(12))


RESTORED = {
    "without conditions": ({}, {}, Outcome.APPLIED),
    "the meant revision": ({"revision": "r1"}, {"ifRevisionMatch": "r1"}, Outcome.APPLIED),
    "another revision": ({"revision": "r2"}, {"ifRevisionMatch": "r1"}, Outcome.MOVED),
    "no revision, but one was meant": ({}, {"ifRevisionMatch": "r1"}, Outcome.MOVED),
    "no revision, which is allowed": ({}, {"ifRevisionMatch": "r1", "ifRevisionUndefined": True}, Outcome.APPLIED),
    "a revision, none was meant": ({"revision": "r2"}, {}, Outcome.APPLIED),
}


@pytest.mark.parametrize(("metadata", "conditions", "want"), RESTORED.values(), ids=RESTORED)
def test_restoring_leaves_even_deletion(metadata, conditions, want):
    """`RestoreEntity` puts the whole object back, whatever the status, if the revision is the one that was meant."""
    before = an_entity(status="Deleted", metadata=metadata)
    wanted = an_entity(status="Ready", labels={"restored": "1"})
    state, outcome = folded(create(status="Deleted", metadata=metadata), restore(wanted, **conditions))
    assert outcome is want
    assert state.entity == (wanted if want is Outcome.APPLIED else before)


@pytest.mark.parametrize("command", INVALID.values(), ids=INVALID)
def test_what_makes_no_sense_changes_nothing(command):
    """A command that cannot be done is passed over, and the position moves on."""
    state, outcome = folded(create(), command)
    assert outcome is Outcome.INVALID
    assert (state.entity, state.source, state.event_id) == (an_entity(), at(11), command.id)


def test_an_unknown_command_changes_nothing():
    """What a later release adds is passed over by this one."""
    state, outcome = folded(create(), edit("EditWhatNoReleaseHas", {"members": {}}))
    assert (outcome, state.entity, state.source) == (Outcome.UNKNOWN_COMMAND, an_entity(), at(11))


def test_an_edit_of_nothing_leaves_nothing():
    """An edit of an entity that does not exist makes none."""
    assert folded(status("Ready")) == (None, Outcome.UNKNOWN_ENTITY)
