"""Analyses in real pods, as a user makes them: what methods compute, and what becomes of code that does what it must not.

All runs are created at once and come to their ends side by side; the tests look at one after the other.
"""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset
import pytest

from dyff.sdk import Client, errors
from tests.acceptance import hostile_methods, on_kubernetes
from tests.acceptance.proof import proved
from tests.arrow_types import schema_of

pytestmark = [pytest.mark.acceptance, pytest.mark.engines, pytest.mark.slow]

ROWS = schema_of(("_index_", pa.int64()), ("words", pa.float64()))
MARK = f"left-by-{uuid.uuid4().hex}"
LIMIT_S = 240.0
"""Everything has come to its end by then."""
SETTINGS = {
    "DYFF_ANALYSES__MEMORY": "1Gi",
    "DYFF_ANALYSES__TIMEOUT_S": "90",
    "DYFF_ANALYSES__OUTPUT_BYTES": str(2**25),
    "DYFF_QUOTAS__ADMITTED": "20",
}


@pytest.fixture(scope="module")
def server(node, analysis_image, tmp_path_factory):
    """All roles in one process, whose containers run on the node; at the end, all that it did and stored is proved."""
    roles = [",".join(sorted(set(on_kubernetes.ROLES)))]
    with on_kubernetes.deployed(node, tmp_path_factory.mktemp("dyff"), SETTINGS, roles) as subject:
        subject.start()
        try:
            yield subject
            proved(subject)
            assert json.loads(subject.command("verify", "--objects", "--json"))["differences"] == []
            assert subject.stop() == [0]
            assert subject.lines("Traceback", "role-failed") == []
        finally:
            subject.kill()


@pytest.fixture(scope="module")
def our_client(server, token):
    """Our client."""
    with Client(api_token=token, endpoint=server.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def data(our_client, account, prompts, service_request):
    """A dataset, and an evaluation of the mock service on it: what measurements are about."""
    dataset = our_client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    our_client.datasets.upload_arrow_dataset(dataset, prompts, progress=False)
    service = our_client.inferenceservices.create(service_request(account))
    body = {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}}
    evaluation = our_client.evaluations.create(body)
    our_client.evaluations.wait(evaluation.id, timeout_s=LIMIT_S, progress=False)
    return {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id}


@pytest.fixture(scope="module")
def module(our_client, account, tmp_path_factory):
    """A package with all functions and the notebook."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "methods.py").write_text(hostile_methods.FUNCTIONS)
    (folder / "report.ipynb").write_text(hostile_methods.notebook())
    made = our_client.modules.create_package(folder, account=account, name="methods")
    our_client.modules.upload_package(made, folder, progress=False)
    return made.id


@pytest.fixture(scope="module")
def runs(our_client, account, server, data, module):
    """A measurement by each function: their IDs by its name."""
    schema = {"arrowSchema": base64.b64encode(ROWS.serialize().to_pybytes()).decode()}
    store = urlsplit(server.settings["DYFF_OBJECTS__STEPS_ENDPOINT"]).netloc
    made = {}
    for name in hostile_methods.ALL:
        method = our_client.methods.create({
            "account": account, "name": name, "scope": "Evaluation", "modules": [module],
            "implementation": {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": f"methods.{name}"}},
            "parameters": [{"keyword": "store"}, {"keyword": "mark"}], "inputs": [{"kind": "Dataset", "keyword": "prompts"}],
            "output": {"kind": "Measurement", "measurement": {"name": name, "level": "Instance", "schema": schema}},
        })  # fmt: skip
        made[name] = our_client.measurements.create({
            "account": account, "method": method.id, "scope": data,
            "arguments": [{"keyword": "store", "value": store}, {"keyword": "mark", "value": MARK}],
            "inputs": [{"keyword": "prompts", "entity": data["dataset"]}],
        }).id  # fmt: skip
    return made


@pytest.fixture
def ended(our_client, runs):
    """Waits for the end of a function's measurement: the entity."""

    def wait(name, status):
        try:
            found = our_client.measurements.wait(runs[name], timeout_s=LIMIT_S, progress=False)
        except errors.WorkflowFailed as failed:
            found = failed.entity
        assert found.status == status, (found.reason, found.message)
        return found

    return wait


