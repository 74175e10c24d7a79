"""Events of every release fold to the states that they folded to then, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dyff.bus import envelope, port, topics
from dyff.entities import folding
from dyff.kernel.positions import Position
from tests.narrowing import sure

HISTORIES = sorted(Path(__file__).parent.glob("*/*.json"))


def _read(path):
    history = json.loads(path.read_text())
    records = [
        port.Record(
            topics.EVENTS,
            history["partition"],
            each["offset"],
            each["timestampMs"],
            each["key"].encode(),
            each["value"].encode(),
            tuple((name, value.encode()) for name, value in each["headers"]),
        )
        for each in history["events"]
    ]
    return history["epoch"], records, history["states"], history.get("foldVersion", 1)


def test_there_are_histories():
    """The folders of the first release and of each later version of the fold are here; without them the next test would check nothing."""
    assert {path.parent.name for path in HISTORIES} >= {"0.1.0", "fold-2"}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recorded_history_folds_to_its_recorded_states(path):
    """Values, headers and outcomes are those that were recorded, at every event."""
    epoch, records, states, version = _read(path)
    known: dict[Any, Any] = {}
    for record, want in zip(records, states, strict=True):
        event = envelope.event(record, epoch)
        assert event.position == Position(epoch, record.partition, want["offset"])
        known[record.key], outcome = folding.fold(known.get(record.key), event, version)
        assert outcome.value == want["outcome"]
        message = None if known[record.key] is None else envelope.state_message(sure(known[record.key]), record.key.decode())
        if message is None:
            assert want["headers"] is None
            continue
        assert [[name, value.decode()] for name, value in message.headers] == want["headers"]
        assert message.value == (None if want["value"] is None else want["value"].encode())


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recorded_state_goes_on_like_the_one_that_was_folded(path):
    """Folding may stop anywhere: the state that is read from its record goes on to the same bytes."""
    epoch, records, states, version = _read(path)
    for stop in range(1, len(records)):
        known = {}
        for record, want in zip(records[:stop], states[:stop], strict=True):
            if want["headers"] is not None:
                value = None if want["value"] is None else want["value"].encode()
                headers = tuple((name, text.encode()) for name, text in want["headers"])
                known[record.key] = envelope.state(port.Record(topics.STATE, 0, 0, 0, record.key, value, headers))
        for record, want in zip(records[stop:], states[stop:], strict=True):
            known[record.key], _ = folding.fold(known.get(record.key), envelope.event(record, epoch), version)
            if known[record.key] is not None:
                message = envelope.state_message(sure(known[record.key]), record.key.decode())
                assert [[name, text.decode()] for name, text in message.headers] == want["headers"]
                assert message.value == (None if want["value"] is None else want["value"].encode())
