"""The evaluation client and the verification, from a dataset to what users see."""

from __future__ import annotations

import email.utils
import itertools
import json
import signal
import time

import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.entities import kinds
from dyff.workflows import inference, mock_service
from tests.workflows import runs


def test_from_dataset_to_verified_output(store, steps, service):
    """Every item is there once for each replication, in order, with the schema and the answers that belong to it."""
    store.dataset(runs.rows(30))
    client = steps.evaluate(service, replications=2, process=True)
    assert client.code == 0, client
    assert client.last == "done: 60 of 60 items"
    assert store.progress()["done"] == store.progress()["total"] == 60
    verification = steps.verify(replications=2, process=True)
    assert verification.code == 0, verification
    table = store.verified()
    assert table.schema.equals(runs.SCHEMA)
    assert table.column_names == ["_replication_", "_index_", "responses"]
    replications = [kinds.replication_id(runs.EVALUATION, number) for number in (0, 1)]
    assert [(row["_index_"], row["_replication_"]) for row in table.to_pylist()] == [(i, r) for i in range(30) for r in replications]
    want = mock_service.completion("prompt number 7", 0, 16)
    assert table.to_pylist()[14]["responses"] == [{"_response_index_": 0, "text": want}]
    assert store.progress() == {**store.progress(), "stage": "Verification", "done": 60, "total": 60}


def test_the_manifest_lists_what_users_see(store, steps, service):
    """Paths in the manifest are without the attempt; keys, sizes and digests are those of the objects."""
    store.dataset(runs.rows(3))
    assert steps.evaluate(service).code == 0
    assert steps.verify(attempt="verify-abc").code == 0
    [artifact] = store.manifest()
    assert artifact["path"] == "part-00000.parquet"
    assert artifact["key"] == f"outputs/{runs.EVALUATION}/verified/verify-abc/part-00000.parquet"
    data = (store.objects / artifact["key"]).read_bytes()
    assert (artifact["kind"], artifact["size"], artifact["digest"]["md5"]) == ("parquet", len(data), runs.md5(data))


def test_several_responses_to_an_item(store, steps, service):
    """Several responses to one item are one row, numbered from 0."""
    store.dataset(runs.rows(2))
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": "$.text", "n": 3}}]
    assert steps.evaluate(service, endpoint="/generate", inputs=inputs, outputs=runs.TEXT_OUT).code == 0
    want = [{"_response_index_": place, "text": mock_service.completion("prompt number 1", place, 16)} for place in range(3)]
    assert next(row for row in store.raw_rows() if row["_index_"] == 1)["responses"] == want


def test_the_clients_own_pipeline_comes_first(store, steps, service):
    """client.inputPipeline is applied before the service's, so a service never sees what it drops."""
    store.dataset([{"_index_": 0, "text": "public", "name": "private"}])
    client = {"inputPipeline": [{"kind": "Drop", "configuration": {"fields": ["name"]}}]}
    assert steps.evaluate(service, client=client).code == 0
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": "$.name"}}]
    refused = steps.evaluate(service, client=client, inputs=inputs, replications=2)
    assert refused.code == 65
    assert "Item 0 does not fit the input pipeline: adapter 1 (TransformJSON): $.name must match exactly one value" in refused.last


def test_a_response_schema_is_completed(store, steps, service):
    """An output schema of responses alone gets the columns of an output, as published."""
    store.dataset(runs.rows(2))
    schema = pa.schema([pa.field("text", pa.string())])
    assert steps.evaluate(service, schema=schema).code == 0
    assert steps.verify(schema=schema).code == 0
    assert store.verified().schema.equals(runs.SCHEMA)


def test_hive_partitions_and_hidden_files(store, steps, service):
    """Partition directories are columns of the rows, and what begins with a dot is not data."""
    store.dataset([{"_index_": 0, "text": "one"}], name="language=en/a.parquet")
    store.dataset([{"_index_": 1, "text": "zwei"}], name="language=de/a.parquet")
    store.dataset([{"_index_": 2, "text": "hidden"}], name=".hidden/a.parquet")
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": "$.language"}}]
    assert steps.evaluate(service, inputs=inputs).code == 0
    assert {row["_index_"]: row["responses"][0]["text"] for row in store.raw_rows()} == {
        0: mock_service.completion("en", 0, 16),
        1: mock_service.completion("de", 0, 16),
    }