@pytest.fixture
def pods(server, node):
    """Finds the pods of a run."""
    inside = ("--namespace", server.settings["DYFF_CLUSTER__KUBERNETES__NAMESPACE"])
    return lambda entity_id: json.loads(node.kubectl(*inside, "get", "pods", "-l", f"dyff.io/id={entity_id}", "-o", "json"))["items"]


def test_a_table_is_computed_and_becomes_a_safety_case(our_client, account, data, module, ended, tmp_path):
    """A measurement by a function, and a document and a score by a notebook with the published AnalysisContext."""
    counted = ended("counts", "Complete")
    our_client.measurements.download(counted.id, tmp_path / "rows", progress=False)
    assert pyarrow.dataset.dataset(tmp_path / "rows").to_table()["words"].to_pylist() == [3.0] * 20
    assert "counting" in list(our_client.measurements.logs(counted.id))
    method = our_client.methods.create({
        "account": account, "name": "report", "scope": "InferenceService", "modules": [module],
        "implementation": {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": module, "notebookPath": "report.ipynb"}},
        "inputs": [{"kind": "Measurement", "keyword": "counts"}],
        "output": {"kind": "SafetyCase", "safetyCase": {"name": "case"}}, "scores": [hostile_methods.SCORE],
    })  # fmt: skip
    body = {"account": account, "method": method.id, "scope": data, "inputs": [{"keyword": "counts", "entity": counted.id}]}
    made = our_client.safetycases.create(body)
    our_client.safetycases.wait(made.id, timeout_s=LIMIT_S, progress=False)
    [score] = our_client.safetycases.scores(made.id)
    assert (score.name, score.quantityString) == ("mean", "3.00 words")
    our_client.safetycases.download(made.id, tmp_path / "page", progress=False)
    page = (tmp_path / "page/index.html").read_text()
    assert all(each in page for each in ("Counted", "rows 20", "3.00 words"))


FAILURES = {
    "raises": ("RunFailed", "methods.py, line 21, in raises: ZeroDivisionError", 1),
    "loops": ("DeadlineExceeded", "in loops: it did not end within 90 seconds", 1),
    "grows": ("OutOfMemory", "in grows: MemoryError", 1),
    "splits": ("OutOfMemory", "analyses.memory", None),
    "fills": ("LimitExceeded", 'EmptyDir volume "dyff-out" exceeds the limit', 2),
    "links": ("OutputInvalid", "'more.parquet' is a symbolic link", 1),
}
"""By function: the reason, part of the message, and how many pods there were; None: it depends on the version of control groups."""


@pytest.mark.parametrize("name", FAILURES)
def test_code_that_fails_has_a_reason_and_a_log(our_client, ended, pods, name):
    """Each in its own way; what a repetition cannot help is not repeated."""
    reason, message, attempts = FAILURES[name]
    failed = ended(name, "Failed")
    assert (failed.reason, message in failed.message) == (reason, True), failed.message
    assert attempts in (None, len(pods(failed.id)))


def test_what_was_printed_before_a_process_was_killed_can_be_read(our_client, ended):
    """The step that stores logs does not run then, so they come from the pods."""
    lines = list(our_client.measurements.logs(ended("splits", "Failed").id))
    assert "splitting" in lines


def test_code_reaches_nothing(our_client, ended):
    """No network, no secret, no file but its own, no rights; and it cannot end the program that watches it."""
    [line] = [each for each in our_client.measurements.logs(ended("pries", "Complete").id) if each.startswith("got ")]
    assert line == "got {} of 18"


def test_nothing_that_the_code_started_outlives_it(our_client, ended):
    """Neither a process on the machine, nor what it wrote after the code had ended."""
    entity = ended("leaves", "Complete")
    assert [each for each in Path("/proc").iterdir() if each.name.isdecimal() and MARK.encode() in _command(each)] == []
    assert [each.artifact.path for each in our_client.measurements.downlinks(entity.id)] == ["part-0.parquet"]


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
