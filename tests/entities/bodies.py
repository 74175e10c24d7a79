"""Valid request bodies, shared by tests that compare with the published schema. `bodies(kind)` has small and full ones."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tests.arrow_types import schema_of

ROW = schema_of(("_index_", pa.int64()), ("text", pa.string()))
_RESPONSE = pa.struct([("_response_index_", pa.int64()), ("text", pa.string())])
ANSWER = schema_of(("_index_", pa.int64()), ("_replication_", pa.string()), ("responses", pa.list_(_RESPONSE)))


def arrow(schema: pa.Schema) -> str:
    """`schema` as requests carry it."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def md5(data: bytes) -> str:
    """The digest of `data` as requests carry it."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def parquet(table: pa.Table, **options: Any) -> bytes:
    """A Parquet file with the rows of `table`."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file, **options)
    return file.getvalue()


ROWS = parquet(pa.table({"_index_": [0, 1], "text": ["a", "b"]}, ROW))
"""What the file of `DATASET` holds."""

DATASET: dict[str, Any] = {
    "account": "test",
    "name": "prompts",
    "artifacts": [{"kind": "parquet", "path": "part-0.parquet", "digest": {"md5": md5(ROWS)}}],
    "schema": {"arrowSchema": arrow(ROW)},
}
DATASET_FULL = {
    **DATASET,
    "schemaVersion": "0.1",
    "artifacts": [*DATASET["artifacts"], {"path": "split=a/Übung 1.parquet", "digest": {"md5": md5(b"")}}],
    "schema": {
        "arrowSchema": arrow(ROW),
        "dyffSchema": {"components": ["text.Text"]},
        "jsonSchema": {"type": "object", "x": {"y": [1, 2.5, True]}},
    },
    "views": [
        {
            "id": "v",
            "viewOf": "d",
            "schema": {"arrowSchema": arrow(ROW)},
            "adapterPipeline": [{"kind": "Select", "configuration": {"fields": ["text"]}}],
        }
    ],
}
MODEL_MOCK: dict[str, Any] = {
    "account": "test",
    "name": "mock-model",
    "artifact": {"kind": "Mock"},
    "source": {"kind": "Mock"},
    "resources": {"storage": "1Gi", "memory": "2.5Gi", "cpu": "500m"},
}
MODEL_HUB = {
    **MODEL_MOCK,
    "artifact": {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": "org/name", "revision": "abc"}},
    "source": {
        "kind": "HuggingFaceHub",
        "huggingFaceHub": {"repoID": "org/name", "revision": "abc", "allowPatterns": ["*.json"], "ignorePatterns": []},
    },
    "storage": {"medium": "ObjectStorage"},
    "accelerators": [{"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu-t4"], "count": 2, "memory": "16Gi"}}],
}
MODEL_UPLOAD = {
    **MODEL_MOCK,
    "artifact": {
        "kind": "Volume",
        "volume": {"files": [{"path": "config.json", "size": 2, "mediaType": "application/json", "digest": {"md5": md5(b"{}")}}]},
    },
    "source": {"kind": "Upload"},
}
IMAGE = {"host": "registry.gitlab.com:443", "name": "dyff/workflows/inferenceservice-mock", "digest": "sha256:" + "0a" * 32, "tag": "0.2.1"}
SERVICE: dict[str, Any] = {
    "account": "test",
    "name": "mock",
    "runner": {"kind": "mock", "image": {key: IMAGE[key] for key in ("host", "name", "digest")}, "resources": {}},
    "interface": {"endpoint": "generate", "outputSchema": {"arrowSchema": arrow(ANSWER)}},
}
SERVICE_FULL = {
    **SERVICE,
    "model": "00000000000040008000000000000001",
    "builder": {"kind": "builder", "args": ["a"]},
    "runner": {
        "kind": "container",
        "image": IMAGE,
        "resources": {"memory": "1e3", "cpu": ".5", "storage": "+1Gi"},
        "args": ["--x"],
        "command": ["run"],
        "env": [{"name": "A_B", "value": ""}],
        "volumeMounts": [
            {
                "kind": "Data",
                "name": "m",
                "mountPath": "/dyff/mnt/volume",
                "data": {"source": {"kind": "Model", "id": "00000000000040008000000000000001"}},
            },
            {"kind": "Scratch", "name": "s", "mountPath": "/scratch", "scratch": {"capacity": "1Gi"}},
        ],
        "workingDir": "/work",
        "accelerator": {"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu-a100"]}},
        "nodes": 2,
    },
    "interface": {
        "endpoint": "openai/v1/completions",
        "outputSchema": {"arrowSchema": arrow(ANSWER)},
        "inputPipeline": [{"kind": "TransformJSON", "configuration": {"prompt": "$.text"}}],
        "outputPipeline": [{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}],
    },
    "outputViews": [{"id": "v", "viewOf": "s", "schema": {"arrowSchema": arrow(ANSWER)}}],
}
SESSION: dict[str, Any] = {"account": "test", "inferenceService": "00000000000040008000000000000002"}
SESSION_FULL = {
    **SESSION,
    "expires": "2999-01-01T02:00:00+02:00",
    "replicas": 3,
    "useSpotPods": False,
    "accelerator": {"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu-t4"]}},
}
EVALUATION: dict[str, Any] = {
    "account": "test",
    "dataset": "00000000000040008000000000000003",
    "inferenceSession": {"inferenceService": "00000000000040008000000000000002"},
}
EVALUATION_FULL = {
    **EVALUATION,
    "replications": 2,
    "workersPerReplica": 4,
    "client": {
        "badRequestPolicy": "Skip",
        "transientErrorRetryLimit": 0,
        "transientErrorRetryDelaySeconds": 1,
        "duplicateOutputPolicy": "Ignore",
        "missingOutputPolicy": "Ignore",
        "requestTimeoutSeconds": 0,
        "totalTimeoutSeconds": 60,
        "batchSize": 1,
        "extraOptions": {"a": "b"},
        "inputPipeline": [{"kind": "Drop", "configuration": {"fields": ["secret"]}}],
    },
    "inferenceSession": {
        "inferenceService": "00000000000040008000000000000002",
        "expires": "2999-01-01T00:00:00Z",
        "replicas": 2,
        "useSpotPods": False,
        "accelerator": {"kind": "GPU", "gpu": {"hardwareTypes": ["x"], "count": 1}},
    },
}
EVALUATION_ON_SESSION = {
    "account": "test",
    "dataset": "00000000000040008000000000000003",
    "inferenceSessionReference": "00000000000040008000000000000004",
}

