"""Folders as the step before the runner leaves them, and runs of the real runner on them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from dyff.workflows import provided
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "dyff/workflows/analysis_runner"
PYTHON = ROOT / ".venv-analysis/bin/python"
ACCOUNT = uuid.uuid4().hex


def columns(**types: pa.DataType | pa.Field[Any]) -> pa.Schema:
    """A schema."""
    return pa.schema([each if isinstance(each, pa.Field) else pa.field(name, each) for name, each in types.items()])


SCHEMA = columns(_index_=pa.int64(), words=pa.float64())


def environment() -> Path:
    """Python of the environment of analyses."""
    if not (ROOT / ".venv-analysis/.ready").exists():
        missing("the environment of analyses is not installed: make analysis-env")
    return PYTHON


def encoded(document: object) -> str:
    """A document as custom resources have it."""
    return base64.b64encode(json.dumps(document).encode()).decode()


def arrow(schema: pa.Schema) -> str:
    """A schema as methods have it."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def notebook(*cells: str | dict[str, Any], **metadata: Any) -> str:
    """A notebook: a text that begins with # or * is Markdown, other text is code."""
    made = []
    for cell in cells:
        if isinstance(cell, dict):
            made.append(cell)
        elif cell.startswith(("# ", "*")):
            made.append({"cell_type": "markdown", "metadata": {}, "source": cell, "id": uuid.uuid4().hex[:8]})
        else:
            made.append(code(cell))
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made})


def code(source: str, *tags: str) -> dict[str, Any]:
    """A cell with code."""
    shape: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {"tags": list(tags)}, "outputs": []}
    return {**shape, "source": source, "id": uuid.uuid4().hex[:8]}


@dataclass
class Ended:
    """What a run left. `text`: its log."""

    outcome: dict[str, Any]
    text: str
    result: Path
    out: Path
    printed: str

    @property
    def page(self) -> str:
        return (self.result / "index.html").read_text()

    @property
    def rows(self) -> list[dict[str, Any]]:
        return pa.Table.to_pylist(parquet.read_table(self.result))

    def succeeded(self) -> Ended:
        assert self.outcome["status"] == "Succeeded", f"{self.outcome['message']}\n{self.text}"
        return self

    def failed(self) -> dict[str, Any]:
        assert self.outcome["status"] == "Failed", self.text
        return self.outcome


