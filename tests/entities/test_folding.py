"""The fold: commands to whole entities. Pure, so everything here is a table or a property."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyff.entities import codecs, commands, folding, statuses
from dyff.entities.folding import Outcome
from dyff.kernel import errors
from dyff.kernel.positions import Position

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIFE = timedelta(minutes=10)
ID = "a" * 32


def at(offset, epoch="log", partition=0):
    return Position(epoch, partition, offset)


def event(command, offset, late=timedelta()):
    return folding.Event(command, at(offset), command.time + late)


def an_entity(**fields):
    return {"id": ID, "kind": "Evaluation", "account": "acc", "status": "Created", "labels": {"a": "1"}, "unknown": {"kept": [1]}, **fields}


def create(command_id="create", **fields):
    return commands.create(command_id, an_entity(**fields), time=NOW, expires=NOW + LIFE)


def edit(name, attributes, command_id="edit", kind="Evaluation", time=NOW, decided_on=None):
    return commands.edit(command_id, name, kind, ID, attributes, time=time, expires=time + LIFE, decided_on=decided_on)


def status(new, command_id="status", **more):
    keywords = {key: more.pop(key) for key in ("decided_on", "time", "kind") if key in more}
    return edit(commands.UPDATE_STATUS, {"status": new, **more}, command_id, **keywords)


def forget(command_id="forget"):
    return commands.Command(command_id, NOW, NOW + LIFE, commands.FORGET, ID, {"kind": "Evaluation", "id": ID})


def folded(*many, first_offset=10):
    """The state after these commands, each at the next offset, and the last outcome."""
    state, outcome = None, None
    for number, command in enumerate(many):
        state, outcome = folding.fold(state, event(command, first_offset + number))
    return state, outcome


# -- what each command does


def test_a_created_entity_is_the_commands_data():
    """The whole object is kept, also what the fold does not know, and says where it came from."""
    state, outcome = folded(create())
    assert outcome is Outcome.APPLIED
    assert state.entity == an_entity()
    assert (state.kind, state.source, state.status_source) == ("Evaluation", at(10), at(10))
    assert (state.event_id, state.previous, state.fold_version) == ("create", "", folding.VERSION)
    assert list(state.recent) == ["create"]


TRANSITION = {"lastTransitionTime": "2026-11-23T12:00:00.000000Z"}
APPLIED = {
    "a status with its reason and message": (
        status("Admitted", reason="R", message="M"),
        {"status": "Admitted", "reason": "R", "message": "M", **TRANSITION},
    ),
    "an absent reason is kept": (status("Admitted"), {"status": "Admitted", **TRANSITION}),
    "a null reason is removed": (status("Created", reason=None, message=None), {"reason": None, "message": None}),
    "another reason is no transition": (status("Created", reason="QuotaLimit"), {"reason": "QuotaLimit"}),
    "labels are merged and nulls remove": (
        edit(commands.EDIT_LABELS, {"labels": {"a": None, "b": "2", "c": ""}}),
        {"labels": {"b": "2", "c": ""}},
    ),
    "documentation is merged into the metadata": (
        edit(commands.EDIT_DOCUMENTATION, {"documentation": {"title": "T", "summary": None}}),
        {"metadata": {"documentation": {"title": "T"}}},
    ),
}


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


FINAL_WHEN_DELETED = {
    "status": status("Ready"),
    "deletion": status("Deleted", reason="again"),
    "labels": edit(commands.EDIT_LABELS, {"labels": {"a": "9"}}),
    "documentation": edit(commands.EDIT_DOCUMENTATION, {"documentation": {"title": "x"}}),
}


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


def restore(entity, **conditions):
    return edit(commands.RESTORE, {"entity": entity, **conditions}, "restore")


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


INVALID = {
    "no status": status(None),
    "an empty status": status(""),
    "a status that is no text": status(7),
    "a reason that is no text": status("Ready", reason={"a": 1}),
    "labels that are no object": edit(commands.EDIT_LABELS, {"labels": None}),
    "no labels": edit(commands.EDIT_LABELS, {}),
    "documentation that is no object": edit(commands.EDIT_DOCUMENTATION, {"documentation": "text"}),
    "attributes that are no object": edit(commands.EDIT_LABELS, ["labels"]),
    "another kind": status("Ready", kind="Model"),
    "restoring nothing": edit(commands.RESTORE, {}),
    "restoring another entity": restore({**an_entity(), "id": "b" * 32}),
    "restoring for another account": restore({**an_entity(), "account": "other"}),
    "restoring without a status": restore({**an_entity(), "status": None}),
}


@pytest.mark.parametrize("command", INVALID.values(), ids=INVALID)
def test_what_makes_no_sense_changes_nothing(command):
    """A command that cannot be done is passed over, and the position moves on."""
    state, outcome = folded(create(), command)
    assert outcome is Outcome.INVALID
    assert (state.entity, state.source, state.event_id) == (an_entity(), at(11), command.id)


def test_an_unknown_command_changes_nothing():
    """What a later release adds is passed over by this one."""
    state, outcome = folded(create(), edit("EditFamilyMembers", {"members": {}}))
    assert (outcome, state.entity, state.source) == (Outcome.UNKNOWN_COMMAND, an_entity(), at(11))


def test_an_edit_of_nothing_leaves_nothing():
    """An edit of an entity that does not exist makes none."""
    assert folded(status("Ready")) == (None, Outcome.UNKNOWN_ENTITY)


# -- repetitions, lateness, staleness


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
    assert folding.fold(None, event(create(), 1, LIFE + timedelta(seconds=1))) == (None, Outcome.EXPIRED)
    state, _ = folded(create())
    after, outcome = folding.fold(state, event(status("Ready"), 11, LIFE + timedelta(seconds=1)))
    assert (outcome, after.entity, after.source) == (Outcome.EXPIRED, an_entity(), at(11))
    assert "status" not in after.recent
    assert folding.fold(state, event(status("Ready"), 11, LIFE))[1] is Outcome.APPLIED


def test_recent_ids_are_forgotten_in_time():
    """IDs travel with the state while a repetition could still be valid, also after a clock was set back an hour, then go."""
    state, _ = folded(create())
    for hours, want in ((1, True), (2, False)):
        later = edit(commands.EDIT_LABELS, {"labels": {}}, f"later-{hours}", time=NOW + timedelta(hours=hours))
        state, _ = folding.fold(state, event(later, 10 + hours))
        assert ("create" in state.recent) is want
        assert later.id in state.recent


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
        assert folding.fold(state, event(status("Failed", "other"), offset)) == (state, Outcome.REDELIVERED)
    assert folding.fold(state, event(status("Failed", "other"), 12))[1] is Outcome.APPLIED


@pytest.mark.parametrize("position", [at(99, epoch="other"), at(99, partition=1), at(0, epoch="other")])
def test_positions_of_different_logs_are_never_compared(position):
    """An event of another log or partition is an error, not older or newer."""
    state, _ = folded(create())
    with pytest.raises(errors.LogDiverged, match=ID):
        folding.fold(state, folding.Event(status("Ready"), position, NOW))


def test_a_decision_on_an_old_status_is_dropped():
    """A controller's command has effect only while the status that it was decided on is the present one."""
    state, _ = folded(create())
    decided = state.status_source.text()
    state, outcome = folding.fold(state, event(status("Admitted", "1", decided_on=decided), 11))
    assert outcome is Outcome.APPLIED
    state, outcome = folding.fold(state, event(status("Failed", "2", decided_on=decided), 12))
    assert (outcome, state.entity["status"]) == (Outcome.MOVED, "Admitted")
    state, outcome = folding.fold(state, event(status("Failed", "3", decided_on=at(11).text()), 13))
    assert (outcome, state.entity["status"]) == (Outcome.APPLIED, "Failed")


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
    state, _ = folding.fold(state, event(status("Failed", "fails"), 11))
    state, outcome = folding.fold(state, event(status("Admitted", "late", decided_on=decided), 12))
    assert (outcome, state.entity["status"]) == (Outcome.MOVED, "Failed")


