"""Answers by which a service refuses one item, and those that refuse the form of every request."""

from __future__ import annotations

import pytest

from dyff.workflows import failures, inference
from tests.workflows import odd_answers, runs

OF_ONE_ITEM = [413, 418, 451]
OF_ONE_MOMENT = [409, 410, 424]
OF_THE_FORM = [400, 406, 411, 414, 415, 417, 422, 431]


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(inference, "_FIRST_DELAY_S", 0.01)


def refusing(status, *, only=None, until=99):
    """A service that refuses an item, or all, with this status, up to the try `until`."""
    answer = odd_answers.ok("no, not this one", status=f"{status} No")
    return odd_answers.a_raw_server(lambda number, tries: answer if only in (None, number) and tries <= until else None)


@pytest.mark.parametrize("status", OF_ONE_ITEM + OF_ONE_MOMENT)
def test_one_item_is_refused(store, steps, status):
    """`Abort` ends no run for it, also if it is the first answer of all: the item has no output, and the reason is data."""
    store.dataset(runs.rows(3))
    with refusing(status, only=0) as (url, seen):
        ended = steps.evaluate(url, workers=1)
    assert ended.code == 20, ended
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([1, 2])
    (row,) = store.raw_errors()
    assert (row["error"], row["status"], "no, not this one" in row["message"]) == (failures.REFUSED, status, True)
    assert seen[0] == (1 if status in OF_ONE_ITEM else 1 + inference.ODD_RETRIES)


@pytest.mark.parametrize("status", OF_ONE_ITEM)
def test_a_refused_item_is_skipped(store, steps, status):
    """With `Skip` it has an output row without responses, as an item that the service calls a bad request."""
    store.dataset(runs.rows(3))
    with refusing(status, only=0) as (url, _):
        ended = steps.evaluate(url, workers=1, client={"badRequestPolicy": "Skip"})
    assert ended.code == 0, ended
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([0, 1, 2])
    assert [(row["error"], row["status"]) for row in store.raw_errors()] == [(failures.BAD_REQUEST, status)]


@pytest.mark.parametrize("status", OF_ONE_MOMENT)
def test_a_moment_passes(store, steps, status):
    """A conflict, or another part that failed, may be over at the next try."""
    store.dataset(runs.rows(2))
    with refusing(status, until=2) as (url, _):
        ended = steps.evaluate(url, workers=1)
    assert ended.code == 0, ended


@pytest.mark.parametrize("status", OF_THE_FORM)
def test_the_form_of_the_request_is_wrong(store, steps, status):
    """Every item would have the same answer, so the run ends at once."""
    store.dataset(runs.rows(3))
    with refusing(status) as (url, seen):
        ended = steps.evaluate(url, workers=1)
    assert (ended.code, dict(seen)) == (76, {0: 1}), ended
    assert f"status {status}" in ended.last


@pytest.mark.parametrize("policy", ["Abort", "Skip"])
def test_every_item_is_refused(store, steps, policy):
    """If nothing was ever served, an evaluation that aborts says at its end what the service said of its items."""
    store.dataset(runs.rows(5))
    with refusing(413) as (url, seen):
        ended = steps.evaluate(url, workers=1, client={"badRequestPolicy": policy, "missingOutputPolicy": "Ignore"})
    assert len(seen) == 5
    if policy == "Skip":
        assert ended.code == 0, ended
    else:
        assert (ended.code, "status 413" in ended.last, "interface.endpoint" in ended.last) == (76, True, False), ended
