"""The published client, unmodified, drives the whole path of an evaluation."""

from __future__ import annotations

import time
import uuid

import httpx
import pyarrow.dataset
import pytest
from dyff.client import Client
from dyff.schema import requests

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def client(server, token):
    return Client(api_token=token, endpoint=server.endpoint)


@pytest.fixture(scope="module")
def dataset(client, account, prompts):
    created = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(created, prompts)
    return eventually(lambda: client.datasets.get(created.id), "Ready")


@pytest.fixture(scope="module")
def service(client, account, service_request):
    request = requests.InferenceServiceCreateRequest.model_validate(service_request(account))
    return (
        eventually(lambda: client.inferenceservices.get(created.id), "Ready")
        if (created := client.inferenceservices.create(request))
        else None
    )


def eventually(get, *wanted: str, deadline_s: float = 120.0):
    """The entity, once its status is one of `wanted`."""
    end = time.monotonic() + deadline_s
    while True:
        entity = get()
        if entity.status in wanted:
            return entity
        terminal = entity.status in ("Failed", "Error", "Complete", "Ready", "Terminated", "Deleted")
        assert not terminal, f"{entity.status}: {entity.reason}: {entity.message}"
        assert time.monotonic() < end, f"still {entity.status}: {entity.reason}: {entity.message}"
        time.sleep(0.1)


def evaluation_request(account, dataset, service, **more):
    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    return requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session, **more)


def test_an_evaluation_ends_with_verified_outputs(client, account, dataset, service, tmp_path):
    """Every item times every replication is answered once, and can be downloaded and traced to its prompt."""
    created = client.evaluations.create(evaluation_request(account, dataset, service, replications=2, workersPerReplica=2))
    assert created.status == "Created"
    done = eventually(lambda: client.evaluations.get(created.id), "Complete")
    client.evaluations.download(done.id, tmp_path / "outputs")
    rows = pyarrow.dataset.dataset(tmp_path / "outputs").to_table().to_pylist()
    assert sorted((row["_index_"], row["_replication_"]) for row in rows) == sorted(
        (index, uuid.uuid5(uuid.UUID(done.id), str(replication)).hex) for index in range(20) for replication in range(2)
    )
    assert all(row["responses"][0]["text"] for row in rows)


def test_an_evaluation_is_found_by_the_common_keys(client, account, dataset, service):
    """Queries by account, dataset, service, labels and status find what was created, and only that."""
    created = client.evaluations.create(evaluation_request(account, dataset, service))
    client.evaluations.label(created.id, {"purpose": "query-test"})
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    for key in ({"id": created.id}, {"labels": {"purpose": "query-test"}}, {"query": {"id": created.id}}):
        assert [each.id for each in client.evaluations.query(**key)] == [created.id]
    found = client.evaluations.query(account=account, dataset=dataset.id, inferenceServiceName="mock", status="Complete")
    assert created.id in [each.id for each in found]
    assert client.evaluations.query(dataset="0" * 32) == []


def test_workflow_logs_tell_what_the_pods_did(client, account, dataset, service):
    """The log of an evaluation has the lines of its steps."""
    created = client.evaluations.create(evaluation_request(account, dataset, service))
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    logs = client.evaluations.workflow_logs(created.id, limit=500)
    assert logs.logs


def test_a_session_serves_inference_and_is_terminated(client, account, service):
    """A session becomes ready, answers with its own token, refuses an account's token, and ends when it is told to."""
    created = client.inferencesessions.create(requests.InferenceSessionCreateRequest(account=account, inferenceService=service.id))
    session = created.inferencesession
    end = time.monotonic() + 60
    while not client.inferencesessions.ready(session.id):
        assert time.monotonic() < end
        time.sleep(0.1)
    interface = session.inferenceService.interface
    infer = client.inferencesessions.client(session.id, created.token, interface=interface)
    assert infer.infer({"text": "hello"})[0]["text"]
    fresh = client.inferencesessions.client(session.id, client.inferencesessions.token(session.id), interface=interface)
    assert fresh.infer({"text": "hello"})[0]["text"]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        client.inferencesessions.client(session.id, client._api_token, interface=interface).infer({"text": "hello"})
    assert refused.value.response.status_code == 403
    assert client.inferencesessions.terminate(session.id).status == "Terminated"
    assert client.inferencesessions.get(session.id).reason == "TerminateCommand"


def test_an_evaluation_can_use_a_running_session(client, account, dataset, service):
    """With a session reference no session of its own is started, and the session stays."""
    session = client.inferencesessions.create(
        requests.InferenceSessionCreateRequest(account=account, inferenceService=service.id)
    ).inferencesession
    created = client.evaluations.create(
        requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSessionReference=session.id)
    )
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    assert client.inferencesessions.ready(session.id)
    client.inferencesessions.terminate(session.id)


@pytest.mark.parametrize(
    ("endpoint", "policy", "want"),
    [
        ("openai/v1/completions/transient-errors", "Abort", ("Complete", None)),
        ("errors/400", "Skip", ("Complete", None)),
        ("errors/400", "Abort", ("Failed", "InferenceFailed")),
    ],
)
def test_errors_of_the_service_are_handled_by_policy(client, account, dataset, service_request, endpoint, policy, want):
    """Transient errors are retried; a bad request is skipped or fails the evaluation with a message, as asked."""
    request = requests.InferenceServiceCreateRequest.model_validate(
        service_request(account, endpoint=endpoint, name=endpoint.replace("/", "-"))
    )
    service = client.inferenceservices.create(request)
    options = {"badRequestPolicy": policy, "transientErrorRetryDelaySeconds": 1}
    created = client.evaluations.create(evaluation_request(account, dataset, service, client=options))
    done = eventually(lambda: client.evaluations.get(created.id), want[0])
    assert done.reason == want[1]
    assert done.message


def test_a_model_is_uploaded_from_a_folder(client, account, tmp_path):
    """A folder's files arrive under their digests and the model becomes Ready."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(b"\x01" * 100_000)
    (tmp_path / "config.json").write_text("{}")
    model = client.models.create_from_volume(tmp_path, account=account, name="folder", resources={"storage": "1Mi"})
    client.models.upload_volume(model, tmp_path)
    eventually(lambda: client.models.get(model.id), "Ready")


def test_what_is_deleted_stays_deleted(client, account, prompts):
    """Deletion is final, is told at once, and may be repeated."""
    created = client.datasets.create_arrow_dataset(prompts, account=account, name="short-lived")
    time.sleep(0.2)
    assert client.datasets.delete(created.id).status == "Deleted"
    assert client.datasets.delete(created.id).status == "Deleted"
    assert client.datasets.get(created.id).reason == "DeleteCommand"
