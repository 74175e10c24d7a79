"""The evaluation client and the verification, from a dataset to what users see."""

from __future__ import annotations

import json
import signal

import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.entities import specs
from dyff.workflows import mock_service
from tests.engines.ports import free_port
from tests.workflows import runs


def test_from_dataset_to_verified_output(store, steps, service):
    """Every item is there once for each replication, in order, with the schema and the answers that belong to it."""
    store.dataset(runs.rows(30))
    client = steps.evaluate(service, replications=2, process=True)
    assert client.code == 0, client
    assert client.last == "done: 60 of 60 items"
    assert store.progress()["done"] == store.progress()["total"] == 60
    assert store.progress()["items"] == {"done": 60, "errors": 0, "total": 60}
    verification = steps.verify(replications=2, process=True)
    assert verification.code == 0, verification
    table = store.verified()
    assert table.schema.equals(runs.SCHEMA)
    assert table.column_names == ["_replication_", "_index_", "responses"]
    replications = [specs.replication_id(runs.EVALUATION, number) for number in (0, 1)]
    assert [(row["_index_"], row["_replication_"]) for row in table.to_pylist()] == [(i, r) for i in range(30) for r in replications]
    want = mock_service.completion("prompt number 7", 0, 16)
    assert table.to_pylist()[14]["responses"] == [{"_response_index_": 0, "text": want}]
    assert store.progress() == {**store.progress(), "stage": "Verification", "done": 60, "total": 60}
    assert store.progress()["items"] == {"done": 60, "errors": 0, "total": 60}  # passed on, for the metrics


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


def test_the_time_is_up(store, steps):
    """After totalTimeoutSeconds the run ends as incomplete and keeps what is done; with Ignore that is no error."""
    store.dataset(runs.rows(50))
    with runs.a_slow_service(delay_s=0.2) as (url, _):
        late = steps.evaluate(url, workers=1, client={"totalTimeoutSeconds": 2})
        assert late.code == 20
        assert "of 50 items were done. The time was up (client.totalTimeoutSeconds=2)" in late.last
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
def test_rows_that_cannot_be_distinguished_are_never_sent(store, steps, indices, want_words):
    """The whole dataset's `_index_` is checked before the first call, not after the last."""
    store.dataset(pa.table({"_index_": indices, "text": ["a"] * len(indices)}))
    with runs.a_service(lambda prompt, tries: 200) as (url, seen):
        ended = steps.evaluate(url)
    assert (ended.code, want_words in ended.last, dict(seen)) == (65, True, {}), ended


def test_nothing_left_to_do_needs_no_service(store, steps):
    """A run that finds everything done ends well, even if the service is gone."""
    store.dataset(runs.rows(3))
    store.raw(runs.outputs(range(3)))
    assert steps.evaluate(f"http://127.0.0.1:{free_port()}").last == "done: 3 of 3 items"


def test_extra_options_are_reported_and_ignored(store, steps, service):
    """client.extraOptions are for other clients: ours names those it is given and does its work."""
    store.dataset(runs.rows(3))
    ended = steps.evaluate(service, client={"extraOptions": {"speed": "high"}})
    assert ended.code == 0
    assert any("'speed'" in line and "ignores them" in line for line in ended.lines)


def test_times_of_zero_are_no_limits(store, steps):
    """requestTimeoutSeconds and totalTimeoutSeconds of 0 mean no limit."""
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
    empty.write_text(f'{{"spec": {{"id": "{runs.EVALUATION}", "account": "a"}}}}')
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
