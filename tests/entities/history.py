"""Commands, and histories of them, for tests of the fold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dyff.entities import commands, folding
from dyff.kernel.positions import Position

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIFE = timedelta(minutes=10)
VERSION = 1
"""Of the fold, for `folded`. The tests of what all versions have in common set each (see conftest)."""

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
        state, outcome = folding.fold(state, event(command, first_offset + number), VERSION)
    return state, outcome


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
FINAL_WHEN_DELETED = {
    "status": status("Ready"),
    "deletion": status("Deleted", reason="again"),
    "labels": edit(commands.EDIT_LABELS, {"labels": {"a": "9"}}),
    "documentation": edit(commands.EDIT_DOCUMENTATION, {"documentation": {"title": "x"}}),
}


def restore(entity, **conditions):
    return edit(commands.RESTORE, {"entity": entity, **conditions}, "restore")


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
