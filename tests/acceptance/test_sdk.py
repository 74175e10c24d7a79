"""Our SDK on a real server: the same audit with the blocking and the asynchronous client."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from dyff.schema import platform, requests

from dyff.sdk import AsyncClient, Client, errors
from tests.sdk.conftest import got, listed

pytestmark = pytest.mark.acceptance


@pytest.fixture(params=[Client, AsyncClient], ids=lambda kind: kind.__name__)
def client(request, server, token):
    """A client of the server; the asynchronous one belongs to the test's event loop."""
    return request.param(api_token=token, endpoint=server.endpoint)


async def close(client) -> None:
    if isinstance(client, Client):
        client.close()
    else:
        await client.aclose()


async def a_dataset(client, account, folder):
    dataset = await got(client.datasets.create_arrow_dataset(folder, account=account, name="prompts"))
    await got(client.datasets.upload_arrow_dataset(dataset, folder))
    return await got(client.datasets.get(dataset.id))


async def a_service(client, request):
    service = await got(client.inferenceservices.create(request))
    return await got(client.inferenceservices.wait(service.id, progress=False))


async def test_an_audit(client, account, prompts, service_request, tmp_path, capsys):
    """Upload, evaluate, wait with progress, download, logs and queries: each read sees what was written before it."""
    dataset = await a_dataset(client, account, prompts)
    assert dataset.status == "Ready"
    service = await a_service(client, service_request(account))
    request = {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}, "replications": 2}
    evaluation = await got(client.evaluations.create(request))
    await got(client.evaluations.label(evaluation.id, {"purpose": "audit"}))
    assert (await got(client.evaluations.get(evaluation.id))).labels == {"purpose": "audit"}
    done = await got(client.evaluations.wait(evaluation.id, timeout_s=120))
    assert done.status == "Complete"
    assert "Complete" in capsys.readouterr().out

    await got(client.evaluations.download(done.id, tmp_path / "outputs", progress=False))
    rows = pyarrow.dataset.dataset(tmp_path / "outputs").to_table().to_pylist()
    assert sorted((row["_index_"], row["_replication_"]) for row in rows) == sorted(
        (index, uuid.uuid5(uuid.UUID(done.id), str(replication)).hex) for index in range(20) for replication in range(2)
    )
    assert [each.name for each in tmp_path.iterdir()] == ["outputs"]

    logged = (await got(client.evaluations.workflow_logs(done.id))).logs
    assert logged
    assert await listed(client.evaluations.stream_workflow_logs(done.id)) == logged
    assert done.id in [each.id for each in await listed(client.evaluations.pages(page=1, dataset=dataset.id))]
    assert [each.id for each in await got(client.evaluations.query(labels={"purpose": "audit"}, dataset=dataset.id))] == [done.id]
    assert await listed(client.evaluations.live(account)) == []
    with pytest.raises(errors.BadRequest, match="did you mean 'dataset'"):
        await got(client.evaluations.query(datasett=dataset.id))
    await close(client)


