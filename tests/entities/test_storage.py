"""What counts of an entity in the object store, and the command that records it, as tables."""

from __future__ import annotations

import msgspec
import pytest

from dyff.entities import commands, folding, storage
from dyff.entities.folding import Outcome
from tests.entities.history import create, edit, event, status
from tests.narrowing import sure

UPLOADED = {
    "kind": "Model", "source": {"kind": "Upload"}, "artifact": {"kind": "Volume", "volume": {"files": [{"size": 3}, {"size": 4}]}},
}  # fmt: skip
STAGED, STORED = "dyff.io/staged-bytes", "dyff.io/stored-bytes"


def noted(entity, **values):
    names = {"staged": STAGED, "stored": STORED}
    return {**entity, "annotations": [{"key": names[name], "value": value} for name, value in values.items()]}


@pytest.mark.parametrize(
    ("entity", "want"),
    [
        ({"kind": "Dataset"}, 0),
        (UPLOADED, 7),
        ({**UPLOADED, "source": {"kind": "HuggingFaceHub"}}, 0),
        (noted(UPLOADED, staged="5"), 7),
        (noted(UPLOADED, staged="9"), 9),
        (noted(UPLOADED, stored="2"), 2),
        (noted(UPLOADED, stored="0", staged="9"), 0),
        (noted({"kind": "Evaluation"}, stored="12"), 12),
        (noted({"kind": "Dataset"}, stored="-1"), 0),
        (noted({"kind": "Dataset"}, stored="1.5"), 0),
        (noted({"kind": "Dataset"}, stored=7), 0),
        (noted({"kind": "Dataset"}, stored="9" * 16), storage.MAX_OBJECT_BYTES),
        ({"kind": "Dataset", "annotations": "no list"}, 0),
        ({"kind": "Model", "source": "no object"}, 0),
        ({"kind": "Nothing that is known"}, 0),
        ({}, 0),
    ],
)
def test_what_counts(entity, want):
    """What was measured at the end; before that the larger of what is declared and what is staged; nothing else, and no error."""
    assert storage.object_bytes(entity) == want


@pytest.mark.parametrize(
    ("entity", "want"),
    [
        (noted(UPLOADED, staged="5"), 5),
        (noted(UPLOADED, staged="0"), 0),
        (noted(UPLOADED, stored="5"), None),
        (noted(UPLOADED, staged="-5"), None),
        (UPLOADED, None),
    ],
)
def test_what_was_staged_last_is_known(entity, want):
    """So that it is recorded again only if it has changed; None if nothing was recorded."""
    assert storage.staged(entity) == want


@pytest.mark.parametrize(
    ("kind", "keeps"),
    [("Dataset", True), ("Evaluation", True), ("Report", True), ("InferenceService", False), ("Family", False), ("Later", False)],
)
def test_which_kinds_have_data_of_their_own(kind, keeps):
    """Only of these anything is measured."""
    assert storage.keeps_objects({"kind": kind}) is keeps
    assert storage.keeps_objects({}) is False


@pytest.mark.parametrize(
    ("attributes", "want"),
    [
        ({"stored": 5}, {STORED: "5"}),
        ({"stored": 0}, {STORED: "0"}),
        ({"staged": 5}, {STAGED: "5", STORED: "1"}),
        ({}, None), ({"stored": -1}, None), ({"stored": True}, None), ({"stored": "5"}, None), ({"stored": 1.5}, None),
        ({"stored": 2**53 + 1}, None), ({"other": 1}, None), ({"stored": 1, "staged": 1}, None),
    ],
)  # fmt: skip
def test_a_record_replaces_the_earlier_one(attributes, want):
    """What was staged is dropped when it is recorded what is stored; other annotations stay; a malformed record changes nothing."""
    before = {"annotations": [{"key": "a", "value": "b"}, {"key": STAGED, "value": "1"}, {"key": STORED, "value": "1"}]}
    after = storage.recorded(before, attributes)
    if want is None:
        assert after is None
    else:
        assert after is not None
        assert {each["key"]: each["value"] for each in after["annotations"]} == {"a": "b", **want}


def record(number=1, **attributes):
    return edit(commands.RECORD_STORAGE, attributes or {"stored": 5}, f"record-{number}")


@pytest.mark.parametrize(("version", "want"), [(1, Outcome.UNKNOWN_COMMAND), (2, Outcome.APPLIED)])
def test_the_command_is_part_of_the_second_version(version, want):
    """Old logs fold as they did: the first version does not know it."""
    state, _ = folding.fold(None, event(create(), 10), version)
    state, outcome = folding.fold(state, event(record(), 11), version)
    assert outcome is want
    assert storage.is_recorded(sure(sure(state).entity)) == (want is Outcome.APPLIED)


@pytest.mark.parametrize("ended", ["Ready", "Error", "Deleted"])
def test_it_is_recorded_of_what_has_ended(ended):
    """The status stays, and so does the position that decisions refer to."""
    state, _ = folding.fold(None, event(create(), 10), 2)
    state, _ = folding.fold(state, event(status(ended), 11), 2)
    after, outcome = folding.fold(state, event(record(), 12), 2)
    assert (outcome, sure(sure(after).entity)["status"], sure(after).status_source) == (Outcome.APPLIED, ended, sure(state).status_source)
    late = msgspec.structs.replace(record(2), decided_on="another")
    assert folding.fold(after, event(late, 13), 2)[1] is Outcome.MOVED
    assert folding.fold(after, event(record(3, stored="x"), 13), 2)[1] is Outcome.INVALID


def test_it_always_fits(monkeypatch):
    """An entity of the largest size is measured like any other."""
    state, _ = folding.fold(None, event(create(), 10), 2)
    monkeypatch.setattr(folding, "MAX_ENTITY_BYTES", len(sure(sure(state).value())))
    assert folding.fold(state, event(record(), 11), 2)[1] is Outcome.APPLIED
