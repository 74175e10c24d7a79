"""Models that are fetched: by the published client, on the installed command, from a hub on this machine."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from dyff.client import Client
from dyff.schema import requests

from tests.acceptance.test_published_client import eventually
from tests.workflows import hub as hubs
from tests.workflows import runs

pytestmark = pytest.mark.acceptance

REPO = "org/tiny"
CONFIG = b'{"model_type": "tiny"}'


@pytest.fixture
def hub():
    with hubs.a_hub() as running:
        running.repos[REPO] = {"config.json": CONFIG, "model.safetensors": random.Random(3).randbytes(200_000)}
        yield running


@pytest.fixture
def started(fresh, hub, tmp_path):
    """A server that takes models from that hub, and a client."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"operator: {{fetch_env: {{HF_ENDPOINT: '{hub.url}'}}}}\n")
    fresh.start("--config", str(file))
    account = fresh.command("account", "create", "--name", "auditor")
    yield (
        fresh,
        Client(api_token=fresh.command("token", "create", "--account", account, "--role", "Admin"), endpoint=fresh.endpoint),
        account,
    )
    assert fresh.stop() == 0
    assert fresh.processes() == []


def model_request(account, repo=REPO):
    return requests.ModelCreateRequest.model_validate(
        {
            "account": account,
            "name": repo,
            "artifact": {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": repo, "revision": "main"}},
            "storage": {"medium": "ObjectStorage"},
            "source": {
                "kind": "HuggingFaceHub",
                "huggingFaceHub": {"repoID": repo, "revision": "main", "allowPatterns": ["*"], "ignorePatterns": []},
            },
            "resources": {"storage": "1Gi", "memory": "256Mi"},
        }
    )


def test_a_service_runs_on_a_model_from_the_hub(started, hub, service_request):
    """The model becomes ready, and a session of a service that mounts it answers and finds the files."""
    server, client, account = started
    model = client.models.create(model_request(account))
    body = {**service_request(account), "model": model.id}
    mount = {"kind": "Data", "name": "model", "mountPath": "/dyff/mnt/volume", "data": {"source": {"kind": "Model", "id": model.id}}}
    body["runner"] = {**body["runner"], "volumeMounts": [mount]}
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(body))
    assert eventually(lambda: client.models.get(model.id), "Ready").reason is None
    assert eventually(lambda: client.inferenceservices.get(service.id), "Ready").model.name == REPO
    session = client.inferencesessions.create(requests.InferenceSessionCreateRequest(account=account, inferenceService=service.id))
    entity = session.inferencesession
    runs.wait_for(lambda: client.inferencesessions.ready(entity.id), 60)
    answers = client.inferencesessions.client(entity.id, session.token, interface=entity.inferenceService.interface)
    assert answers.infer({"text": "hello"})[0]["text"]
    [found] = Path(server.directory, "pods").glob("*/volumes/model/models--org--tiny/snapshots/main/config.json")
    assert found.read_bytes() == CONFIG
    client.inferencesessions.terminate(entity.id)


def test_a_model_that_is_not_there_fails_and_says_so(started):
    """A repository that the hub has not ends the model with the published reason and a message that says what to mend."""
    _, client, account = started
    model = client.models.create(model_request(account, "org/none"))
    failed = eventually(lambda: client.models.get(model.id), "Error")
    assert failed.reason == "FetchFailed"
    assert "source.huggingFaceHub.repoID" in failed.message


def test_a_fetch_whose_pod_is_killed_goes_on(started, hub):
    """The next attempt re-uses what the one before it has stored."""
    server, client, account = started
    large = random.Random(4).randbytes(40_000_000)
    hub.repos[REPO] = {"large.safetensors": large}
    hub.close_tap(20_000_000)
    model = client.models.create(model_request(account))
    stored = Path(server.directory, "objects", "objects", "models", model.id, ".dyff", "parts")
    runs.wait_for(lambda: hub.stalled.is_set() and any(each.is_file() for each in stored.rglob("*")), 60)
    hub.asked.clear()
    [process] = [line for line in server.processes() if "-m dyff.workflows fetch-model" in line]
    os.kill(int(process.split()[0]), signal.SIGKILL)
    hub.open_tap()
    eventually(lambda: client.models.get(model.id), "Ready")
    [(name, asked)] = hub.asked
    assert name == "large.safetensors"
    assert int(asked.removeprefix("bytes=").rstrip("-")) >= 16 * 2**20