@dataclass
class Analysis:
    """An analysis that can be run: everything has a default."""

    folder: Path
    kind: str = "PythonFunction"
    name: str = "word_length.mean_word_length"
    files: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, pa.Table] = field(default_factory=dict)
    schema: pa.Schema = SCHEMA
    scores: list[dict[str, Any]] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, pa.Schema] = field(default_factory=dict)
    level: str = "Instance"
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    module: str = field(default_factory=lambda: uuid.uuid4().hex)
    input_ids: dict[str, str] = field(default_factory=dict)

    @property
    def inside(self) -> Path:
        return self.folder / "in"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def prepare(self) -> Analysis:
        """Write all files."""
        (self.inside / ".dyff").mkdir(parents=True, exist_ok=True)
        module = self.inside / self.module
        module.mkdir(exist_ok=True)
        for name, text in self.files.items():
            (module / name).parent.mkdir(parents=True, exist_ok=True)
            (module / name).write_text(text)
        described = {}
        for keyword, table in self.datasets.items():
            entity = self.input_ids.setdefault(keyword, uuid.uuid4().hex)
            (self.inside / entity).mkdir(exist_ok=True)
            if table is not None:
                parquet.write_table(table, self.inside / entity / "data.parquet")
            schema = self.schemas.get(keyword)
            described[entity] = {"schema": arrow(schema) if schema else None, "files": 1, "sha256": "0" * 64}
        provided.copy(provided.SOURCE, self.inside / ".dyff" / provided.PACKAGES)
        for name, document in (("analysis", self.resource()), ("limits", self.bounds()), ("inputs", described)):
            (self.inside / ".dyff" / f"{name}.json").write_text(json.dumps(document))
        return self

    def bounds(self) -> dict[str, Any]:
        standard = {"timeout_s": 120, "memory_bytes": None, "log_bytes": 2**20, "file_bytes": 2**30, "cell_bytes": 2**20}
        return {**standard, **self.limits}

    def specification(self) -> dict[str, Any]:
        """The Method, as the API returns it."""
        if self.kind == "JupyterNotebook":
            implementation = {"jupyterNotebook": {"notebookModule": self.module, "notebookPath": self.name}}
            output = {"kind": "SafetyCase", "safetyCase": {"name": "report", "description": "A report"}}
        else:
            implementation = {self.kind[0].lower() + self.kind[1:]: {"fullyQualifiedName": self.name}}
            measured = {"name": "lengths", "description": "", "level": self.level, "schema": {"arrowSchema": arrow(self.schema)}}
            output = {"kind": "Measurement", "measurement": measured}
        return {
            "kind": "Method",
            "creationTime": "2026-11-30T00:00:00.000000Z",
            "status": "Ready",
            "id": uuid.uuid4().hex,
            "account": ACCOUNT,
            "name": "Word length",
            "scope": "InferenceService",
            "implementation": {"kind": self.kind, **implementation},
            "parameters": [{"keyword": each} for each in self.arguments],
            "inputs": [{"keyword": each, "kind": "Dataset"} for each in self.datasets],
            "output": output,
            "scores": self.scores,
            "modules": [self.module],
            **self.method,
        }

    def resource(self) -> dict[str, Any]:
        method = self.specification()
        data = {
            "usecase": {
                "spec": method,
                "documentation": {"title": "Clear answers", "summary": "How clear the answers are.", "fullPage": None},
            }
        }
        if self.kind == "JupyterNotebook":
            data["system"] = {
                "spec": service(),
                "documentation": {"title": "Example model", "summary": "A small model of language.", "fullPage": None},
            }
        spec = {
            "id": self.id,
            "account": ACCOUNT,
            "kind": method["output"]["kind"],
            "method": method["id"],
            "scope": {"dataset": None, "inferenceService": uuid.uuid4().hex, "evaluation": None, "model": None},
            "arguments": [{"keyword": keyword, "value": value} for keyword, value in self.arguments.items()],
            "inputs": [{"keyword": keyword, "entity": self.input_ids[keyword], "kind": "Dataset"} for keyword in self.datasets],
            "modules": [self.module],
            "image": None,
            "data": [{"key": key, "value": encoded(value)} for key, value in data.items()],
        }
        return {"spec": spec}

    def run(self, *before: str, ends_with: int = 0, **variables: str) -> Ended:
        """Prepare it and run it."""
        self.prepare()
        return self.again(*before, ends_with=ends_with, **variables)

    def again(self, *before: str, ends_with: int = 0, **variables: str) -> Ended:
        """Run it as it is now. `before`: a command that the runner's is an argument of. `ends_with`: its exit code."""
        command = [*before, str(environment()), "-I", str(RUNNER), "--in", str(self.inside), "--out", str(self.out)]
        made = {"PATH": os.environ["PATH"], **variables}
        done = subprocess.run(command, capture_output=True, text=True, env=made, errors="replace", check=False)
        assert done.returncode == ends_with, done.stderr
        outcome = json.loads((self.out / "outcome.json").read_text())
        return Ended(outcome, (self.out / "logs.txt").read_text(), self.out / "root" / self.id, self.out, done.stdout)


def service() -> dict[str, Any]:
    """An InferenceService, as the API returns it."""
    return {
        "kind": "InferenceService",
        "creationTime": "2026-11-30T00:00:00.000000Z",
        "status": "Ready",
        "id": uuid.uuid4().hex,
        "account": ACCOUNT,
        "name": "example",
        "interface": {
            "endpoint": "generate",
            "outputSchema": {"arrowSchema": arrow(pa.schema([("text", pa.string())]))},
            "inputPipeline": [],
            "outputPipeline": [],
        },
        "runner": {"kind": "mock", "resources": {"storage": "1Gi", "memory": "1Gi"}},
    }
