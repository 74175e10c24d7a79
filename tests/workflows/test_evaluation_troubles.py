"""The evaluation client and services that fail, refuse, limit, hang or come late."""

from __future__ import annotations

import email.utils
import itertools
import re
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.workflows import inference
from tests.arrow_types import schema_of
from tests.engines.ports import free_port
from tests.workflows import runs


def test_transient_errors_are_tried_again(store, steps, service):
    """A service that fails now and then is asked again until every item is done."""
    store.dataset(runs.rows(20))
    client = steps.evaluate(
        service, endpoint="openai/v1/completions/transient-errors", workers=8, process=True, client={"transientErrorRetryDelaySeconds": 1}
    )
    assert client.code == 0, client
    assert any("retry: " in line and "status 503" in line for line in client.lines)
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(20))


def test_too_many_transient_errors_end_the_run(store, steps):
    """Beyond the retry limit the run fails and names the item and the limit; what was done before is stored."""
    store.dataset(runs.rows(3))
    with runs.a_service(lambda prompt, tries: 503 if prompt == "prompt number 2" else 200) as (url, seen):
        client = {"transientErrorRetryLimit": 2, "transientErrorRetryDelaySeconds": 1}
        failed = steps.evaluate(url, workers=1, client=client)
    assert failed.code == 69
    assert "failed 3 times in a row for item 2" in failed.last
    assert "client.transientErrorRetryLimit is 2" in failed.last
    assert seen["prompt number 2"] == 3
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(2))


def test_the_retry_limit_counts_since_the_last_success(store, steps):
    """Errors are counted from zero after any success: an item may fail more often than the limit while others succeed."""
    store.dataset(runs.rows(40))
    with runs.a_service(lambda prompt, tries: (200, {}, 0.1) if prompt != "prompt number 0" else 503 if tries <= 4 else 200) as (url, seen):
        client = {"transientErrorRetryLimit": 2, "transientErrorRetryDelaySeconds": 1}
        assert steps.evaluate(url, workers=2, client=client).code == 0
    assert seen["prompt number 0"] == 5
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(40))


def test_an_item_that_always_fails_is_given_up(store, steps, monkeypatch):
    """One item's endless errors end neither the run nor the others: it has no row, the reason is data, and the run is incomplete."""
    monkeypatch.setattr(inference, "_ITEM_TRIES", 3)
    monkeypatch.setattr(inference, "_FIRST_DELAY_S", 0.01)
    store.dataset(runs.rows(30))
    client: dict[str, Any] = {"transientErrorRetryLimit": 2, "transientErrorRetryDelaySeconds": 1}
    with runs.a_service(lambda prompt, tries: (500, {}, 0, "boom") if prompt == "prompt number 0" else (200, {}, 0.05)) as (url, seen):
        late = steps.evaluate(url, workers=2, client=client)
        assert (late.code, "1 items were given up" in late.last) == (20, True), late
        assert seen["prompt number 0"] == 4
        client["missingOutputPolicy"] = "Ignore"
        # Nothing else is left, so that nobody can tell whether it is the item: the service has failed.
        assert steps.evaluate(url, client=client, attempt="attempt-2").code == 69
    assert steps.verify(client=client).code == 0
    assert runs.pairs(store.verified().to_pylist()) == runs.all_pairs(range(1, 30))
    assert [(row["_index_"], row["error"], row["status"]) for row in store.errors()] == [(0, "TransientErrors", 500)]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_all_workers(store, steps, status, form):
    """A service that says when to come back, in seconds or as a date, is called by no worker before."""
    store.dataset(runs.rows(200))
    asked, until = [], []

    def reply(prompt, tries):
        asked.append(time.time())
        if prompt != "prompt number 20" or tries > 1:
            return 200, {}, 0.01
        until.append(time.time() + 2)
        return status, {"Retry-After": "2" if form == "seconds" else email.utils.formatdate(until[0] + 1, usegmt=True)}

    with runs.a_service(reply) as (url, _):
        assert steps.evaluate(url, workers=8, client={"transientErrorRetryDelaySeconds": 1}).code == 0
    reported = until[0] - 2
    # Those that were under way when it was said have come by then.
    early = [at - reported for at in asked if reported + 0.3 < at < until[0]]
    assert early == []
    assert len([at for at in asked if at >= until[0]]) > 100
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(200))


