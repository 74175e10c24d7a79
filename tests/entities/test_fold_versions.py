"""What distinguishes the versions of the fold, each as a table: the second bounds states, and keeps the promise of a 201."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from dyff.entities import commands, folding
from dyff.entities.folding import Outcome
from tests.entities.history import ID, LIFE, NOW, create, edit, event, status

LATE = LIFE + timedelta(seconds=1)


def fold(state, command, offset, version, late=timedelta(0)):
    return folding.fold(state, event(command, offset, late), version)


@pytest.mark.parametrize(("version", "want"), [(1, Outcome.EXPIRED), (2, Outcome.APPLIED)])
def test_an_accepted_creation_is_folded_whatever_the_clocks_say(version, want):
    """From version 2 on a creation never expires: its ID makes a repetition harmless, and clocks that differ must not lose it."""
    state, outcome = fold(None, create(), 10, version, LATE)
    assert outcome is want
    assert (state is None) == (want is Outcome.EXPIRED)


@pytest.mark.parametrize("version", sorted(folding.FOLDS))
def test_other_commands_still_expire(version):
    """An edit that reaches the log much later than it was given is dropped by every version."""
    state, _ = fold(None, create(), 10, version)
    assert fold(state, status("Ready"), 11, version, LATE)[1] is Outcome.EXPIRED


def a_label(number, **more):
    return msgspec.structs.replace(edit(commands.EDIT_LABELS, {"labels": {"n": str(number)}}, f"edit-{number}"), **more)


def test_the_first_version_remembers_all():
    """As released: every command that has not expired."""
    state, _ = fold(None, create(), 10, 1)
    for number in range(100):
        state, _ = fold(state, a_label(number), 11 + number, 1)
    assert len(state.recent) == 101


def test_the_second_version_remembers_what_may_be_sent_again():
    """Only commands that say so, so that thousands of edits leave nothing behind."""
    state, _ = fold(None, create(), 10, 2)
    for number in range(100):
        state, _ = fold(state, a_label(number), 11 + number, 2)
    assert state.recent == {}
    state, _ = fold(state, a_label(100, once=True), 200, 2)
    assert list(state.recent) == ["edit-100"]
    assert fold(state, a_label(100, once=True), 201, 2)[1] is Outcome.REPEATED


def test_the_second_version_remembers_a_bounded_number():
    """Beyond the limit those that expire first are forgotten first."""
    state, _ = fold(None, create(), 10, 2)
    for number in range(folding.MAX_REMEMBERED + 10):
        command = a_label(number, once=True, expires=NOW + LIFE + timedelta(seconds=number))
        state, _ = fold(state, command, 11 + number, 2)
    assert sorted(state.recent) == sorted(f"edit-{number}" for number in range(10, folding.MAX_REMEMBERED + 10))


def large(megabytes):
    return edit(commands.EDIT_DOCUMENTATION, {"documentation": {"fullPage": "x" * (megabytes * 2**20)}}, f"large-{megabytes}")


def test_the_second_version_refuses_an_edit_that_makes_the_entity_too_large():
    """The entity stays as it was, its source moves on, and so the partition does."""
    state, _ = fold(None, create(), 10, 2)
    after, outcome = fold(state, large(9), 11, 2)
    assert outcome is Outcome.TOO_LARGE
    assert (after.entity, after.source.offset) == (state.entity, 11)
    assert fold(state, large(9), 11, 1)[1] is Outcome.APPLIED
    assert fold(state, large(7), 11, 2)[1] is Outcome.APPLIED


def test_the_second_version_refuses_a_creation_that_is_too_large():
    """The api refuses it first; here it leaves no entity."""
    assert fold(None, create(note="x" * folding.MAX_ENTITY_BYTES), 10, 2) == (None, Outcome.TOO_LARGE)


def test_an_entity_that_is_too_large_already_can_become_smaller_and_end():
    """What version 1 let grow can still shrink, and its status can still change."""
    state, _ = fold(None, create(), 10, 1)
    state, _ = fold(state, large(12), 11, 1)
    assert fold(state, large(11), 12, 2)[1] is Outcome.APPLIED
    assert fold(state, large(13), 12, 2)[1] is Outcome.TOO_LARGE
    assert fold(state, status("Failed", reason="R", message="M" * 1000), 12, 2)[1] is Outcome.APPLIED


@pytest.mark.parametrize("text", [{"reason": "r" * (folding.MAX_REASON_CHARS + 1)}, {"message": "m" * (folding.MAX_MESSAGE_CHARS + 1)}])
def test_the_texts_of_a_status_are_bounded_in_the_second_version(text):
    """A status always fits, because its texts do."""
    state, _ = fold(None, create(), 10, 2)
    assert fold(state, status("Failed", **text), 11, 2)[1] is Outcome.INVALID
    assert fold(state, status("Failed", **text), 11, 1)[1] is Outcome.APPLIED


def test_a_state_goes_on_under_the_next_version():
    """What version 1 folded is what version 2 goes on with, and it says which folded it last."""
    state, _ = fold(None, create(), 10, 1)
    assert state.fold_version == 1
    state, outcome = fold(state, status("Admitted"), 11, 2)
    assert (outcome, state.fold_version, state.entity["id"]) == (Outcome.APPLIED, 2, ID)
    assert list(state.recent) == ["create"]
