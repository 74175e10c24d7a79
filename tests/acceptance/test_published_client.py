"""The published client, unmodified, drives the whole path of an evaluation: on embedded adapters and on real engines.

Three releases of it run this, the older ones on embedded adapters: see test_previous_client.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow.dataset
import pytest
from dyff.client import Client, _apigroups, http
from dyff.client.errors import HTTPError
from dyff.schema import platform, requests

from tests import waiting
from tests.acceptance import profiles
from tests.acceptance.conftest import eventually
from tests.acceptance.published import evaluation_request, given

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module", params=profiles.PARAMS)
def server(request, tmp_path_factory):
    """A server, embedded and on engines; at the end all that it did is proved."""
    with profiles.OPENED[request.param](tmp_path_factory.mktemp("dyff"), request) as subject:
        yield subject


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


def test_workflow_logs_report_what_the_pods_did(client, account, dataset, service):
    """The log of an evaluation has the lines of its steps."""
    created = client.evaluations.create(evaluation_request(account, dataset, service))
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    logs = client.evaluations.workflow_logs(created.id, limit=500)
    assert logs.logs


def test_a_session_serves_inference_and_is_terminated(client, account, service):
    """A session becomes ready, answers with its own token, refuses an account's token, and ends on request."""
    created = client.inferencesessions.create(given(requests.InferenceSessionCreateRequest, account=account, inferenceService=service.id))
    session = created.inferencesession
    end = time.monotonic() + 60
    while not client.inferencesessions.ready(session.id):
        assert time.monotonic() < end
        waiting.a_blocking_moment(0.1)
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
        given(requests.InferenceSessionCreateRequest, account=account, inferenceService=service.id)
    ).inferencesession
    created = client.evaluations.create(
        given(requests.EvaluationCreateRequest, account=account, dataset=dataset.id, inferenceSessionReference=session.id)
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
    """Deletion is final, is visible immediately, and may be repeated."""
    created = client.datasets.create_arrow_dataset(prompts, account=account, name="short-lived")
    # real time: the stores have it by then, which the client cannot see
    time.sleep(0.2)
    assert client.datasets.delete(created.id).status == "Deleted"
    assert client.datasets.delete(created.id).status == "Deleted"
    assert client.datasets.get(created.id).reason == "DeleteCommand"


def test_the_stream_of_logs_ends_with_the_workflow(client, account, dataset, service):
    """What is streamed while it runs is what the log has afterwards; a second stream tells it again and ends at once."""
    created = client.evaluations.create(evaluation_request(account, dataset, service))
    live = asyncio.run(streamed(client.evaluations, created.id))
    assert client.evaluations.get(created.id).status == "Complete"
    wanted = {(each.timestamp, each.message) for each in client.evaluations.workflow_logs(created.id).logs}
    assert wanted
    assert wanted <= {(each.timestamp, each.message) for each in live}
    again = asyncio.run(streamed(client.evaluations, created.id))
    assert wanted == {(each.timestamp, each.message) for each in again}
    assert [each.timestamp for each in again] == sorted(each.timestamp for each in again)


async def streamed(group, entity_id):
    async with asyncio.timeout(120):
        return [each async for each in group.stream_workflow_logs(entity_id)]


def test_the_stream_of_a_session_lasts_until_it_is_terminated(client, account, service):
    """Its lines come while it runs; after the end the stream ends."""
    session = client.inferencesessions.create(
        given(requests.InferenceSessionCreateRequest, account=account, inferenceService=service.id)
    ).inferencesession

    async def follow():
        seen: list[Any] = []
        async with asyncio.timeout(60):
            async for each in client.inferencesessions.stream_workflow_logs(session.id):
                if not seen:
                    await asyncio.to_thread(client.inferencesessions.terminate, session.id)
                seen.append(each.message)
        return seen

    assert asyncio.run(follow())


def test_logs_are_limited_in_number_and_age(client, account, dataset, service):
    """The last lines, and none that are older than asked for."""
    created = client.evaluations.create(evaluation_request(account, dataset, service))
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    every = client.evaluations.workflow_logs(created.id, since="1h")
    assert every.totalLines == len(every.logs) > 1
    assert client.evaluations.workflow_logs(created.id, limit=1).logs == every.logs[-1:]
    assert client.evaluations.workflow_logs(created.id, since="2d").logs == every.logs


def test_a_stream_that_may_not_be_is_refused(client, server):
    """A wrong token and a wrong ID fail at once, not at the first line."""
    stranger = Client(api_token="x.y.z", endpoint=server.endpoint)
    for each, entity in ((stranger, "0" * 32), (client, uuid.uuid4().hex)):
        with pytest.raises(Exception, match=r"HTTP 40[14]"):
            asyncio.run(streamed(each.evaluations, entity))


def listed_tokens(client, account_id):
    """The records of an account's tokens; 0.26.1 has no operation of its own for them."""
    operation = getattr(client.accounts, "list_tokens", None)
    return client.accounts.get(account_id).apiKeys if operation is None else operation(account_id)


def inspected(client, token):
    """The header and the claims of a token; where the client can read them (after 0.26.1), it reads the same."""
    header, claims, _ = (part + "=" * (-len(part) % 4) for part in token.split("."))
    read = tuple(json.loads(base64.urlsafe_b64decode(part)) for part in (header, claims))
    if hasattr(client, "tokens"):
        assert client.tokens.inspect(token) == read
    return read


def test_an_account_and_its_tokens(client, server):
    """Create, permit, make tokens, list and revoke them, delete. The claims of a token have all four lists of its grants."""
    made = client.accounts.create(given(requests.AccountCreateRequest, name=f"made-{uuid.uuid4().hex[:8]}"))
    assert client.accounts.get(made.id).name == made.name
    grant = platform.AccessGrant.model_validate({"resources": ["datasets"], "functions": ["get", "query"], "accounts": ["lab"]})
    client.accounts.set_permissions(made.id, given(requests.AccountPermissionsSetRequest, permissions=[grant]))
    assert [each.accounts for each in client.accounts.get_permissions(made.id)] == [["lab"]]
    expires = datetime.now(UTC) + timedelta(hours=1)
    order = given(requests.AccountTokenCreateRequest, grants=[grant], expires=expires)
    token, other = (client.accounts.create_token(made.id, order) for _ in range(2))
    listed = listed_tokens(client, made.id)
    header, claims = inspected(client, token)
    assert claims["grants"] == [grant.model_dump(mode="json")]
    assert (header["alg"], claims["jti"] in [each.id for each in listed], len(listed)) == ("HS256", True, 2)
    assert client.accounts.get_token(made.id, claims["jti"]).subject == f"Account/{made.id}"
    reader = Client(api_token=token, endpoint=server.endpoint)
    assert reader.datasets.query() == []
    client.accounts.revoke_token(made.id, claims["jti"])
    with pytest.raises(HTTPError) as refused:
        reader.datasets.query()
    assert refused.value.status_code == 401
    client.accounts.revoke_all_tokens(made.id)
    assert listed_tokens(client, made.id) == []
    with pytest.raises(HTTPError):
        Client(api_token=other, endpoint=server.endpoint).datasets.query()
    assert client.accounts.delete(made.id).status == "Deleted"


def test_labels_access_and_documentation_are_edited(client, dataset):
    """Null removes, absence keeps; access is a label; documentation is empty before it is written."""
    client.datasets.label(dataset.id, {"purpose": "test", "kept": "yes"})
    client.datasets.label(dataset.id, {"purpose": None})
    for access, label in (("public", "public"), ("preview", "internal"), ("private", None)):
        client.datasets.publish(dataset.id, access)
        labels = client.datasets.get(dataset.id).labels
        assert (labels.get("dyff.io/access"), labels.get("kept"), labels.get("purpose")) == (label, "yes", None)
    assert client.datasets.documentation(dataset.id).title is None
    edit = requests.DocumentationEditRequest.model_validate({"documentation": {"title": "Prompts", "summary": "Twenty"}})
    assert client.datasets.edit_documentation(dataset.id, edit).title == "Prompts"
    edit = requests.DocumentationEditRequest.model_validate({"documentation": {"summary": None}})
    after = client.datasets.edit_documentation(dataset.id, edit)
    assert (after.title, after.summary) == ("Prompts", None)


def test_every_kind_is_found_by_its_own_keys(client, account, service):
    """Models, services and sessions by name and by what they embed."""
    model = client.models.create(
        requests.ModelCreateRequest.model_validate(
            {
                "account": account, "name": "findable", "artifact": {"kind": "Mock"}, "source": {"kind": "Mock"},
                "resources": {"storage": "1Mi"},
            }
        )
    )  # fmt: skip
    eventually(lambda: client.models.get(model.id), "Ready")
    assert [each.id for each in client.models.query(name="findable", account=account, status="Ready")] == [model.id]
    eventually(lambda: client.inferenceservices.get(service.id), "Ready")
    assert service.id in [each.id for each in client.inferenceservices.query(name=service.name)]
    session = client.inferencesessions.create(
        given(requests.InferenceSessionCreateRequest, account=account, inferenceService=service.id)
    ).inferencesession
    assert client.inferencesessions.get(session.id).account == account
    found = client.inferencesessions.query(inferenceService=service.id, query={"id": [session.id, "0" * 32]})
    assert [each.id for each in found] == [session.id]
    expires = datetime.now(UTC) + timedelta(minutes=5)
    _, claims = inspected(client, client.inferencesessions.token(session.id, expires=expires))
    assert claims["exp"] == int(expires.timestamp())
    assert client.inferencesessions.delete(session.id).status == "Deleted"


@pytest.fixture
def waits(monkeypatch):
    """How long the client meant to wait before each repetition; it does not."""
    waited: list[float] = []
    for module in (_apigroups, http):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waited.append, time=time.time))
    return waited


