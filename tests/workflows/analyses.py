"""What the tests of the steps of analyses share: an analysis, its inputs in the store, and what its program leaves."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet

from dyff.kernel import analysis_settings
from tests.arrow_types import schema_of
from tests.entities.bodies import METHOD, METHOD_NOTEBOOK, arrow
from tests.workflows import runs

ID, METHOD_ID, MODULE_ID = "a1" * 16, "3e" * 16, "0b" * 16
ROW = schema_of(("_index_", pa.int64()), ("length", pa.float64()))
SCORE = {"name": "accuracy", "title": "Accuracy", "summary": "How often it is right.", "format": "{quantity:.2f} {unit}", "unit": "pt"}
CURVE = {
    "name": "roc", "title": "ROC", "summary": "A curve.",
    "dimensions": {each: {"name": each, "title": each, "summary": each} for each in ("x", "y")},
}  # fmt: skip


def a_method(kind="Measurement", *, schema=ROW, level="Instance", scores=()):
    """A stored method."""
    body = METHOD if kind == "Measurement" else METHOD_NOTEBOOK
    measurement = {"name": "m", "level": level, "schema": {"arrowSchema": arrow(schema)}}
    output = {"kind": "Measurement", "measurement": measurement} if kind == "Measurement" else body["output"]
    return {
        "parameters": [], "inputs": [{"kind": "Dataset", "keyword": "prompts"}], **body, "id": METHOD_ID, "kind": "Method",
        "status": "Ready", "output": output, "scores": list(scores), "modules": [MODULE_ID],
    }  # fmt: skip


def a_spec(method=None, **changes):
    """The spec of an analysis's custom resource."""
    method = method or a_method()
    data = base64.b64encode(json.dumps({"spec": method, "documentation": {"title": "T"}}).encode()).decode()
    return {
        "id": ID, "account": "test", "kind": method["output"]["kind"], "method": METHOD_ID, "scope": {"dataset": runs.DATASET},
        "inputs": [{"keyword": "prompts", "entity": runs.DATASET, "kind": "Dataset"}], "modules": [MODULE_ID],
        "arguments": [{"keyword": "threshold", "value": "1"}], "data": [{"key": "usecase", "value": data}], **changes,
    }  # fmt: skip


def a_manifest(folder: Path, spec, limits=None):
    """Write the manifest of the steps; its path."""
    file = folder / "manifest.json"
    file.write_bytes(msgspec.json.encode({"spec": spec, "limits": {**analysis_settings.Analyses().limits, **(limits or {})}}))
    return file


def put_tree(store, root, files, *, schema=None, links=()):
    """Store a tree with its manifest; the SHA-256 of that."""
    folder = store.objects / root
    artifacts = []
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        digest = {"md5": runs.md5(data), "sha256": hashlib.sha256(data).hexdigest()}
        artifacts.append({"path": path, "key": f"{root}/{path}", "size": len(data), "digest": digest})
    encoded = json.dumps({"artifacts": artifacts, "symlinks": list(links), **({"schema": schema} if schema else {})}).encode()
    (folder / ".dyff").mkdir(parents=True, exist_ok=True)
    (folder / ".dyff" / "artifacts.json").write_bytes(encoded)
    return hashlib.sha256(encoded).hexdigest()


def put_inputs(store):
    """Store the dataset and the module of `a_spec`; the SHA-256 of their manifests."""
    files = {"split=a/part-0.parquet": b"rows", "part-1.parquet": b"more"}
    dataset = put_tree(store, f"datasets/{runs.DATASET}", files, schema=arrow(ROW))
    link = {"link": "again.py", "target": "words/length.py", "target_is_directory": False}
    module = put_tree(store, f"modules/{MODULE_ID}", {"words/length.py": b"def mean(): ..."}, links=[link])
    return dataset, module


class Out:
    """The folder that the program of an analysis leaves."""

    def __init__(self, root: Path) -> None:
        self.root, self.output = root, root / "root" / ID
        self.output.mkdir(parents=True)
        (root / "root" / runs.DATASET).symlink_to("/dyff/in/dataset")
        self.outcome(status="Succeeded")
        (root / "logs.txt").write_bytes(b"it ran\n")

    def outcome(self, **changes):
        environment = {"python": "3.11", "packages": {"numpy": "2.0"}, "digest": "d" * 64}
        value = {"attempt": "x", "environment": environment, "machine": {"cpus": 2}, "seed": 7, "message": "", "line": None, **changes}
        (self.root / "outcome.json").write_text(json.dumps(value))

    def table(self, rows=None, *, name="part-0.parquet", schema=ROW, **options):
        rows = [{"_index_": 0, "length": 1.5}, {"_index_": 1, "length": 2.5}] if rows is None else rows
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=schema)
        (self.output / name).parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(table, self.output / name, **options)

    def page(self, data=b"<html>report</html>"):
        (self.output / "index.html").write_bytes(data)

    def results(self, kind, *entries):
        (self.output / ".dyff").mkdir(exist_ok=True)
        (self.output / ".dyff" / f"{kind}.json").write_text(json.dumps({kind: list(entries)}))
