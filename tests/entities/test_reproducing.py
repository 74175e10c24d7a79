"""A request that says it reproduces an analysis must ask for exactly that."""

from __future__ import annotations

from typing import Any

import pytest

from dyff.entities import analyses, identity, kind, registry, reproducing
from dyff.kernel import errors
from tests.entities.test_analysis_requests import FULL, METHOD, asked, known
from tests.narrowing import sure

ID = "00000000000040008000000000000901"
ORIGINAL: dict[str, Any] = {
    "id": ID, "kind": "Measurement", "status": "Complete", "method": METHOD, "scope": FULL["scope"], "arguments": FULL["arguments"],
    "inputs": FULL["inputs"], "data": [{"key": "usecase", "value": "e30="}],
}  # fmt: skip
REQUEST = {**FULL, "reproduces": ID}
PROBLEMS: dict[str, tuple[Any, Any, list[tuple[str, str]]]] = {
    "the same": ({}, {}, []),
    "the same in another order": ({"inputs": FULL["inputs"][::-1]}, {"scope": {**FULL["scope"], "other": None}}, []),
    "one that cannot be read": ({}, None, [("reproduces", "that you may read")]),
    "a reproduction": ({}, {"reproduces": "0" * 32}, [("reproduces", f"reproduce its original, {'0' * 32}")]),
    "one that has failed": ({}, {"status": "Failed"}, [("reproduces", "must be complete; the status of")]),
    "one that was deleted": ({}, {"status": "Deleted"}, [("reproduces", "Deleted")]),
    "another method": ({}, {"method": {**METHOD, "id": "0" * 32}}, [("method", "must be as in")]),
    "another scope": ({}, {"scope": {}}, [("scope", "must be as in")]),
    "other arguments": ({}, {"arguments": [{"keyword": "threshold", "value": "x"}]}, [("arguments", "must be as in")]),
    "other inputs": ({}, {"inputs": []}, [("inputs", "must be as in")]),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_reproduction_is_as_its_original(name):
    """The case's name is the rule; each problem names its field."""
    asks, is_, want = PROBLEMS[name]
    original = None if is_ is None else {**ORIGINAL, **is_}
    found = reproducing.problems(asked({**REQUEST, **asks}), original, "Measurement")
    assert [each.loc[-1] for each in found] == [field for field, _ in want]
    for each, (_, words) in zip(found, want, strict=True):
        assert words in each.msg


def test_a_reproduction_reads_the_texts_of_its_original():
    """Texts that were edited since do not change it; it names its original, also for its run, which draws the same numbers."""
    row = registry.BY_KIND["Measurement"]
    assert sure(row.creation).wholes(asked(REQUEST), known()) == [("Measurement", ID)]
    made = analyses.spec(asked(REQUEST), {**known(), identity.whole(ID): ORIGINAL}, "Measurement", "measurement", whole_texts=True)
    assert (made["data"], made["reproduces"]) == (ORIGINAL["data"], ID)
    spec = sure(row.run).spec({**made, "id": "0" * 32, "kind": "Measurement"})
    assert spec["reproduces"] == ID
    with pytest.raises(errors.InvalidFields, match="that you may read"):
        analyses.spec(asked(REQUEST), known(), "Measurement", "measurement", whole_texts=False)
    assert isinstance(row, kind.Kind)
