"""Everything that came back is kept, bounded, next to the outputs."""

from __future__ import annotations

import gzip
import json

import pyarrow.parquet
import pytest

from dyff.adapters import answers, fitting, pipelines
from dyff.kernel import settings
from dyff.workflows import inference, kept
from tests.workflows import odd_answers, runs

SAID = {"model": "mini-1", "choices": [{"text": "fine", "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(inference, "_FIRST_DELAY_S", 0.01)


def test_the_whole_exchange_is_kept_and_scoring_again_needs_no_service(store, steps):
    """Request, answer, status, times, model, reason and usage are in the manifest; the kept answers give the same responses."""
    store.dataset(runs.rows(20))
    answer = odd_answers.ok(gzip.compress(json.dumps(SAID).encode()), "Content-Encoding: gzip", "Content-Type: application/json")
    with odd_answers.a_raw_server(lambda number, tries: answer) as (url, _):
        assert steps.evaluate(url, replications=2).code == 0
    assert steps.verify(replications=2).code == 0
    assert steps.verify(attempt="verify-2", replications=2).code == 0
    found = store.exchanges()
    assert runs.pairs(found) == runs.all_pairs(range(20), 2)
    one = next(row for row in found if row["_index_"] == 7)
    assert json.loads(one["request"]) == {"prompt": "prompt number 7"}
    assert (one["status"], one["try"], one["error"], one["endpoint"]) == (200, 1, None, "v1/completions")
    assert (one["model"], one["finish_reason"], json.loads(one["usage"])) == ("mini-1", "stop", SAID["usage"])
    assert (one["answer_type"], one["answer_encoding"], one["answer_bytes"]) == ("application/json", "gzip", len(one["answer"]))
    assert one["seconds"] > 0
    assert one["sent"].tzinfo is not None
    again, check = pipelines.build(runs.CHOICES_OUT), fitting.check(runs.SCHEMA)
    for row in found:
        assert answers.read(row["answer"], row["answer_encoding"], row["answer_type"], again, check).responses == [{"text": "fine"}]


def test_failed_tries_are_kept_too(store, steps):
    """An item that was retried has a row for each answer, with the reason; one that was given up has them, too, in the second manifest."""
    store.dataset(runs.rows(3))
    error = odd_answers.ok({"error": "overloaded"})
    busy = odd_answers.ok(b"busy", status="503 Busy")
    replies = {(1, 1): error, (1, 2): busy}
    with odd_answers.a_raw_server(lambda number, tries: error if number == 2 else replies.get((number, tries))) as (url, _):
        assert steps.evaluate(url, process=True).code == 20
    assert steps.salvage().code == 0
    found = sorted(store.exchanges("incomplete.json"), key=lambda row: (row["_index_"], row["try"]))
    assert [(row["_index_"], row["try"], row["status"], row["error"] is None) for row in found] == [
        (0, 1, 200, True), (1, 1, 200, False), (1, 2, 503, False), (1, 3, 200, True), *[(2, number, 200, False) for number in (1, 2, 3, 4)],
    ]  # fmt: skip
    assert "overloaded" in found[1]["error"]
    assert [row["request"] is None for row in found] == [False, False, True, False, False, True, True, False]
    assert b"busy" in found[2]["answer"]


def test_what_is_kept_is_bounded(store, steps, monkeypatch):
    """A long request or answer is shortened, with its size; at the limit of the run nothing more is kept, also by later attempts."""
    monkeypatch.setenv("DYFF_EXCHANGE_ITEM_BYTES", "100")
    store.dataset([{"_index_": 0, "text": "prompt number 0"}])
    long = odd_answers.ok({"choices": [{"text": "a" * 10_000}]})
    with odd_answers.a_raw_server(lambda number, tries: long) as (url, _):
        assert steps.evaluate(url).code == 0
        [row] = pyarrow.parquet.read_table(store.raw_exchanges()[0], partitioning=None).to_pylist()
        assert (len(row["answer"]), len(row["request"]), row["answer_bytes"] > 10_000) == (100, 0, True)
        stored = store.raw_exchanges()[0].stat().st_size
        monkeypatch.setenv("DYFF_EXCHANGE_RUN_BYTES", str(stored + 10))
        store.dataset([{"_index_": index, "text": f"prompt number {index}"} for index in range(3)])
        ended = steps.evaluate(url, attempt="attempt-2")
        assert ended.code == 0
        assert any("no more exchanges are kept" in line for line in ended.lines)
    assert len(store.raw_exchanges()) == 1
    assert steps.verify().code == 0
    assert [row["_index_"] for row in store.exchanges()] == [0]


def test_the_defaults_are_those_of_the_settings():
    """Without variables, a step keeps what the operator would let it keep."""
    operator = settings.Operator()
    assert kept.limits() == kept.Limits(operator.exchange_item_bytes, operator.exchange_run_bytes)


def test_it_can_be_switched_off(store, steps, service, monkeypatch):
    """With a limit of 0 nothing is kept."""
    monkeypatch.setenv("DYFF_EXCHANGE_RUN_BYTES", "0")
    store.dataset(runs.rows(3))
    assert steps.evaluate(service).code == steps.verify().code == 0
    assert (store.raw_exchanges(), store.exchanges()) == ([], [])


def test_a_damaged_file_of_exchanges_costs_no_output(store, steps, service):
    """The verification leaves it out."""
    store.dataset(runs.rows(3))
    assert steps.evaluate(service).code == 0
    store.raw_exchanges()[0].write_bytes(b"PAR1 not really")
    assert steps.verify().code == 0
    assert store.exchanges() == []


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ({"model": "m", "stop_reason": "end_turn", "usage": {"input_tokens": 1}}, ("m", "end_turn", '{"input_tokens":1}')),
        ({"model": "m", "done_reason": "stop"}, ("m", "stop", None)),
        ({"model": 7, "choices": [None], "usage": []}, (None, None, None)),
        ({"model": "\ud800", "choices": {}, "usage": {"\ud800": 1}}, ("\\ud800", None, None)),
        ([1], (None, None, None)),
    ],
)
def test_what_an_answer_says_about_itself(value, want):
    """The forms of the common APIs are understood, and anything else is nothing."""
    assert kept._described(value) == want