async def test_what_a_failed_evaluation_completed(client, account, prompts, service_request, tmp_path):
    """An evaluation that fails has no files for those who do not ask for incomplete ones; the others get what came back."""
    dataset = await a_dataset(client, account, prompts)
    wanted = service_request(account)
    wanted["interface"] = {**wanted["interface"], "endpoint": "errors/400"}
    service = await a_service(client, wanted)
    made = await got(
        client.evaluations.create({"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}})
    )
    with pytest.raises(errors.WorkflowFailed, match="refuses everything"):
        await got(client.evaluations.wait(made.id, timeout_s=120, progress=False))
    with pytest.raises(errors.Refused, match=r"incomplete=true"):
        await got(client.evaluations.downlinks(made.id))
    await got(client.evaluations.download(made.id, tmp_path / "outputs", incomplete=True, progress=False))
    (file,) = (tmp_path / "outputs" / ".dyff" / "exchanges").iterdir()
    assert {row["status"] for row in pyarrow.parquet.read_table(file).to_pylist()} == {400}
    assert pyarrow.dataset.dataset(tmp_path / "outputs").count_rows() == 0
    await close(client)


async def test_a_session_is_called_through_its_interface(client, account, service_request):
    """A session becomes ready, answers items as rows with its own token, and ends on request.

    The published request and interface types are taken as well as ours.
    """
    request = requests.InferenceServiceCreateRequest.model_validate(service_request(account))
    service = await a_service(client, request)
    made = await got(client.inferencesessions.create({"account": account, "inferenceService": service.id}))
    session = await got(client.inferencesessions.wait(made.inferencesession.id, timeout_s=60, progress=False))
    interface = session.inferenceService.interface
    published = platform.InferenceInterface.model_validate(msgspec.to_builtins(interface))
    for token, described in ((made.token, interface), (await got(client.inferencesessions.token(session.id)), published)):
        (row,) = await got(client.inferencesessions.client(session.id, token, interface=described).infer({"text": "hello"}))
        assert row["text"]
    assert (await got(client.inferencesessions.terminate(session.id))).status == "Terminated"
    assert not await got(client.inferencesessions.ready(session.id))
    await close(client)


async def test_a_model_that_was_cut_off_is_uploaded_by_the_next_try(client, account, tmp_path):
    """What has arrived is not sent again, and the download of the model is what was uploaded."""
    weights = tmp_path / "weights"
    (weights / "part").mkdir(parents=True)
    (weights / "a.bin").write_bytes(os.urandom(3_000_000))
    (weights / "part/b.bin").write_bytes(os.urandom(10))
    (weights / "notes.md").write_text("not uploaded")
    model = await got(client.models.create_from_volume(weights, account=account, name="m", resources={"storage": "1Gi"}, exclude=["*.md"]))
    kept = (weights / "part/b.bin").rename(tmp_path / "b.bin")
    (weights / "part/b.bin").write_bytes(b"other bytes")
    with pytest.raises(errors.SdkError):
        await got(client.models.upload_volume(model, weights, progress=False))
    kept.rename(weights / "part/b.bin")
    await got(client.models.upload_volume(model, weights, progress=False))
    assert (await got(client.models.wait(model.id, progress=False))).status == "Ready"
    await got(client.models.edit_documentation(model.id, {"title": "Weights", "summary": "of a model"}))
    published = requests.DocumentationEditRequest.model_validate({"documentation": {"title": "More weights"}})
    edited = await got(client.models.edit_documentation(model.id, published))
    assert (edited.title, edited.summary) == ("More weights", "of a model")
    assert (await got(client.models.edit_documentation(model.id, {"title": None}))).title is None
    assert (await got(client.models.documentation(model.id))).summary == "of a model"
    assert (await got(client.models.delete(model.id))).status == "Deleted"
    await close(client)


class Recorded(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The network, and the status and size of every file that came from it."""

    def __init__(self, kind) -> None:
        self._inner: Any = httpx.HTTPTransport() if kind is Client else httpx.AsyncHTTPTransport()
        self.answers: list[tuple[int, int]] = []

    def handle_request(self, request):
        return self._noted(request, self._inner.handle_request(request))

    async def handle_async_request(self, request):
        return self._noted(request, await self._inner.handle_async_request(request))

    def close(self):
        self._inner.close()

    async def aclose(self):
        await self._inner.aclose()

    def _noted(self, request, answer):
        if request.url.path.startswith("/objects/"):
            self.answers.append((answer.status_code, int(answer.headers["content-length"])))
        return answer


async def test_a_download_that_was_cut_off_goes_on_in_the_middle_of_a_file(client, server, token, account, tmp_path):
    """The server sends the rest only; the whole is right."""
    (tmp_path / "data").mkdir()
    table = pa.table({"_index_": pa.array(range(10_000), pa.int64()), "text": [os.urandom(50).hex() for _ in range(10_000)]})
    pyarrow.parquet.write_table(table, tmp_path / "data/rows.parquet")
    dataset = await a_dataset(client, account, tmp_path / "data")
    await close(client)
    content = (tmp_path / "data/rows.parquet").read_bytes()
    partial = tmp_path / f"copy.{dataset.id}.partial"
    partial.mkdir()
    (partial / "rows.parquet").write_bytes(content[:300_000])

    network = Recorded(type(client))
    client = type(client)(api_token=token, endpoint=server.endpoint, http=network)
    await got(client.datasets.download(dataset.id, tmp_path / "copy", progress=False))
    assert network.answers == [(206, len(content) - 300_000)]
    assert (tmp_path / "copy/rows.parquet").read_bytes() == content
    await close(client)


async def test_tokens_are_made_and_revoked(client, account, server):
    """A token works until it is revoked, and shows whose it is."""
    expires = datetime.now(UTC) + timedelta(hours=1)
    grants = await got(client.accounts.get_permissions(account))
    token = await got(client.accounts.create_token(account, {"grants": grants, "expires": expires}))
    _, claims = client.tokens.inspect(token)
    assert account in claims["sub"]
    (key,) = [each for each in await got(client.accounts.list_tokens(account)) if each.id == claims["jti"]]
    assert await got(client.accounts.get_token(account, key.id)) == key
    with Client(api_token=token, endpoint=server.endpoint) as other:
        assert other.datasets.query(limit=1) is not None
        await got(client.accounts.revoke_token(account, key.id))
        with pytest.raises(errors.NotAuthenticated, match="dyff token create"):
            other.datasets.query()
    await close(client)
