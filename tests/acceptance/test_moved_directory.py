"""A data directory that is moved while runs wait or work: they go on where it is now, and nothing is written where it was."""

from __future__ import annotations

import json
import shutil

import pytest
from dyff.client import Client
from dyff.schema import requests

from tests.acceptance.conftest import Server, eventually
from tests.acceptance.test_kill_9 import wait_for_all
from tests.acceptance.test_model_sources import model_request
from tests.workflows import hub as hubs

pytestmark = pytest.mark.acceptance

REPO = "org/tiny"


@pytest.fixture
def hub():
    """A hub on this machine, with a model."""
    with hubs.a_hub() as running:
        running.repos[REPO] = {"config.json": b"{}", "model.safetensors": bytes(3_000_000)}
        yield running


@pytest.fixture
def server(make_server, hub, tmp_path):
    """A server that takes models from that hub and soon gives up pods whose server is gone, with an account and its client."""
    file = tmp_path / "settings.yaml"
    operator = {"fetch_env": {"HF_ENDPOINT": hub.url}, "fetch_allowed_hosts": ["127.0.0.1"]}
    file.write_text(json.dumps({"operator": operator, "pods": {"orphan_grace_s": 1}}))
    subject = make_server("before", {"DYFF_CONFIG_FILE": str(file)})
    subject.start()
    return subject


def ended(subject: Server, how: str) -> None:
    """End a server by a signal."""
    if how == "stopped":
        assert subject.stop() == 0
    else:
        subject.kill()


def moved(make_server, subject: Server, *, copied: bool = False) -> Server:
    """Its directory at another path, and a server for it. `copied`: onto another file system, so to say."""
    after = make_server("after/deeper", subject.settings)
    after.directory.parent.mkdir(exist_ok=True)
    if copied:
        shutil.copytree(subject.directory, after.directory)
        shutil.rmtree(subject.directory)
    else:
        subject.directory.rename(after.directory)
    return after


def is_clean(subject: Server, before: Server) -> None:
    """Nothing differs, nothing was written where it was, and no store names that place."""
    assert subject.command("verify", "--objects").splitlines()[-1] == "0 differences"
    assert not before.directory.exists()
    assert subject.stop() == 0
    for file in subject.directory.rglob("*"):
        if file.is_file() and "pods" not in file.parts:
            assert str(before.directory).encode() not in file.read_bytes(), file


@pytest.mark.parametrize(("how", "copied"), [("stopped", False), ("killed", False), ("stopped", True)])
def test_a_fetch_goes_on_where_the_directory_is_now(make_server, server, hub, how, copied):
    """The server ends in the middle of a download. After the move, the model becomes ready, with its data."""
    account = server.command("account", "create", "--name", "auditor")
    token = server.command("token", "create", "--account", account, "--role", "Admin")
    client = Client(api_token=token, endpoint=server.endpoint)
    hub.close_tap(1_000_000)
    model = client.models.create(model_request(account))
    assert hub.stalled.wait(60)
    ended(server, how)
    after = moved(make_server, server, copied=copied)
    hub.open_tap()
    after.start()
    client = Client(api_token=token, endpoint=after.endpoint)
    assert eventually(lambda: client.models.get(model.id), "Ready").reason is None
    is_clean(after, server)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_an_evaluation_goes_on_where_the_directory_is_now(make_server, server, prompts, service_request, how):
    """The server ends while evaluations run. After the move, all of them complete."""
    account = server.command("account", "create", "--name", "auditor")
    token = server.command("token", "create", "--account", account)
    client = Client(api_token=token, endpoint=server.endpoint)
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(service_request(account)))
    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    body = requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session)
    accepted = [client.evaluations.create(body).id for _ in range(3)]
    eventually(lambda: client.evaluations.get(accepted[0]), "Admitted", "Complete")
    ended(server, how)
    after = moved(make_server, server)
    after.start()
    client = Client(api_token=token, endpoint=after.endpoint)
    assert wait_for_all(client, account, set(accepted)) == dict.fromkeys(accepted, ("Complete", None))
    is_clean(after, server)
