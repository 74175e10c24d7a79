"""A small measurement and a small safety case: the time from the request to Complete, and the CPU time of all processes.

It starts `dyff serve --role all` in a fresh data directory and runs analyses one after the other. The baselines are a bare import in the
environment of analyses, in the same run: of `pyarrow.dataset` for the function, of `dyff.audit.analysis` for the notebook, which makes a
title card, a score and a conclusion. Run `make analysis-env` before: `python benchmarks/analyses.py [COUNT]`. Needs Linux.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from overhead_parts import accounting

from dyff.sdk import Client

COUNT = 5
SETTLED_S = 1.0
DYFF = str(Path(sys.executable).parent / "dyff")
ENVIRONMENT = Path(sys.executable).parents[2] / ".venv-analysis/bin/python"
SCHEMA = pa.schema([("_index_", pa.int64()), ("words", pa.int64())])
FUNCTION = """
import pyarrow as pa

def words(arguments, *, prompts):
    rows = [{"_index_": row["_index_"], "words": len(row["text"].split())} for row in prompts.to_table().to_pylist()]
    yield pa.RecordBatch.from_pylist(rows, schema=pa.schema([("_index_", pa.int64()), ("words", pa.int64())]))
"""
CELL = """
from dyff.audit.analysis import AnalysisContext
ctx = AnalysisContext()
ctx.TitleCard(headline="Words", author="Bench", summary_phrase="few", summary_text="Few words.")
ctx.Score(output="rows", quantity=float(ctx.open_input_dataset("prompts").count_rows()), text="Rows.")
ctx.Conclusion(text="There are rows.")
"""
NOTEBOOK = {
    "cells": [{"cell_type": "code", "id": "one", "metadata": {}, "execution_count": None, "outputs": [], "source": CELL}],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def main() -> None:
    """Measure and print."""
    if not ENVIRONMENT.exists():
        raise SystemExit("there is no environment of analyses; run make analysis-env")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    accounting.adopt_orphans()
    with tempfile.TemporaryDirectory() as folder:
        command = [DYFF, "serve", "--role", "all", "--data-dir", f"{folder}/data", "--port", "0", "--log-level", "warning"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"DYFF_LOGS__FORMAT": "text"})
        try:
            endpoint = next(line.split()[1] for line in server.stdout or () if line.split()[:1] == ["API"])
            account = output("account", "create", "--name", "bench", "--data-dir", f"{folder}/data")
            token = output("token", "create", "--account", account, "--data-dir", f"{folder}/data")
            client = Client(endpoint=endpoint, api_token=token)
            requests = prepare(client, account, Path(folder))
            for name, module, goal_s in (("measurement", "pyarrow.dataset", 3.0), ("safety case", "dyff.audit.analysis", 15.0)):
                measure(getattr(client, name.replace(" ", "") + "s"), requests[name], name, baseline(module), goal_s, count)
        finally:
            server.terminate()
            server.wait()


def prepare(client: Client, account: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Upload rows and code, and describe both methods; returns the requests of the analyses."""
    rows, code = folder / "rows", folder / "code"
    rows.mkdir()
    code.mkdir()
    table = pa.table({"_index_": pa.array([0, 1], pa.int64()), "text": ["hello", "good morning"]})
    pyarrow.parquet.write_table(table, rows / "rows.parquet")
    (code / "counting.py").write_text(FUNCTION)
    (code / "report.ipynb").write_text(json.dumps(NOTEBOOK))
    dataset = client.datasets.create_arrow_dataset(rows, account=account, name="two rows")
    client.datasets.upload_arrow_dataset(dataset, rows)
    module = client.modules.create_package(code, account=account, name="code")
    client.modules.upload_package(module, code)
    service = client.inferenceservices.create(a_service(account))
    schema = {"arrowSchema": base64.b64encode(SCHEMA.serialize().to_pybytes()).decode()}
    common: dict[str, Any] = {"account": account, "scope": "InferenceService", "modules": [module.id]}
    common["inputs"] = [{"keyword": "prompts", "kind": "Dataset"}]
    methods = {
        "measurement": {
            "name": "words",
            "implementation": {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": "counting.words"}},
            "output": {"kind": "Measurement", "measurement": {"name": "words", "level": "Instance", "schema": schema}},
        },
        "safety case": {
            "name": "report",
            "implementation": {
                "kind": "JupyterNotebook",
                "jupyterNotebook": {"notebookModule": module.id, "notebookPath": "report.ipynb"},
            },
            "scores": [{"name": "rows", "title": "Rows", "summary": "The number of rows"}],
            "output": {"kind": "SafetyCase", "safetyCase": {"name": "report"}},
        },
    }
    made = {name: client.methods.create({**common, **own}).id for name, own in methods.items()}
    inputs = [{"keyword": "prompts", "entity": dataset.id}]
    scope = {"inferenceService": service.id}
    return {name: {"account": account, "method": method, "scope": scope, "inputs": inputs} for name, method in made.items()}


def a_service(account: str) -> dict[str, Any]:
    """Return a request for a service that nothing starts."""
    schema = pa.schema([("_index_", pa.int64()), ("responses", pa.list_(pa.struct([("_response_index_", pa.int64())])))])
    image = {"host": "registry.example.com", "name": "nothing", "digest": "sha256:" + "0" * 64}
    return {
        "account": account,
        "name": "nothing",
        "runner": {"kind": "container", "image": image, "resources": {"memory": "256Mi"}},
        "interface": {"endpoint": "x", "outputSchema": {"arrowSchema": base64.b64encode(schema.serialize().to_pybytes()).decode()}},
    }


def measure(group: Any, request: dict[str, Any], name: str, bare: tuple[float, float], goal_s: float, count: int) -> None:
    """Run one analysis to warm up, and then `count` that count."""
    cpu, wall = [], []
    for n in range(count + 1):
        used, begun = accounting.cpu_s(), time.perf_counter()
        group.wait(group.create(request).id, progress=False)
        took = time.perf_counter() - begun
        time.sleep(SETTLED_S)  # the supervisors end a little later
        if n:
            wall.append(took)
            cpu.append(accounting.cpu_s() - used)
    middle, work = statistics.median(wall), statistics.median(cpu)
    ratio = f"{middle / bare[1]:.1f} bare imports ({bare[1]:.2f} s)"
    print(f"{name:12} wall median {middle:5.2f} s, best {min(wall):.2f}: {ratio}; goal {goal_s:.0f} s")
    print(f"{'':12} CPU  median {work:5.2f} s: {work / bare[0]:.1f} bare imports ({bare[0]:.2f} s); load average {os.getloadavg()[0]:.1f}")


def baseline(module: str) -> tuple[float, float]:
    """Return the median CPU and wall seconds of a bare import in the environment."""
    cpu, wall = [], []
    for _ in range(3):
        used, begun = accounting.cpu_s(), time.perf_counter()
        subprocess.run([str(ENVIRONMENT), "-c", f"import {module}"], check=True)
        wall.append(time.perf_counter() - begun)
        cpu.append(accounting.cpu_s() - used)
    return statistics.median(cpu), statistics.median(wall)


def output(*arguments: str) -> str:
    """Return what a `dyff` command prints."""
    return subprocess.run([DYFF, *arguments], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
