"""SIGKILL of the server at random moments while analyses run."""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest
from dyff.client import Client
from dyff.schema import requests

from tests.acceptance.conftest import eventually
from tests.acceptance.proof import proved
from tests.analyses.runs import arrow, columns, environment

pytestmark = pytest.mark.faults

ANALYSES = int(os.environ.get("FAULT_ANALYSES", "4"))
KILLS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", "20261130"))
CODE = """import time
import pyarrow as pa
import pyarrow.dataset
SCHEMA = pa.schema([("_index_", pa.int64()), ("words", pa.float64())])
def good(arguments, *, prompts):
    time.sleep(0.5)
    yield pa.RecordBatch.from_pylist([{"_index_": row["_index_"], "words": 1.0} for row in prompts.to_table().to_pylist()], schema=SCHEMA)
def bad(arguments, *, prompts):
    time.sleep(0.5)
    raise ValueError("always")
"""
CELL = "from dyff.audit.analysis import AnalysisContext\nAnalysisContext().Score(output='rate', quantity=0.25, text='A quarter')"


def test_every_analysis_ends_once_after_kill_9(fresh, prompts, service_request, tmp_path):
    """Each ends as its code decides, complete ones with their scores and rows; events, view and stored files agree; nothing is left."""
    environment()
    moments = random.Random(SEED)
    fresh.start()
    account = fresh.command("account", "create", "--name", "auditor")
    token = fresh.command("token", "create", "--account", account)
    client = Client(api_token=token, endpoint=fresh.endpoint)
    made, scope = methods(client, account, prompts, service_request, tmp_path)
    accepted = {}
    for number in range(ANALYSES):
        method, dataset = made[number % len(made)]
        group = client.safetycases if method.output.kind == "SafetyCase" else client.measurements
        body = {"account": account, "method": method.id, "scope": scope, "inputs": [{"keyword": "prompts", "entity": dataset}]}
        accepted[group.create(requests.AnalysisCreateRequest.model_validate(body)).id] = method.name

    for _ in range(KILLS):
        # real time: SIGKILL comes at a random moment of the server's own work
        time.sleep(moments.uniform(0.2, 3.0))
        fresh.kill()
        fresh.start()

    client = Client(api_token=token, endpoint=fresh.endpoint)
    for entity, name in accepted.items():
        group = client.safetycases if name == "report" else client.measurements
        ended = eventually(lambda group=group, entity=entity: group.get(entity), "Complete", "Failed")
        assert (ended.status, ended.reason) == (("Failed", "RunFailed") if name == "bad" else ("Complete", None)), ended.message
        if name == "report":
            assert [each.quantity for each in client.safetycases.scores(entity)] == [0.25]
        if name == "good":
            group.download(entity, tmp_path / entity)
            assert pa.dataset.dataset(tmp_path / entity).count_rows() == 20
        if name == "bad":
            assert ended.message is not None
            assert "mean.py, line 10, in bad: ValueError: always" in ended.message
    proved(fresh)
    report = json.loads(fresh.command("verify", "--objects", "--json"))
    assert (report["count"], report["differences"]) == (0, [])
    assert fresh.stop() == 0
    assert fresh.processes() == []


def methods(client: Client, account: str, prompts: Any, service_request: Any, folder: Any) -> tuple[list[tuple[Any, str]], dict[str, str]]:
    """A function that works, one that fails and a notebook, each with the dataset that it reads; and the scope of analyses."""
    dataset = client.datasets.create_arrow_dataset(str(prompts), account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, str(prompts))
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(service_request(account)))
    module = folder / "module"
    module.mkdir()
    (module / "mean.py").write_text(CODE)
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": CELL, "id": "c"}
    (module / "report.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    package = client.modules.create_package(str(module), account=account, name="module")
    client.modules.upload_package(package, str(module))
    eventually(lambda: client.modules.get(package.id), "Ready")
    schema = {"arrowSchema": arrow(columns(_index_=pa.int64(), words=pa.float64()))}
    measured = {"kind": "Measurement", "measurement": {"name": "words", "level": "Instance", "schema": schema}}
    report = {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": package.id, "notebookPath": "report.ipynb"}}
    case = {"kind": "SafetyCase", "safetyCase": {"name": "case"}}
    rate = {"name": "rate", "title": "Rate", "summary": "How often"}
    functions = {name: {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": f"mean.{name}"}} for name in ("good", "bad")}
    kinds = {**{name: (each, measured, []) for name, each in functions.items()}, "report": (report, case, [rate])}
    made = []
    for name, (implementation, output, scores) in kinds.items():
        body = {
            "account": account, "name": name, "scope": "InferenceService", "implementation": implementation, "parameters": [],
            "inputs": [{"kind": "Dataset", "keyword": "prompts"}], "output": output, "scores": scores, "modules": [package.id],
        }  # fmt: skip
        method = client.methods.create(requests.MethodCreateRequest.model_validate(body))
        made.append((method, dataset.id))
    for method, _ in made:
        eventually(lambda method=method: client.methods.get(method.id), "Ready")
    eventually(lambda: client.datasets.get(dataset.id), "Ready")
    return made, {"inferenceService": service.id}
