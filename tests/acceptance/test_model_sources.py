"""Models that are fetched: by the published client, on the installed command, from a hub on this machine."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from dyff.client import Client
from dyff.schema import requests

from tests.acceptance.conftest import eventually
from tests.workflows import hub as hubs
from tests.workflows import runs

pytestmark = pytest.mark.acceptance

REPO = "org/tiny"
CONFIG = b'{"model_type": "tiny"}'


RUNNER = """
import argparse, http.server, json, os, pathlib
import huggingface_hub

parser = argparse.ArgumentParser()
parser.add_argument("--model_name")
parser.add_argument("--model_revision")
given = parser.parse_args()
snapshot = pathlib.Path(huggingface_hub.snapshot_download(given.model_name, revision=given.model_revision))
answer = json.dumps({"text": [(snapshot / "config.json").read_text()]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET


http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
"""What a runner of Hugging Face models does: it asks the libraries for the model by name, and has no network."""


@pytest.fixture
def hub():
    with hubs.a_hub() as running:
        running.repos[REPO] = {"config.json": CONFIG, "model.safetensors": random.Random(3).randbytes(200_000)}
        yield running


@pytest.fixture
def started(fresh, hub, tmp_path):
    """A server that takes models from that hub, and a client."""
    (tmp_path / "runner.py").write_text(RUNNER)
    images = {"dyff/workflows/huggingface-runner": {"command": [sys.executable, str(tmp_path / "runner.py")]}}
    file = tmp_path / "settings.yaml"
    file.write_text(
        json.dumps({"operator": {"fetch_env": {"HF_ENDPOINT": hub.url}, "fetch_allowed_hosts": ["127.0.0.1"]}, "pods": {"images": images}})
    )
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


def test_a_runner_of_hugging_face_models_finds_its_model(started, service_request):
    """Its pod has the cache and the environment with which the libraries find the model offline, by name and revision."""
    _, client, account = started
    model = client.models.create(model_request(account))
    body = {**service_request(account, endpoint="generate"), "model": model.id}
    body["runner"]["kind"], body["runner"]["image"]["name"] = "huggingface", "dyff/workflows/huggingface-runner"
    body["interface"]["outputPipeline"] = [{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}]
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(body))
    eventually(lambda: client.inferenceservices.get(service.id), "Ready")
    session = client.inferencesessions.create(requests.InferenceSessionCreateRequest(account=account, inferenceService=service.id))
    entity = session.inferencesession
    runs.wait_for(lambda: client.inferencesessions.ready(entity.id), 60)
    answers = client.inferencesessions.client(entity.id, session.token, interface=entity.inferenceService.interface)
    assert answers.infer({"text": "hello"})[0]["text"] == CONFIG.decode()
    client.inferencesessions.terminate(entity.id)


def test_a_model_that_is_not_there_fails_and_says_so(started):
    """A repository that the hub does not have ends the model with the published reason and a message that says what to fix."""
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
