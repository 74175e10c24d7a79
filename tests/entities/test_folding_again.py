"""The fold drops what is repeated, late, or decided on something old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dyff.entities import commands, folding
from dyff.entities.folding import Outcome
from dyff.kernel import errors
from tests.entities.history import ID, LIFE, NOW, an_entity, at, create, edit, event, folded, restore, status
from tests.narrowing import sure


def test_an_entity_is_created_once():
    """A second creation, even by another command, changes nothing."""
    state, outcome = folded(create(), create("other", labels={"changed": "1"}))
    assert (outcome, state.entity) == (Outcome.REPEATED, an_entity())


def test_a_repeated_command_is_done_once():
    """The same command ID at a later offset is dropped, whatever came between."""
    add = edit(commands.EDIT_LABELS, {"labels": {"x": "1"}}, "add")
    remove = edit(commands.EDIT_LABELS, {"labels": {"x": None}}, "remove")
    state, outcome = folded(create(), add, remove, add)
    assert outcome is Outcome.REPEATED
    assert state.entity["labels"] == {"a": "1"}
    assert state.source == at(13)


def test_a_late_command_is_dropped():
    """A command that the log took after its expiry has no effect, neither on a new nor on a known entity."""
    assert folding.fold(None, event(create(), 1, LIFE + timedelta(seconds=1)), 1) == (None, Outcome.EXPIRED)
    state, _ = folded(create())
    after, outcome = folding.fold(state, event(status("Ready"), 11, LIFE + timedelta(seconds=1)), 1)
    assert (outcome, sure(after).entity, sure(after).source) == (Outcome.EXPIRED, an_entity(), at(11))
    assert "status" not in sure(after).recent
    assert folding.fold(state, event(status("Ready"), 11, LIFE), 1)[1] is Outcome.APPLIED


def test_recent_ids_are_forgotten_in_time():
    """IDs travel with the state while a repetition could still be valid, also after a clock was set back an hour, then go."""
    state, _ = folded(create())
    for hours, want in ((1, True), (2, False)):
        later = edit(commands.EDIT_LABELS, {"labels": {}}, f"later-{hours}", time=NOW + timedelta(hours=hours))
        state, _ = folding.fold(state, event(later, 10 + hours), 1)
        assert ("create" in sure(state).recent) is want
        assert later.id in sure(state).recent


def test_a_clock_that_was_set_back_repeats_nothing():
    """A repetition is recognised although events with a later log time were folded before it."""
    add = edit(commands.EDIT_LABELS, {"labels": {"x": "1"}}, "add")
    ahead = edit(commands.EDIT_LABELS, {"labels": {"x": None}}, "ahead", time=NOW + timedelta(minutes=50))
    state, outcome = folded(create(), add, ahead, add)
    assert outcome is Outcome.REPEATED
    assert "x" not in state.entity["labels"]


def test_a_redelivered_event_is_ignored():
    """At or below the recorded position nothing happens, and the very same state is returned."""
    state, _ = folded(create(), status("Admitted"))
    for offset in (0, 10, 11):
        assert folding.fold(state, event(status("Failed", "other"), offset), 1) == (state, Outcome.REDELIVERED)
    assert folding.fold(state, event(status("Failed", "other"), 12), 1)[1] is Outcome.APPLIED


@pytest.mark.parametrize("position", [at(99, epoch="other"), at(99, partition=1), at(0, epoch="other")])
def test_positions_of_different_logs_are_never_compared(position):
    """An event of another log or partition is an error, not older or newer."""
    state, _ = folded(create())
    with pytest.raises(errors.LogDiverged, match=ID):
        folding.fold(state, folding.Event(status("Ready"), position, NOW), 1)


def test_a_decision_on_an_old_status_is_dropped():
    """A controller's command has effect only while the status that it was decided on is the present one."""
    state, _ = folded(create())
    decided = state.status_source.text()
    state, outcome = folding.fold(state, event(status("Admitted", "1", decided_on=decided), 11), 1)
    assert outcome is Outcome.APPLIED
    state, outcome = folding.fold(state, event(status("Failed", "2", decided_on=decided), 12), 1)
    assert (outcome, sure(sure(state).entity)["status"]) == (Outcome.MOVED, "Admitted")
    state, outcome = folding.fold(state, event(status("Failed", "3", decided_on=at(11).text()), 13), 1)
    assert (outcome, sure(sure(state).entity)["status"]) == (Outcome.APPLIED, "Failed")


STATUS_POSITION = {
    "another status": (status("Admitted"), True),
    "another reason": (status("Created", reason="QuotaLimit"), True),
    "another message": (status("Created", message="waits"), True),
    "the same again": (status("Created"), False),
    "labels": (edit(commands.EDIT_LABELS, {"labels": {"z": "1"}}), False),
    "a dropped command": (status("Ready", kind="Model"), False),
    "restoring another status": (restore(an_entity(status="Ready")), True),
}


@pytest.mark.parametrize(("command", "moves"), STATUS_POSITION.values(), ids=STATUS_POSITION)
def test_the_status_position_moves_with_the_status(command, moves):
    """Only a change of status, reason or message moves what controllers decide on."""
    state, _ = folded(create(), command)
    assert state.status_source == (at(11) if moves else at(10))


def test_a_late_admitted_cannot_follow_a_failed():
    """The run that the design warns of: decided while it waited, folded after it failed."""
    state, _ = folded(create())
    decided = state.status_source.text()
    state, _ = folding.fold(state, event(status("Failed", "fails"), 11), 1)
    state, outcome = folding.fold(state, event(status("Admitted", "late", decided_on=decided), 12), 1)
    assert (outcome, sure(sure(state).entity)["status"]) == (Outcome.MOVED, "Failed")