# -- purity


def test_the_given_state_is_not_changed():
    """Folding works on copies, all the way down."""
    state, _ = folded(create(metadata={"documentation": {"title": "T"}}))
    before = copy.deepcopy(msgspec.structs.asdict(state))
    for command in (status("Ready"), *FINAL_WHEN_DELETED.values(), restore(an_entity(status="Ready"))):
        folding.fold(state, event(command, 20))
    assert msgspec.structs.asdict(state) == before


def test_states_form_a_chain():
    """Each state names the hash of the one before, so that a missing or changed one is found."""
    import hashlib

    state, _ = folded(create())
    after, _ = folding.fold(state, event(status("Admitted"), 11))
    assert after.previous == hashlib.sha256(state.value()).hexdigest()
    unchanged, _ = folding.fold(after, event(status("Ready", kind="Model"), 12))
    assert unchanged.previous == hashlib.sha256(after.value()).hexdigest()


def test_every_outcome_is_tested():
    """This file has a case for each outcome."""
    with open(__file__) as file:
        text = file.read()
    assert [outcome.name for outcome in Outcome if f"Outcome.{outcome.name}" not in text] == []


_COMMANDS = [
    create(),
    create("create-2", status="Complete"),
    *(status(new, f"status-{new}") for new in ("Admitted", "Complete", "Failed", "Deleted", "Created")),
    status("Admitted", "decided", decided_on=at(0).text()),
    *(command for command, _ in APPLIED.values()),
    *INVALID.values(),
    forget(),
    restore(an_entity(status="Ready")),
    edit("EditTeam", {}, "unknown"),
]


def _run(history, state=None):
    states = []
    for folding_event in history:
        state, _ = folding.fold(state, folding_event)
        states.append(None if state is None else (state.value(), codecs.encode(msgspec.to_builtins(state))))
    return state, states


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_COMMANDS), st.integers(-120, 120)), max_size=14), st.data())
def test_redelivery_of_any_suffix_gives_the_same_bytes(drawn, data):
    """Whatever is delivered again after a crash, the states are byte for byte those of one undisturbed run."""
    history = [folding.Event(command, at(offset), NOW + timedelta(minutes=minutes)) for offset, (command, minutes) in enumerate(drawn)]
    want, states = _run(history)
    crashed = data.draw(st.integers(0, len(history)))
    again = data.draw(st.integers(0, crashed))
    before, _ = _run(history[:crashed])
    after, repeated = _run(history[again:], before)
    assert (after and codecs.encode(msgspec.to_builtins(after))) == (want and codecs.encode(msgspec.to_builtins(want)))
    assert repeated[crashed - again :] == states[crashed:]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(_COMMANDS), max_size=14))
def test_a_terminal_status_is_left_only_by_deletion_or_restoration(drawn):
    """Over any history, what follows a terminal status is itself, `Deleted`, or what a restoration brought."""
    state = None
    for offset, command in enumerate(drawn):
        before = state.entity["status"] if state and state.entity else None
        state, _ = folding.fold(state, folding.Event(command, at(offset), NOW))
        after = state.entity["status"] if state and state.entity else None
        if before in statuses.TERMINAL and command.name not in (commands.RESTORE, commands.FORGET):
            assert after in (before, statuses.DELETED)
        if before == statuses.DELETED and command.name == commands.UPDATE_STATUS:
            assert after == statuses.DELETED