@pytest.mark.parametrize(
    "header", ["-1", "soon", "", "1.5", "Mon, 99 Nov 99999999999999999999 99:99:99 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"]
)
def test_a_retry_after_that_says_nothing(store, steps, header):
    """A Retry-After that cannot be understood, or is over, is as none: the call is tried again after the usual delay."""
    store.dataset(runs.rows(1))
    with runs.a_service(lambda prompt, tries: (503, {"Retry-After": header}) if tries == 1 else 200) as (url, seen):
        assert steps.evaluate(url).code == 0
    assert seen["prompt number 0"] == 2


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize("header", ["1764412800", "86400", "9" * 400, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_pause_that_is_longer_than_the_time_left(store, steps, status, header):
    """The run ends at once and says why; with Ignore that is no error. What was done is stored."""
    store.dataset(runs.rows(10))
    with runs.a_service(lambda prompt, tries: (status, {"Retry-After": header}) if prompt == "prompt number 5" else 200) as (url, seen):
        ended = steps.evaluate(url, workers=1)
        assert ended.code == 20, ended
        assert "asks for a pause of" in ended.last
        assert "client.totalTimeoutSeconds" in ended.last
        assert f"status {status}" in ended.last
        assert seen["prompt number 5"] == 1
        assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(5))
        assert steps.evaluate(url, workers=1, client={"missingOutputPolicy": "Ignore"}, attempt="attempt-2").code == 0


@pytest.mark.parametrize(
    ("reply", "client", "error"),
    [
        ((500, {}, 0, "boom"), {"totalTimeoutSeconds": 3}, "TransientErrors"),
        ((404, {}, 0, "boom"), {"totalTimeoutSeconds": 1}, "Refused"),
        ((503, {"Retry-After": "86400"}, 0, "boom"), {}, "TransientErrors"),
        ((500, {}, 0, "boom"), {"transientErrorRetryLimit": 1}, "TransientErrors"),
    ],
)
def test_an_item_that_is_still_retried_at_the_end(store, steps, reply, client, error):
    """If the run ends while an item is retried, for whatever reason, errors.parquet has its last failure."""
    store.dataset(runs.rows(5))
    with runs.a_service(lambda prompt, tries: reply if prompt == "prompt number 3" else 200) as (url, _):
        assert steps.evaluate(url, workers=1, client=client).code != 0
    assert steps.salvage(client=client).code == 0
    found = store.errors(store.incomplete()["artifacts"])
    assert [(row["_index_"], row["error"], row["status"]) for row in found] == [(3, error, reply[0])]
    assert re.match("the run ended before the next try; the last: status .*boom", found[0]["message"])


def test_a_pause_without_a_time_limit_is_bounded(store, steps):
    """A run without a limit of its own does not wait for decades either."""
    store.dataset(runs.rows(1))
    with runs.a_service(lambda prompt, tries: (503, {"Retry-After": "1764412800"})) as (url, _):
        ended = steps.evaluate(url, client={"totalTimeoutSeconds": 0})
    assert (ended.code, "1764412800 s until 20" in ended.last) == (20, True), ended


def test_a_pause_shows_in_the_progress(store, steps):
    """While all workers pause, the progress says until when and why; it says what is retried, how often and after which answer."""
    store.dataset(runs.rows(1))
    replies = iter([*[(500, {}, 0, "boom")] * 4, (429, {"Retry-After": "3600"})])
    with runs.a_service(lambda prompt, tries: next(replies)) as (url, _):
        process = steps.start("evaluation-client", "--manifest", steps.manifest(url))
        retried = re.compile(
            r"trying again at 20.*: item 0, .*, which has failed [34] times; the last time: status 500: .*boom.* "
            r"\(given up after \d+ errors in a row with client.transientErrorRetryLimit, or at 20.*Z with client.totalTimeoutSeconds\)"
        )
        runs.wait_for(lambda: store.has_progress() and retried.match(store.progress().get("message", "")))
        said = runs.wait_for(lambda: (text := store.progress().get("message", "")).startswith("no calls until") and text)
        process.terminate()
        output, _ = process.communicate(timeout=30)
    assert "status 429" in said
    assert "boom" in output
    assert process.returncode == 143


def test_a_rate_limit_costs_no_item(store, steps):
    """However often a service says that it is too much, all items are done, and hardly more is asked than it allows."""
    store.dataset(runs.rows(60))
    window = {"start": 0.0, "count": 0}

    def reply(prompt, tries):
        if time.monotonic() - window["start"] >= 1:
            window.update(start=time.monotonic(), count=0)
        window["count"] += 1
        return 200 if window["count"] <= 20 else (429, {"Retry-After": "1"})

    with runs.a_service(reply) as (url, seen):
        ended = steps.evaluate(url, workers=8, client={"transientErrorRetryLimit": 2, "transientErrorRetryDelaySeconds": 1})
    assert ended.code == 0, ended
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(60))
    assert sum(seen.values()) < 60 + 6 * 8