def test_files_of_one_dataset_may_differ(store, steps, service):
    """A file without some column, or with a narrower type, has its rows completed to the dataset's schema."""
    store.dataset(pa.table({"_index_": [0], "text": ["one"], "extra": ["a"]}), name="a.parquet")
    store.dataset(pa.table({"_index_": pa.array([1], pa.int16()), "text": ["two"]}), name="b.parquet")
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": "$.text", "user": "$.extra"}}]
    assert steps.evaluate(service, inputs=inputs).code == 0
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([0, 1])
    assert steps.verify().code == 0


def test_bytes_and_times_reach_the_pipeline_as_json(store, steps, service):
    """Binary fields are base64 text and times RFC 3339 text before the input pipeline sees them."""
    store.dataset(pa.table({"_index_": [0], "text": [b"\x00\xff"], "at": pa.array([0], pa.timestamp("s", "UTC"))}))
    inputs = [
        {
            "kind": "TransformJSON",
            "configuration": {"prompt": {"$compute": [{"$list": [{"$scalar": "$.text"}, {"$scalar": "$.at"}]}, {"$func": "join"}]}},
        }
    ]
    assert steps.evaluate(service, inputs=inputs).code == 0
    assert store.raw_rows()[0]["responses"][0]["text"] == mock_service.completion("AP8=1970-01-01T00:00:00Z", 0, 16)


def test_a_killed_run_goes_on_at_the_missing_items(store, steps):
    """After kill -9 in the middle the next attempt does what is missing, and users see every item once."""
    store.dataset(runs.rows(200))
    with runs.a_slow_service(delay_s=0.02) as (url, seen):
        client = {"batchSize": 20}
        process = steps.start("evaluation-client", "--manifest", steps.manifest(url, workers=4, client=client), attempt="attempt-1")
        runs.wait_for(lambda: len(store.raw_rows()) >= 40)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        stored = len(store.raw_rows())
        assert 40 <= stored < 200
        before = sum(seen.values())
        again = steps.evaluate(url, workers=4, client=client, attempt="attempt-2")
        assert again.code == 0, again
        assert f"200 items in all, {stored} already done" in again.lines[0]
        assert sum(seen.values()) - before == 200 - stored
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(200))
    assert steps.verify().code == 0
    assert runs.pairs(store.verified().to_pylist()) == runs.all_pairs(range(200))


def test_duplicates_of_earlier_attempts(store, steps, service):
    """With duplicateOutputPolicy Error a run that already has duplicates ends before it calls the service again."""
    store.dataset(runs.rows(3))
    store.raw(runs.outputs([0, 1, 1]))
    failed = steps.evaluate(service, client={"duplicateOutputPolicy": "Error"})
    assert (failed.code, "1 outputs were stored twice" in failed.last) == (10, True)
    assert steps.evaluate(service).code == 0


def test_sigterm_stores_what_is_done(store, steps):
    """SIGTERM stores finished rows at once, and says that the next attempt resumes."""
    store.dataset(runs.rows(1000))
    with runs.a_slow_service(delay_s=0.02) as (url, seen):
        process = steps.start("evaluation-client", "--manifest", steps.manifest(url, workers=2))
        runs.wait_for(lambda: len(seen) >= 20)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 143
    assert "resumes at the missing items" in output.splitlines()[-1]
    assert len(store.raw_rows()) >= 18


def test_transient_errors_are_tried_again(store, steps, service):
    """A service that fails now and then is asked again until every item is done."""
    store.dataset(runs.rows(20))
    client = steps.evaluate(
        service, endpoint="openai/v1/completions/transient-errors", workers=8, process=True, client={"transientErrorRetryDelaySeconds": 1}
    )
    assert client.code == 0, client
    assert any("trying again" in line and "status 503" in line for line in client.lines)
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
    """Errors are counted anew after any success: an item may fail more often than the limit while others succeed."""
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
    client = {"transientErrorRetryLimit": 2, "transientErrorRetryDelaySeconds": 1}
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
    told = until[0] - 2
    # Those that were under way when it was said have come by then.
    early = [at - told for at in asked if told + 0.3 < at < until[0]]
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


