"""SIGKILL of the server at random moments while evaluations run."""

from __future__ import annotations

import os
import random
import time
import uuid

import httpx
import pyarrow.dataset
import pytest
from dyff.client import Client
from dyff.schema import requests

from tests import waiting
from tests.acceptance.proof import proved

pytestmark = pytest.mark.faults

EVALUATIONS = int(os.environ.get("FAULT_EVALUATIONS", "8"))
KILLS = int(os.environ.get("FAULT_KILLS", "4"))
SEED = int(os.environ.get("FAULT_SEED", "20261123"))


def test_every_evaluation_ends_once_after_kill_9(fresh_on_each_bus, prompts, service_request, tmp_path):
    """After SIGKILLs at random moments all evaluations complete, each item of each output is there once, no process is left.

    State topic and query store are what the events make.
    """
    fresh, moments = fresh_on_each_bus, random.Random(SEED)
    fresh.start()
    account = fresh.command("account", "create", "--name", "auditor")
    token = fresh.command("token", "create", "--account", account)
    client = Client(api_token=token, endpoint=fresh.endpoint)
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(service_request(account)))
    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    body = requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session)
    accepted = [client.evaluations.create(body).id for _ in range(EVALUATIONS)]

    for _ in range(KILLS):
        # real time: SIGKILL comes at a random moment of the server's own work
        time.sleep(moments.uniform(0.2, 4.0))
        fresh.kill()
        fresh.start()

    client = Client(api_token=token, endpoint=fresh.endpoint)
    statuses = wait_for_all(client, account, set(accepted))
    assert statuses == dict.fromkeys(accepted, ("Complete", None))
    for evaluation in accepted:
        folder = tmp_path / evaluation
        client.evaluations.download(evaluation, folder)
        rows = pyarrow.dataset.dataset(folder).to_table().to_pylist()
        replication = uuid.uuid5(uuid.UUID(evaluation), "0").hex
        assert sorted((row["_index_"], row["_replication_"]) for row in rows) == [(index, replication) for index in range(20)]
    proved(fresh)
    assert fresh.stop() == 0
    assert fresh.processes() == []


def wait_for_all(
    client: Client, account: str, ids: set[str], deadline_s: float = 400.0, *, more: int = 0
) -> dict[str, tuple[str, str | None]]:
    """Status and reason of all evaluations of the account, once they have ended. `more`: so many may be there besides `ids`."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            found = {each.id: each for each in client.evaluations.query(account=account)}
        except httpx.TransportError:
            found = {}
        done = {key: each for key, each in found.items() if each.status in ("Complete", "Failed", "Error", "Terminated")}
        if ids <= set(done) and len(done) == len(found):
            assert len(set(found) - ids) <= more, "an evaluation nobody asked for"
            return {key: (each.status, each.reason) for key, each in done.items()}
        assert time.monotonic() < end, {key: (each.status, each.reason, each.message) for key, each in found.items()}
        waiting.a_blocking_moment(0.3)