def test_too_many_requests_without_a_time(store, steps):
    """A 429 that doesn't say for how long is a pause of all workers, too, as long as a retry's delay."""
    store.dataset(runs.rows(100))
    asked = []

    def reply(prompt, tries):
        asked.append(time.monotonic())
        return 429 if len(asked) == 10 else (200, {}, 0.01)

    with runs.a_service(reply) as (url, _):
        assert steps.evaluate(url, workers=8).code == 0
    assert max(later - earlier for earlier, later in itertools.pairwise(sorted(asked))) >= 0.2


def test_a_request_that_hangs_is_tried_again(store, steps):
    """A call longer than requestTimeoutSeconds is given up and made again."""
    store.dataset(runs.rows(2))
    with runs.a_service(lambda prompt, tries: (200, {}, 3.0 if prompt == "prompt number 0" and tries == 1 else 0)) as (url, seen):
        client = {"requestTimeoutSeconds": 1, "transientErrorRetryDelaySeconds": 1}
        assert steps.evaluate(url, client=client).code == 0
    assert seen["prompt number 0"] == 2


def test_a_refused_request_aborts(store, steps, service):
    """With badRequestPolicy Abort a 400 fails the run at once and names the item and the choices."""
    store.dataset(runs.rows(10))
    failed = steps.evaluate(service, endpoint="errors/400", workers=1, process=True)
    assert failed.code == 76
    assert "status 400 for item 0" in failed.last
    assert "this endpoint refuses everything" in failed.last
    assert "client.badRequestPolicy to Skip" in failed.last


def test_a_refused_request_is_skipped(store, steps, service):
    """With badRequestPolicy Skip a refused item has no responses (null), and the run completes."""
    store.dataset(runs.rows(10))
    client = {"badRequestPolicy": "Skip"}
    assert steps.evaluate(service, endpoint="errors/400", client=client).code == 0
    assert [row["responses"] for row in store.raw_rows()] == [None] * 10
    assert steps.verify(client=client).code == 0
    assert store.verified().column("responses").null_count == 10
    assert steps.verify(attempt="verify-2", client=client).last.startswith("verified before: 3 files")


def test_why_items_have_no_responses_is_data(store, steps):
    """With Skip, users find each item without responses next to the outputs, with the status and the words of the service."""
    store.dataset([*runs.rows(3), {"_index_": 3, "text": None}, *runs.rows(2, start=4)])
    client = {"badRequestPolicy": "Skip"}
    inputs = [
        {
            "kind": "TransformJSON",
            "configuration": {"prompt": {"$compute": [{"$scalar": "$.text"}, {"$func": "sub", "pattern": "x", "repl": "y"}]}},
        }
    ]
    with runs.a_service(lambda prompt, tries: (422, {}, 0, "too long") if prompt == "prompt number 1" else 200) as (url, seen):
        ended = steps.evaluate(url, client=client, inputs=inputs, replications=2)
    assert (ended.code, sum(seen.values())) == (0, 10), ended
    assert steps.verify(client=client, replications=2).code == 0
    without = sorted((row["_index_"], row["_replication_"]) for row in store.verified().to_pylist() if row["responses"] is None)
    assert without == [(row["_index_"], row["_replication_"]) for row in store.errors()] == runs.all_pairs([1, 3], 2)
    found = {row["_index_"]: (row["error"], row["status"], row["message"]) for row in store.errors()}
    assert found[1][:2] == ("BadRequest", 422)
    assert "too long" in found[1][2]
    assert found[3][:2] == ("InputPipeline", None)
    assert "adapter 0 (TransformJSON)" in found[3][2]


def test_a_pipeline_that_gives_several_objects(store, steps, service):
    """An item of which the input pipeline makes no single request ends the run, or is recorded with Skip."""
    store.dataset([{"_index_": 0, "text": ["a", "b"]}, {"_index_": 1, "text": ["c"]}])
    inputs = [{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}, *runs.PROMPT_IN]
    failed = steps.evaluate(service, inputs=inputs)
    assert (failed.code, "one object for each item, and gives 2" in failed.last) == (65, True)
    assert steps.evaluate(service, inputs=inputs, client={"badRequestPolicy": "Skip"}, attempt="attempt-2").code == 0
    assert [(row["_index_"], row["error"]) for row in store.raw_errors()] == [(0, "InputPipeline")]


def test_an_error_that_a_later_attempt_overcame_is_none(store, steps, service):
    """What an earlier attempt recorded of an item is not shown if the item has responses now."""
    store.dataset(runs.rows(2))
    failure = {"error": "TransientErrors", "status": 500, "message": "oh", "_replication_": runs.all_pairs([0])[0][1]}
    store.raw_error([{**failure, "_index_": 0}])
    assert steps.evaluate(service).code == steps.verify().code == 0
    assert [artifact["path"] for artifact in store.manifest()] == ["part-00000.parquet"]