def test_a_retry_after_beyond_all_measure(store, steps):
    """An absurd Retry-After is a pause like others, which the run's own limit ends."""
    store.dataset(runs.rows(1))
    with runs.a_service(lambda prompt, tries: (503, {"Retry-After": "9" * 400})) as (url, _):
        ended = steps.evaluate(url, client={"totalTimeoutSeconds": 1})
    assert (ended.code, any("no calls for 86400.0 s" in line for line in ended.lines)) == (20, True), ended


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
    assert steps.verify(attempt="verify-2", client=client).last.startswith("verified before: 2 files")


def test_why_items_have_no_responses_is_data(store, steps):
    """With Skip, users find each item without responses beside the outputs, with the status and the words of the service."""
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
            "none of the output schema's (label)",
        ),
        (runs.SCHEMA, [{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}], "does not fit the output pipeline"),
    ],
)
def test_answers_that_do_not_fit(store, steps, service, schema, outputs, want_words):
    """Answers that don't fit the output pipeline or schema fail the run and name the item."""
    store.dataset(runs.rows(1))
    failed = steps.evaluate(service, schema=schema, outputs=outputs)
    assert failed.code == 10
    assert "item 0" in failed.last
    assert want_words in failed.last


def test_rows_that_fit_are_stored_beside_one_that_does_not(store, steps):
    """One answer that does not fit the schema fails the run, and loses none of the others."""
    store.dataset(runs.rows(5))
    with runs.a_service(lambda prompt, tries: (200, {}, 0, 7 if prompt == "prompt number 3" else "fine")) as (url, _):
        failed = steps.evaluate(url, workers=1, outputs=runs.TEXT_OUT)
    assert failed.code == 10
    assert "item 3" in failed.last
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([0, 1, 2, 4])


def test_a_service_that_is_late(store, steps):
    """The client waits for a service that starts after it."""
    store.dataset(runs.rows(3))
    port = runs.free_port()
    process = steps.start("evaluation-client", "--manifest", steps.manifest(f"http://127.0.0.1:{port}"))
    runs.wait_for(lambda: (store.objects / "outputs").exists())
    with runs.a_mock_service(port):
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "waiting for the service" in output


def test_a_service_that_never_comes(store, steps):
    """Without a service the run fails after retry limit times retry delay, and says where to look."""
    store.dataset(runs.rows(3))
    failed = steps.evaluate(
        f"http://127.0.0.1:{runs.free_port()}", client={"transientErrorRetryLimit": 1, "transientErrorRetryDelaySeconds": 1}
    )
    assert failed.code == 69
    assert "was not ready within 1 s: no connection" in failed.last


def test_the_time_is_up(store, steps):
    """After totalTimeoutSeconds the run ends as incomplete and keeps what is done; with Ignore that is no error."""
    store.dataset(runs.rows(50))
    with runs.a_slow_service(delay_s=0.2) as (url, _):
        late = steps.evaluate(url, workers=1, client={"totalTimeoutSeconds": 2})
        assert late.code == 20
        assert "of 50 items were done within client.totalTimeoutSeconds=2" in late.last
        assert 0 < len(store.raw_rows()) < 50
        assert (
            steps.evaluate(url, workers=1, client={"totalTimeoutSeconds": 1, "missingOutputPolicy": "Ignore"}, attempt="attempt-2").code
            == 0
        )
    assert steps.verify(client={"missingOutputPolicy": "Ignore"}).code == 0
    assert 0 < store.verified().num_rows < 50


@pytest.mark.parametrize(
    ("indices", "want_words"),
    [
        (pa.array([1, 2, 1], pa.int64()), "1 rows of the dataset have an _index_ that another row has"),
        (pa.array([1, None], pa.int64()), "1 rows of the dataset have no _index_"),
        (pa.array(["a"]), "needs a column _index_ of whole numbers"),
    ],
    ids=["twice", "none", "text"],
)
def test_rows_that_cannot_be_told_apart_are_never_sent(store, steps, indices, want_words):
    """The whole dataset's `_index_` is checked before the first call, not after the last."""
    store.dataset(pa.table({"_index_": indices, "text": ["a"] * len(indices)}))
    with runs.a_service(lambda prompt, tries: 200) as (url, seen):
        ended = steps.evaluate(url)
    assert (ended.code, want_words in ended.last, dict(seen)) == (65, True, {}), ended


