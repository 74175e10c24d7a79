"""One odd answer costs one item, at most."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dyff.workflows import failures, inference
from tests.arrow_types import schema_of
from tests.workflows import odd_answers, runs

RESPONSE = pa.struct([pa.field("_response_index_", pa.int64()), pa.field("text", pa.string(), nullable=False)])
SCHEMA = schema_of(pa.field("_replication_", pa.string()), pa.field("_index_", pa.int64()), pa.field("responses", pa.list_(RESPONSE)))
"""Like the usual one, but the text must not be null."""

ODD = {**odd_answers.UNFIT, **odd_answers.REFUSED}


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(inference, "_FIRST_DELAY_S", 0.01)


def served(answers, *, until=99):
    """Serve `answers` for the items from 1 on, up to the try `until`; then good ones."""
    by_number = dict(enumerate(answers, start=1))
    return odd_answers.a_raw_server(lambda number, tries: by_number.get(number) if tries <= until else None)


@pytest.mark.parametrize("policy", ["Ignore", "Error"])
def test_each_costs_one_item(store, steps, policy):
    """Every odd answer fails its item alone, after a few tries, and the reason is data. The policy decides at the end."""
    names, count = list(ODD), len(ODD) + 10
    store.dataset(runs.rows(count))
    client = {"missingOutputPolicy": policy, "requestTimeoutSeconds": 5}
    with served(ODD.values()) as (url, seen):
        ended = steps.evaluate(url, schema=SCHEMA, client=client)
    assert ended.code == (0 if policy == "Ignore" else 20), ended
    good = [number for number in range(count) if not 1 <= number <= len(ODD)]
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(good)
    tries = {names[number - 1]: seen[number] for number in range(1, len(ODD) + 1)}
    assert set(tries.values()) == {1 + inference.ODD_RETRIES}, tries
    recorded = {names[row["_index_"] - 1]: row for row in store.raw_errors()}
    assert recorded.keys() == ODD.keys()
    assert {recorded[name]["error"] for name in odd_answers.UNFIT} == {failures.UNFIT_ANSWER}
    assert {recorded[name]["error"] for name in odd_answers.REFUSED} == {failures.REFUSED}
    assert "overloaded" in recorded["an error"]["message"]
    assert "HTML" in recorded["HTML"]["message"]
    assert "Sign in" in recorded["HTML"]["received"]
    assert "stream of events" in recorded["a stream of events"]["message"]
    assert "'/elsewhere'" in recorded["redirect 307"]["message"]
    assert "text: it is null" in recorded["null where it is forbidden"]["message"]
    assert f"{len(ODD)} items were given up" in ended.last
    assert store.progress()["done"] == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_each_is_good_at_the_second_try(store, steps, workers):
    """An odd answer that was an accident costs nothing, also if it is the first that arrives."""
    store.dataset(runs.rows(len(ODD), start=1))
    with served(ODD.values(), until=1) as (url, seen):
        ended = steps.evaluate(url, schema=SCHEMA, workers=workers, client={"requestTimeoutSeconds": 5})
    assert ended.code == 0, ended
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(1, len(ODD) + 1))
    assert set(seen.values()) == {2}


def test_harmless_ones_cost_nothing(store, steps):
    """What is unusual but can be used is used at the first try."""
    names = list(odd_answers.HARMLESS)
    store.dataset(runs.rows(len(names), start=1))
    with served(odd_answers.HARMLESS.values()) as (url, seen):
        ended = steps.evaluate(url, schema=SCHEMA)
    assert ended.code == 0, ended
    found = {names[row["_index_"] - 1]: row["responses"][0]["text"] for row in store.raw_rows()}
    assert found == dict.fromkeys(names, "fine")
    assert {names[number - 1]: tries for number, tries in seen.items() if tries != 1} == {}


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_of_the_first_item(store, steps, status):
    """A refusal costs its item only, even if it is the very first answer, as soon as another item is served."""
    store.dataset(runs.rows(3))
    refusal = odd_answers.ok(b"", status=f"{status} No")
    with odd_answers.a_raw_server(lambda number, tries: refusal if number == 0 else None) as (url, _):
        ended = steps.evaluate(url, workers=1)
    assert (ended.code, [row["error"] for row in store.raw_errors()]) == (20, [failures.REFUSED]), ended
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([1, 2])


def test_an_endpoint_that_redirects_everything(store, steps):
    """If nothing but redirects comes, the run ends soon, and names the place."""
    store.dataset(runs.rows(50))
    answer = odd_answers.ok(b"", "Location: https://login.example/", status="302 Found")
    with odd_answers.a_raw_server(lambda number, tries: answer) as (url, seen):
        ended = steps.evaluate(url, workers=1, client={"missingOutputPolicy": "Ignore"})
    assert (ended.code, "'https://login.example/'" in ended.last) == (76, True), ended
    assert len(seen) == inference.REFUSED_ITEMS


def test_answers_that_never_fit_end_the_run(store, steps, monkeypatch):
    """If missing outputs are an error, many items that were given up in a row end the run; otherwise it goes on to the end."""
    monkeypatch.setattr(inference, "FRUITLESS_ITEMS", 5)
    store.dataset(runs.rows(20))
    unfit = odd_answers.ok({"error": "no model"})
    with odd_answers.a_raw_server(lambda number, tries: unfit) as (url, seen):
        ended = steps.evaluate(url, workers=1)
        assert (ended.code, len(seen), "no model" in ended.last) == (10, 5, True), ended
        ended = steps.evaluate(url, workers=1, client={"missingOutputPolicy": "Ignore"}, attempt="attempt-2")
        assert (ended.code, len(seen)) == (0, 20), ended


def test_a_token_that_expires_during_the_run(store, steps, monkeypatch):
    """If an endpoint that worked refuses everything from some moment on, the run ends, and the work until then is stored."""
    monkeypatch.setattr(inference, "FRUITLESS_ITEMS", 5)
    store.dataset(runs.rows(40))
    refusal = odd_answers.ok({"detail": "token expired"}, status="401 No")
    with odd_answers.a_raw_server(lambda number, tries: refusal if number >= 20 else None) as (url, _):
        ended = steps.evaluate(url, workers=1)
    assert (ended.code, "token expired" in ended.last) == (76, True), ended
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(20))


def test_a_stream_of_events_that_does_not_end(store, steps):
    """A service that streams regardless is recognised when the time for a request is up, and costs a few tries."""
    store.dataset(runs.rows(2))
    with runs.a_service(lambda prompt, tries: 200) as (good, _):
        assert steps.evaluate(good).code == 0
    store.dataset(runs.rows(3))
    endless = odd_answers.chunked(b"data: 1\n\n", end=b"", headers="Content-Type: text/event-stream\r\n")

    with odd_answers.a_raw_server(lambda number, tries: endless, stays_open=True) as (url, seen):
        ended = steps.evaluate(url, client={"requestTimeoutSeconds": 1}, attempt="attempt-2")
    assert (ended.code, seen[2]) == (20, 1 + inference.ODD_RETRIES), ended
    assert "stream of events" in store.raw_errors()[0]["message"]


def test_half_a_character_in_the_words_of_a_service(store, steps):
    """What a service says can be shown and recorded, whatever it is."""
    store.dataset(runs.rows(2))
    answer = odd_answers.ok(rb'{"choices": [{"\ud800": "\ud800"}], "error": "\ud800"}')
    with odd_answers.a_raw_server(lambda number, tries: answer if number else None) as (url, _):
        ended = steps.evaluate(url, process=True)
    assert ended.code == 20, ended
    assert len(store.raw_errors()) == 1