MODULE: dict[str, Any] = {
    "account": "test",
    "name": "words",
    "artifacts": [{"kind": ".py", "path": "words/length.py", "digest": {"md5": md5(b"")}}],
}
MODULE_FULL = {
    **MODULE,
    "schemaVersion": "0.1",
    "artifacts": [*MODULE["artifacts"], {"path": "report.ipynb", "digest": {"md5": md5(b"{}")}}],
}
MODULE_ID = "00000000000040008000000000000005"
METHOD: dict[str, Any] = {
    "account": "test",
    "name": "mean-word-length",
    "scope": "Evaluation",
    "implementation": {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": "words.length.mean"}},
    "output": {"kind": "Measurement", "measurement": {"name": "m", "level": "Instance", "schema": {"arrowSchema": arrow(ROW)}}},
    "modules": [MODULE_ID],
}
NUMBERS = pa.schema([pa.field("n", pa.int64())])
METHOD_FULL = {
    **METHOD,
    "description": "Mean lengths.",
    "output": {
        "kind": "Measurement",
        "measurement": {
            "name": "m",
            "description": "x",
            "level": "Dataset",
            "schema": {"arrowSchema": arrow(NUMBERS)},
        },
    },
    "parameters": [{"keyword": "threshold", "description": "Words"}, {"keyword": "other"}],
    "inputs": [{"kind": "Dataset", "keyword": "prompts", "description": "x"}, {"kind": "Evaluation", "keyword": "outputs"}],
    "scores": [
        {"name": "first", "title": "First", "summary": "The first"},
        {
            "name": "second",
            "title": "Second",
            "summary": "The second",
            "valence": "negative",
            "priority": "secondary",
            "minimum": 0.0,
            "maximum": 1.5,
            "format": "{quantity:.2f} {unit}",
            "unit": "m",
        },
        {
            "name": "curve",
            "title": "Curve",
            "summary": "A curve",
            "dimensions": {"x": {"name": "x", "title": "X", "summary": "x"}, "y": {"name": "y", "title": "Y", "summary": "y", "unit": "s"}},
        },
    ],
    "analysisImage": IMAGE,
}
METHOD_NOTEBOOK = {
    **METHOD,
    "scope": "InferenceService",
    "implementation": {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": MODULE_ID, "notebookPath": "report.ipynb"}},
    "output": {"kind": "SafetyCase", "safetyCase": {"name": "s", "description": "x"}},
}
METHOD_RUBRIC = {
    **METHOD,
    "implementation": {"kind": "PythonRubric", "pythonRubric": {"fullyQualifiedName": "dyff.audit.scoring.classification.TopK"}},
    "inputs": [{"kind": "Dataset", "keyword": "task_data"}, {"kind": "Evaluation", "keyword": "predictions"}],
    "modules": [],
}
METHOD_ID, METHOD_FULL_ID, METHOD_NOTEBOOK_ID = (f"0000000000004000800000000000000{n}" for n in (6, 8, 9))
EVALUATION_ID = "00000000000040008000000000000007"
METHODS = {METHOD_ID: METHOD, METHOD_FULL_ID: METHOD_FULL, METHOD_NOTEBOOK_ID: METHOD_NOTEBOOK}
"""The methods of the analyses below, by ID."""

MEASUREMENT: dict[str, Any] = {
    "account": "test",
    "method": METHOD_ID,
    "scope": {
        "dataset": "00000000000040008000000000000003",
        "inferenceService": "00000000000040008000000000000002",
        "evaluation": EVALUATION_ID,
    },
}
MEASUREMENT_FULL = {
    **MEASUREMENT,
    "method": METHOD_FULL_ID,
    "schemaVersion": "0.1",
    "scope": {**MEASUREMENT["scope"], "model": "00000000000040008000000000000001"},
    "arguments": [{"keyword": "threshold", "value": "0.5"}, {"keyword": "other", "value": ""}],
    "inputs": [
        {"keyword": "prompts", "entity": "00000000000040008000000000000003"},
        {"keyword": "outputs", "entity": EVALUATION_ID},
    ],
}
SAFETY_CASE = {"account": "test", "method": METHOD_NOTEBOOK_ID, "scope": {"inferenceService": "00000000000040008000000000000002"}}
REPORT: dict[str, Any] = {
    "id": "00000000000040008000000000000010",
    "kind": "Report",
    "account": "test",
    "schemaVersion": "0.1",
    "status": "Complete",
    "creationTime": "2024-11-03T12:00:00.000000Z",
    "labels": {},
    "annotations": [],
    "metadata": {},
    "rubric": "classification.TopKAccuracy",
    "dataset": "00000000000040008000000000000003",
    "evaluation": EVALUATION_ID,
    "inferenceService": "00000000000040008000000000000002",
    "modules": [],
}
"""An entity of an older release: no request creates one."""

FAMILY: dict[str, Any] = {"account": "test", "memberKind": "Dataset"}
CONCERN: dict[str, Any] = {"account": "test"}
CONCERN_FULL = {"account": "test", "documentation": {"title": "T", "summary": "S", "fullPage": "# F"}}

CREATE: dict[str, list[dict[str, Any]]] = {
    "Dataset": [DATASET, DATASET_FULL],
    "Model": [MODEL_MOCK, MODEL_HUB, MODEL_UPLOAD],
    "InferenceService": [SERVICE, SERVICE_FULL],
    "InferenceSession": [SESSION, SESSION_FULL],
    "Evaluation": [EVALUATION, EVALUATION_FULL, EVALUATION_ON_SESSION],
    "Module": [MODULE, MODULE_FULL],
    "Method": [METHOD, METHOD_FULL, METHOD_NOTEBOOK, METHOD_RUBRIC],
    "Measurement": [MEASUREMENT, MEASUREMENT_FULL],
    "SafetyCase": [SAFETY_CASE],
    "Family": [FAMILY],
    "UseCase": [CONCERN, CONCERN_FULL],
    "Hazard": [CONCERN, CONCERN_FULL],
}


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `body` with the field at `a.b.0.c` set; `...` as value removes it."""
    body = copy.deepcopy(body)
    target: Any = body
    *steps, last = path.split(".")
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target[step]
    place = int(last) if isinstance(target, list) else last
    if value is ...:
        del target[place]
    else:
        target[place] = value
    return body
