"""What a failed run completed is published in a second manifest, which is marked."""

from __future__ import annotations

import pytest

from dyff.workflows import inference
from tests.workflows import odd_answers, runs


def test_what_a_failed_run_completed_is_published(store, steps, monkeypatch):
    """The outputs are in order, each once, with the errors of the others; the usual manifest does not exist."""
    monkeypatch.setattr(inference, "_FIRST_DELAY_S", 0.01)
    store.dataset(runs.rows(30))
    with odd_answers.a_raw_server(lambda number, tries: odd_answers.ok(b"") if number == 7 else None) as (url, _):
        assert steps.evaluate(url).code == 20
    assert steps.verify().code == 2
    ended = steps.salvage()
    assert ended.code == 0, ended
    assert store.manifest() is None
    found = store.incomplete()
    assert found["incomplete"] is True
    want = [index for index in range(30) if index != 7]
    assert [row["_index_"] for row in store.verified(found["artifacts"]).to_pylist()] == want
    assert [(row["_index_"], row["error"]) for row in store.errors(found["artifacts"])] == [(7, "UnfitAnswer")]
    assert steps.salvage(attempt="salvage-2").code == 0
    assert store.incomplete() == found


def test_what_is_strange_twice_or_damaged_is_left_out(store, steps):
    """Only requested outputs are published, each once, and a damaged file does not hide the others."""
    store.dataset(runs.rows(5))
    store.raw(runs.outputs([0, 1, 1]))
    store.raw(runs.outputs([1, 2, 99]), attempt="other")
    store.raw(runs.outputs([3]), attempt="third").write_bytes(b"PAR1 not really")
    assert steps.salvage(client={"duplicateOutputPolicy": "Error"}).code == 0
    assert [row["_index_"] for row in store.verified(store.incomplete()["artifacts"]).to_pylist()] == [0, 1, 2]


@pytest.mark.parametrize("is_complete", [False, True])
def test_nothing_to_publish(store, steps, is_complete):
    """Without outputs, or if they are complete and published, there is no second manifest, and that is no error."""
    store.dataset(runs.rows(2))
    if is_complete:
        store.raw(runs.outputs([0, 1]))
        assert steps.verify().code == 0
    assert steps.salvage().code == 0
    assert store.incomplete() is None


def test_a_run_with_errors_only(store, steps):
    """If no item has an output, the reasons are published nevertheless."""
    store.dataset(runs.rows(1))
    replication = runs.all_pairs([0])[0][1]
    store.raw_error([{"_index_": 0, "_replication_": replication, "error": "TransientErrors", "message": "no", "status": 500}])
    assert steps.salvage().code == 0
    assert [row["error"] for row in store.errors(store.incomplete()["artifacts"])] == ["TransientErrors"]
