"""An account with methods of every form that tests disturb while they run: a function, one that fails, one that waits, and a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
from dyff.client import Client
from dyff.schema import requests

from tests.acceptance.conftest import Server, eventually
from tests.analyses.runs import arrow, columns, environment

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
def slow(arguments, *, prompts):
    print("it waits", flush=True)
    time.sleep(600)
    yield from good(arguments, prompts=prompts)
"""
CELL = "from dyff.audit.analysis import AnalysisContext\nAnalysisContext().Score(output='rate', quantity=0.25, text='A quarter')"
FUNCTIONS = ("good", "bad", "slow")
KINDS = (*FUNCTIONS[:2], "report")
"""Those that end by themselves."""


class Analyses:
    """What the account has, and the analyses that were accepted: by ID, the name of the method."""

    def __init__(self, server: Server, prompts: Path, service_request: Any, folder: Path) -> None:
        environment()
        self.account = server.command("account", "create", "--name", "auditor")
        self._token = server.command("token", "create", "--account", self.account)
        self.to(server)
        self.accepted: dict[str, str] = {}
        self._rows = 20
        self._make(prompts, service_request, folder)

    def to(self, server: Server, token: str | None = None) -> None:
        """Use this server from now on. `token`: None for the present one."""
        self._token = token or self._token
        self.client = Client(api_token=self._token, endpoint=server.endpoint)

    def group(self, name: str) -> Any:
        """The client's methods for what this method makes."""
        return self.client.safetycases if name == "report" else self.client.measurements

    def create(self, name: str) -> str:
        """Start one, and return its ID."""
        inputs = [{"keyword": "prompts", "entity": self._dataset}]
        body = {"account": self.account, "method": self._methods[name], "scope": {"inferenceService": self._service}, "inputs": inputs}
        made: str = self.group(name).create(requests.AnalysisCreateRequest.model_validate(body)).id
        self.accepted[made] = name
        return made

    def check(self, folder: Path) -> None:
        """Each ends as its code decides, complete ones with their scores and rows."""
        for entity, name in self.accepted.items():
            ended = eventually(lambda name=name, entity=entity: self.group(name).get(entity), "Complete", "Failed")
            assert (ended.status, ended.reason) == (("Failed", "RunFailed") if name == "bad" else ("Complete", None)), ended.message
            if name == "report":
                assert [each.quantity for each in self.client.safetycases.scores(entity)] == [0.25]
            if name == "good":
                self.group(name).download(entity, folder / entity)
                assert pa.dataset.dataset(folder / entity).count_rows() == self._rows
            if name == "bad":
                assert ended.message is not None
                assert "mean.py, line 10, in bad: ValueError: always" in ended.message

    def _make(self, prompts: Path, service_request: Any, folder: Path) -> None:
        client, account = self.client, self.account
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
        self._dataset, self._service = dataset.id, service.id
        self._methods = {name: self._method(package.id, name) for name in (*FUNCTIONS, "report")}
        for each in self._methods.values():
            eventually(lambda each=each: client.methods.get(each), "Ready")
        eventually(lambda: client.datasets.get(dataset.id), "Ready")

    def _method(self, module: str, name: str) -> str:
        schema = {"arrowSchema": arrow(columns(_index_=pa.int64(), words=pa.float64()))}
        report = {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": module, "notebookPath": "report.ipynb"}}
        function = {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": f"mean.{name}"}}
        case = {"kind": "SafetyCase", "safetyCase": {"name": "case"}}
        measured = {"kind": "Measurement", "measurement": {"name": "words", "level": "Instance", "schema": schema}}
        rate = {"name": "rate", "title": "Rate", "summary": "How often"}
        parts: dict[str, Any] = {"implementation": function, "output": measured, "scores": []}
        if name == "report":
            parts = {"implementation": report, "output": case, "scores": [rate]}
        inputs = [{"kind": "Dataset", "keyword": "prompts"}]
        body = {
            "account": self.account,
            "name": name,
            "scope": "InferenceService",
            "parameters": [],
            "inputs": inputs,
            "modules": [module],
            **parts,
        }
        return self.client.methods.create(requests.MethodCreateRequest.model_validate(body)).id