def test_nothing_left_to_do_needs_no_service(store, steps):
    """A run that finds everything done ends well, even if the service is gone."""
    store.dataset(runs.rows(3))
    store.raw(runs.outputs(range(3)))
    assert steps.evaluate(f"http://127.0.0.1:{runs.free_port()}").last == "done: 3 of 3 items"


def test_extra_options_are_told_and_ignored(store, steps, service):
    """client.extraOptions are for other clients: ours names those it is given and does its work."""
    store.dataset(runs.rows(3))
    ended = steps.evaluate(service, client={"extraOptions": {"speed": "high"}})
    assert ended.code == 0
    assert any("'speed'" in line and "ignores them" in line for line in ended.lines)


def test_times_of_zero_are_no_limits(store, steps):
    """requestTimeoutSeconds and totalTimeoutSeconds of 0 mean that there is no limit."""
    store.dataset(runs.rows(2))
    with runs.a_slow_service(delay_s=0.5) as (url, _):
        assert steps.evaluate(url, client={"requestTimeoutSeconds": 0, "totalTimeoutSeconds": 0}).code == 0


def test_a_conversation_is_an_item(store, steps):
    """Several turns are one item: a list of messages in a field arrives whole and in order, once for each replication."""
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}, {"role": "user", "content": "Again?"}]
    store.dataset([{"_index_": 0, "messages": turns}, {"_index_": 1, "messages": turns[:1]}])
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": "$.messages"}}]
    said = []

    def reply(messages, tries):
        said.append(json.loads(messages))
        return 200

    with runs.a_service(reply) as (url, _):
        assert steps.evaluate(url, inputs=inputs, replications=2).code == 0
    assert sorted(said, key=len) == [turns[:1]] * 2 + [turns] * 2


def test_a_dataset_that_is_not_there(store, steps, service):
    """No dataset, or one without indices, is the dataset's fault and says so."""
    assert "has no files" in steps.evaluate(service).last
    for wrong in ([{"text": "no index"}], [{"_index_": "zero", "text": "x"}], [{"_index_": None, "text": "x"}]):
        store.dataset(wrong)
        assert steps.evaluate(service).code == steps.verify().code == 65
    store.dataset(runs.rows(2))
    (store.objects / "datasets" / runs.DATASET / "data.parquet").write_bytes(b"not parquet")
    assert steps.evaluate(service).code == 65


@pytest.mark.parametrize(
    ("change", "want_words"),
    [
        ({"inputs": [{"kind": "Nothing"}]}, "inputPipeline.0.kind"),
        ({"outputs": [{"kind": "Select", "configuration": {}}]}, "outputPipeline.0.configuration.fields"),
        ({"endpoint": "with space"}, "interface.endpoint"),
        ({"url": "ftp://somewhere"}, "session.url"),
    ],
)
def test_wrong_manifests(store, steps, service, change, want_words):
    """What is wrong with a manifest is named, before anything is sent."""
    store.dataset(runs.rows(1))
    failed = steps.evaluate(**{"url": service, **change})
    assert failed.code == 78
    assert want_words in failed.last


def test_wrong_surroundings(store, steps, tmp_path):
    """A missing manifest or environment variable is named."""
    store.dataset(runs.rows(1))
    assert "cannot be read" in steps.call("evaluation-client", "--manifest", tmp_path / "none.json").last
    empty = tmp_path / "empty.json"
    empty.write_text('{"spec": {"id": "x"}}')
    failed = steps.call("evaluation-client", "--manifest", empty)
    assert (failed.code, "dataset" in failed.last) == (78, True)
    assert "DYFF_ATTEMPT" in steps.call("verify-evaluation-output", "--manifest", steps.manifest(), attempt="").last


def test_connections_are_kept_for_one_replica_and_not_for_several(store, steps):
    """One replica is called over as many connections as there are workers; several get a new one for each call."""
    store.dataset(runs.rows(40))
    with runs.a_service(lambda prompt, tries: 200) as (url, _), runs.counting_proxy(url) as (proxy, connections):
        assert steps.evaluate(proxy, workers=2, outputs=runs.TEXT_OUT).code == 0
        assert len(connections) <= 3
        connections.clear()
        assert steps.evaluate(proxy, workers=1, replicas=2, replications=2, outputs=runs.TEXT_OUT, attempt="attempt-2").code == 0
        assert len(connections) >= 40