def test_the_client_repeats_what_may_only_be_early(client, account, service, dataset, waits):
    """A 404 on create, and a 409 that names WaitingForUpload, are repeated by the client; then the error says what was wrong."""
    absent = uuid.uuid4().hex
    with pytest.raises(HTTPError, match=absent) as refused:
        client.evaluations.create(evaluation_request(account, SimpleNamespace(id=absent), service))
    assert (refused.value.status_code, waits) == (404, [1, 2, 5, 10, 10])
    waits.clear()
    mock = client.datasets.get(dataset.id)
    with pytest.raises(HTTPError, match="WaitingForUpload") as refused:
        _apigroups._retry_not_found(client.datasets._raw_ops.upload)(mock.id, mock.artifacts[0].path)
    assert (refused.value.status_code, waits) == (409, [1, 2, 5, 10, 10])


def test_finalizing_is_waited_for_and_may_be_repeated(client, account, prompts):
    """When it returns the dataset is Ready, for the next reader, too."""
    created = client.datasets.create_arrow_dataset(prompts, account=account, name="finalized")
    client.datasets.upload_arrow_dataset(created, prompts)
    assert client.datasets.get(created.id).status == "Ready"
    assert client.datasets.finalize(created.id).status == "Ready"


def test_the_client_rides_over_a_restart(fresh):
    """While the server is away or not ready the client repeats a read by itself; what was written is there."""
    fresh.start()
    account = fresh.command("account", "create", "--name", "auditor")
    client = Client(api_token=fresh.command("token", "create", "--account", account), endpoint=fresh.endpoint)
    client._http.retries = 6  # its own three cover 3.5 s, which a start on a busy machine can take
    team = client.accounts.get(account)
    port = fresh.endpoint.removesuffix("/v0").rpartition(":")[2]
    fresh.kill()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.datasets.query, account=team.id)
        fresh.start("--port", port)
        assert asked.result(30) == []
