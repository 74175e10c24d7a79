"""The fold is a function of the history: nothing else goes in, and the same bytes come out."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dyff.entities import codecs, commands, folding, statuses
from dyff.entities.folding import Outcome
from tests.entities.history import (
    APPLIED,
    FINAL_WHEN_DELETED,
    INVALID,
    NOW,
    an_entity,
    at,
    create,
    edit,
    event,
    folded,
    forget,
    restore,
    status,
)
from tests.narrowing import sure


def test_the_given_state_is_not_changed():
    """Folding works on copies, all the way down."""
    state, _ = folded(create(metadata={"documentation": {"title": "T"}}))
    before = copy.deepcopy(msgspec.structs.asdict(state))
    for command in (status("Ready"), *FINAL_WHEN_DELETED.values(), restore(an_entity(status="Ready"))):
        folding.fold(state, event(command, 20), 1)
    assert msgspec.structs.asdict(state) == before


def test_states_form_a_chain():
    """Each state names the hash of the one before, so that a missing or changed one is found."""
    import hashlib

    state, _ = folded(create())
    after, _ = folding.fold(state, event(status("Admitted"), 11), 1)
    assert sure(after).previous == hashlib.sha256(state.value()).hexdigest()
    unchanged, _ = folding.fold(after, event(status("Ready", kind="Model"), 12), 1)
    assert sure(unchanged).previous == hashlib.sha256(sure(sure(after).value())).hexdigest()


def test_every_outcome_is_tested():
    """These files have a case for each outcome."""
    text = "".join(file.read_text() for file in Path(__file__).parent.glob("*.py"))
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
        state, _ = folding.fold(state, folding_event, 1)
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
        state, _ = folding.fold(state, folding.Event(command, at(offset), NOW), 1)
        after = state.entity["status"] if state and state.entity else None
        if before in statuses.TERMINAL and command.name not in (commands.RESTORE, commands.FORGET):
            assert after in (before, statuses.DELETED)
        if before == statuses.DELETED and command.name == commands.UPDATE_STATUS:
            assert after == statuses.DELETED
