"""Writes the recorded histories of this release: `python -m tests.histories.recording`.

Only for a new release, into a folder of its own. The folders of earlier releases are never written again: their events
are what users have in their logs.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dyff.bus import envelope, port, topics
from dyff.entities import commands, folding
from dyff.kernel import clock, ids

FOLDER = Path(__file__).parent
EPOCH = "3f2c9a51b0e64d0c8c2a7b1e5d9f4a60"
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIFE = timedelta(minutes=10)


def entity_id(name):
    """A fixed ID."""
    return ids.derived("history", name)


def record(offset, command, *, late_s=0.5, value=None):
    """The record of a command at `offset`, that reached the log `late_s` seconds after it was given."""
    message = envelope.command_message(command)
    stamp = clock.epoch_ms(command.time + timedelta(seconds=late_s))
    return port.Record(topics.EVENTS, 0, offset, stamp, message.key, value or message.value, message.headers)


def step(number):
    """When the command with that number is given."""
    return START + timedelta(seconds=number)


def edit(number, name, kind, target, attributes, **more):
    """A command that changes `target`."""
    return commands.edit(f"c{number}", name, kind, target, attributes, time=step(number), expires=step(number) + LIFE, **more)


def create(number, entity):
    """The command that makes `entity` exist."""
    return commands.create(f"c{number}", entity, time=step(number), expires=step(number) + LIFE, principal="accounts/auditor")


def common(kind, known_as, **more):
    """What every entity has."""
    return {
        "id": entity_id(known_as),
        "kind": kind,
        "account": entity_id("account"),
        "schemaVersion": "0.1",
        "status": "Created",
        "reason": None,
        "message": None,
        "labels": {"team": "red"},
        "annotations": [],
        "creationTime": clock.iso(START),
        "metadata": {},
        **more,
    }


def evaluation():
    """An evaluation that waits for quota, runs, fails to be admitted late, completes, is labelled, deleted, forgotten."""
    target = entity_id("evaluation")
    entity = common("Evaluation", "evaluation", dataset=entity_id("dataset"), replications=2, note="Größe £ \u2028 \U0001f9ea")
    update, at = commands.UPDATE_STATUS, f"{EPOCH}:0"
    quota = {"status": "Created", "reason": "QuotaLimit", "message": "position 3 of 7"}
    labels = edit(6, commands.EDIT_LABELS, "Evaluation", target, {"labels": {"team": None, "result": "good"}})
    return [
        record(0, create(0, entity)),
        record(1, edit(1, update, "Evaluation", target, quota, decided_on=f"{at}:0")),
        record(3, edit(2, update, "Evaluation", target, {"status": "Admitted", "reason": None, "message": None}, decided_on=f"{at}:1")),
        record(4, edit(3, update, "Evaluation", target, quota, decided_on=f"{at}:1")),
        record(5, edit(4, update, "Evaluation", target, {"status": "Complete", "reason": None}, decided_on=f"{at}:3")),
        record(6, edit(5, update, "Evaluation", target, {"status": "Failed", "reason": "Interrupted"})),
        record(7, labels),
        record(9, labels, late_s=30),
        record(10, edit(7, commands.EDIT_DOCUMENTATION, "Evaluation", target, {"documentation": {"title": "T", "summary": None}})),
        record(11, edit(8, update, "Evaluation", target, {"status": "Deleted", "reason": "DeleteCommand"})),
        record(12, commands.Command("c9", step(9), step(9) + LIFE, commands.FORGET, target, {"kind": "Evaluation", "id": target})),
        record(13, create(10, entity)),
    ]


def upload():
    """A dataset that becomes ready, with a command that came too late and one of a kind that nobody knew then."""
    target = entity_id("dataset")
    entity = common("Dataset", "dataset", status="WaitingForUpload", arrowSchema="AAAA", name="prompts")
    return [
        record(0, create(0, entity)),
        record(1, edit(1, commands.UPDATE_STATUS, "Dataset", target, {"status": "Error"}), late_s=601),
        record(2, edit(2, "EditSomethingLater", "Dataset", target, {"a": 1})),
        record(3, edit(3, commands.UPDATE_STATUS, "Dataset", target, {"status": "Ready", "reason": None, "message": None})),
        record(5, edit(4, commands.UPDATE_STATUS, "Dataset", target, {"status": "Deleted", "reason": "DeleteCommand"})),
        record(6, edit(5, commands.RESTORE, "Dataset", target, {"entity": {**entity, "status": "Ready"}})),
    ]


def interleaved():
    """Two entities and an edit of one that was never made; later ones forget the IDs of earlier ones."""
    one, two = common("Model", "one", source={"kind": "Mock"}), common("InferenceService", "two", model={"id": entity_id("one")})
    ready = {"status": "Ready"}
    return [
        record(0, create(0, one)),
        record(1, edit(1, commands.UPDATE_STATUS, "Model", entity_id("nobody"), ready)),
        record(2, create(2, two)),
        record(3, edit(3, commands.UPDATE_STATUS, "Model", one["id"], ready)),
        record(4, edit(9000, commands.EDIT_LABELS, "InferenceService", two["id"], {"labels": {"late": "1"}})),
        record(5, edit(9001, commands.UPDATE_STATUS, "InferenceService", two["id"], {"status": "Error", "reason": "BuildFailed"})),
    ]


def bounded():
    """What version 2 is for: a creation that comes late, an edit that its client sends twice, and a message that is too long."""
    target = entity_id("bounded")
    entity = common("Model", "bounded", source={"kind": "Mock"})
    label = edit(1, commands.EDIT_LABELS, "Model", target, {"labels": {"team": "blue"}}, once=True)
    return [
        record(0, create(0, entity), late_s=1200),
        record(1, label),
        record(2, edit(2, commands.EDIT_LABELS, "Model", target, {"labels": {"team": "red"}})),
        record(3, label, late_s=30),
        record(4, edit(3, commands.UPDATE_STATUS, "Model", target, {"status": "Error", "reason": "R", "message": "m" * 40_000})),
        record(5, edit(4, commands.UPDATE_STATUS, "Model", target, {"status": "Ready", "reason": None, "message": None})),
    ]


def folded(records):
    """The state messages that folding the records gives, each with the offset of its event and the outcome."""
    known: dict[Any, Any] = {}
    found = []
    for each in records:
        event = envelope.event(each, EPOCH)
        known[each.key], outcome = folding.fold(known.get(each.key), event, folding.VERSION)
        state = known[each.key]
        found.append((each.offset, outcome, None if state is None else envelope.state_message(state, each.key.decode())))
    return found


def as_json(records):
    """A history as it is stored."""
    events = [
        {
            "offset": each.offset,
            "timestampMs": each.timestamp_ms,
            "key": each.key.decode(),
            "headers": [[name, value.decode()] for name, value in each.headers],
            "value": each.value.decode(),
        }
        for each in records
    ]
    states = [
        {
            "offset": offset,
            "outcome": outcome.value,
            "headers": None if message is None else [[name, value.decode()] for name, value in message.headers],
            "value": None if message is None or message.value is None else message.value.decode(),
        }
        for offset, outcome, message in folded(records)
    ]
    return {"epoch": EPOCH, "partition": 0, "foldVersion": folding.VERSION, "events": events, "states": states}


HISTORIES = {"evaluation": evaluation, "upload": upload, "interleaved": interleaved, "bounded": bounded}

if __name__ == "__main__":
    folder = FOLDER / sys.argv[1]
    folder.mkdir()
    for title, history in HISTORIES.items():
        (folder / f"{title}.json").write_text(json.dumps(as_json(history()), indent=1, ensure_ascii=False) + "\n")