def test_an_endpoint_that_is_not_there(store, steps, service):
    """A 404 is no item's fault, so Skip does not hide it."""
    store.dataset(runs.rows(2))
    failed = steps.evaluate(service, endpoint="no/such/route", client={"badRequestPolicy": "Skip"})
    assert failed.code == 76
    assert "'no/such/route'" in failed.last
    assert "Correct interface.endpoint" in failed.last


@pytest.mark.parametrize(
    ("schema", "outputs", "want_words"),
    [
        (runs.published.make_response_schema(pa.schema([pa.field("text", pa.int64())])), runs.CHOICES_OUT, "do not fit the output schema"),
        (
            runs.published.make_response_schema(pa.schema([pa.field("label", pa.string())])),
            runs.CHOICES_OUT,
            "none of the output schema's fields (label)",
        ),
        (runs.SCHEMA, [{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}], "does not fit the output pipeline"),
    ],
)
def test_answers_that_do_not_fit(store, steps, service, monkeypatch, schema, outputs, want_words):
    """If no answer fits the output pipeline or schema, the run fails and names the item."""
    monkeypatch.setattr(inference, "_FIRST_DELAY_S", 0.01)
    store.dataset(runs.rows(1))
    failed = steps.evaluate(service, schema=schema, outputs=outputs)
    assert failed.code == 10
    assert "item 0" in failed.last
    assert want_words in failed.last


def test_rows_that_fit_are_stored_next_to_one_that_does_not(store, steps):
    """One answer that does not fit the schema costs its item, and none of the others."""
    store.dataset(runs.rows(5))
    with runs.a_service(lambda prompt, tries: (200, {}, 0, 7 if prompt == "prompt number 3" else "fine")) as (url, _):
        failed = steps.evaluate(url, workers=1, outputs=runs.TEXT_OUT)
    assert failed.code == 20
    assert "item 3" in failed.last
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([0, 1, 2, 4])


def test_a_row_that_arrow_cannot_store_costs_its_item(store, steps):
    """What the check of an answer cannot foresee is found when the file is written, and costs its item only."""
    fields: list[pa.Field[Any]] = [pa.field("_replication_", pa.string()), pa.field("_index_", pa.int8()), runs.SCHEMA.field("responses")]
    schema = schema_of(*fields)
    store.dataset(runs.rows(3, start=126))
    with runs.a_service(lambda prompt, tries: 200) as (url, _):
        ended = steps.evaluate(url, schema=schema)
    assert (ended.code, "1 of 3 items" not in ended.last) == (20, True), ended
    assert sorted(row["_index_"] for row in store.raw_rows()) == [126, 127]
    assert [(row["_index_"], row["error"]) for row in store.raw_errors()] == [(128, "UnfitAnswer")]
    assert store.progress()["done"] == 2
    assert store.progress()["items"] == {"done": 2, "errors": 1, "total": 3}


def test_a_service_that_is_late(store, steps):
    """The client waits for a service that starts after it."""
    store.dataset(runs.rows(3))
    port = free_port()
    process = steps.start("evaluation-client", "--manifest", steps.manifest(f"http://127.0.0.1:{port}"))
    runs.wait_for(lambda: (store.objects / "outputs").exists())
    with runs.a_mock_service(port):
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "waiting for the service" in output


@pytest.mark.parametrize("status", [204, 302, 400, 401, 403, 404, 405, 410, 501])
def test_a_service_without_a_route_for_readiness(store, steps, status):
    """A service that answers, but has no such route or guards it, is called; it need not know how Dyff asks."""
    store.dataset(runs.rows(3))
    limits = {"transientErrorRetryLimit": 1, "transientErrorRetryDelaySeconds": 5}
    with runs.a_service(lambda prompt, tries: 200, probe=status) as (url, _):
        assert steps.evaluate(url, client=limits).code == 0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_service_that_is_not_ready_yet(store, steps, status):
    """An answer that asks to come again later is no readiness: the client asks until there is another one."""
    store.dataset(runs.rows(3))
    with runs.a_service(lambda prompt, tries: 200, probe=itertools.chain([status, status], itertools.repeat(200))) as (url, _):
        ended = steps.evaluate(url)
    assert (ended.code, f"says {status}" in "".join(ended.lines)) == (0, True), ended


def test_a_service_that_never_comes(store, steps):
    """Without a service the run fails after retry limit times retry delay, and says where to look."""
    store.dataset(runs.rows(3))
    failed = steps.evaluate(f"http://127.0.0.1:{free_port()}", client={"transientErrorRetryLimit": 1, "transientErrorRetryDelaySeconds": 1})
    assert failed.code == 69
    assert "was not ready within 1 s: no connection" in failed.last
