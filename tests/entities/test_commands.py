"""Commands as records of the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dyff.entities import codecs, commands
from dyff.kernel.telemetry import trace_context

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
ENTITY: dict[str, Any] = {"id": "e" * 32, "kind": "Dataset", "account": "a", "status": "Created"}
TRACE = trace_context.parsed("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "v=1")

CREATES = commands.create("c1", ENTITY, time=NOW, expires=LATER, principal="p", trace=TRACE)
EDITS = commands.edit("c2", "EditLabels", "Dataset", ENTITY["id"], {"labels": None}, time=NOW, expires=LATER, decided_on="0:7", once=True)


@pytest.mark.parametrize("command", [CREATES, EDITS])
def test_a_command_comes_back_from_its_record(command):
    """With everything that the fold needs."""
    assert commands.decode(command.entity_id.encode(), command.value(), command.headers()) == command


def test_bytes_that_the_issuer_has_already_are_the_same_record():
    """They are not encoded again."""
    encoded = commands.create("c1", ENTITY, time=NOW, expires=LATER, principal="p", trace=TRACE, encoded=codecs.encode(ENTITY))
    assert (encoded.value(), encoded.headers()) == (CREATES.value(), CREATES.headers())


def test_the_same_decision_has_the_same_id():
    """Repeating it is harmless; any other decision is another one."""
    ids = {commands.outcome_id(*each) for each in [("e", "0:1", "Failed", None), ("e", "0:2", "Failed", None), ("e", "0:1", "Failed", "x")]}
    assert len(ids) == 3
    assert commands.outcome_id("e", "0:1", "Failed", None) in ids


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("x", {}, "not the record's key"),
        (None, {"command": 1}, "no command or no data"),
        (None, {"data": []}, "no command or no data"),
        (None, {"data": {**ENTITY, "account": ""}}, "no kind, account or status"),
        (None, {"data": {**ENTITY, "status": 5}}, "no kind, account or status"),
    ],
)
def test_a_record_that_no_release_can_decode_says_why(key, change, words):
    """It goes to quarantine."""
    message = json.dumps({**json.loads(CREATES.value()), **change}).encode()
    with pytest.raises(ValueError, match=words):
        commands.decode((key or ENTITY["id"]).encode(), message, CREATES.headers())


@pytest.mark.parametrize("name", ["dyff-id", "dyff-time", "dyff-expires"])
def test_a_record_without_one_of_its_headers_names_it(name):
    """Without it the fold would have to invent something."""
    left = tuple(each for each in CREATES.headers() if each[0] != name)
    with pytest.raises(ValueError, match=f"header '{name}' is missing"):
        commands.decode(ENTITY["id"].encode(), CREATES.value(), left)


def test_a_record_of_a_newer_release_is_not_a_broken_one():
    """The fold stops at it, and does not put it aside."""
    newer = json.dumps({**json.loads(CREATES.value()), "schemaVersion": "99"}).encode()
    with pytest.raises(commands.NewerVersion, match="'99'"):
        commands.decode(ENTITY["id"].encode(), newer, CREATES.headers())
