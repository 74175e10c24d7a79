"""What an author of a method types, through the installed command, against a server: new, test, push, and a result."""

from __future__ import annotations

import os
import subprocess

import pytest

from dyff import stats
from dyff.sdk import Client
from tests.acceptance.conftest import DYFF, plain_environment
from tests.analyses import runs

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def our_client(server, token):
    """Our client."""
    runs.environment()
    with Client(api_token=token, endpoint=server.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def evaluation(our_client, account, dataset, service):
    """An evaluation of the mock service."""
    body = {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}}
    made = our_client.evaluations.create(body)
    return our_client.evaluations.wait(made.id, timeout_s=120, progress=False)


@pytest.fixture
def author(server, token, tmp_path, our_client, dataset, evaluation):
    """Runs the command in a folder that has the downloaded data: arguments to a completed process."""
    our_client.datasets.download(dataset.id, tmp_path / "prompts", progress=False)
    our_client.evaluations.download(evaluation.id, tmp_path / "outputs", progress=False)
    environment = plain_environment() | {"DYFF_API_ENDPOINT": server.endpoint, "DYFF_API_TOKEN": token}

    def command(*arguments, **more):
        env = environment | more
        return subprocess.run([DYFF, "method", *arguments], capture_output=True, text=True, timeout=120, check=False, env=env, cwd=tmp_path)

    return command


def ids(pushed):
    """The IDs that a push printed, by what has them."""
    return dict(line.split() for line in pushed.stdout.splitlines()[:3])


def test_a_function_becomes_a_measurement(author, our_client, account, dataset, service, evaluation, tmp_path):
    """The example runs on downloaded data, is uploaded once however often it is pushed, and its measurement completes."""
    assert author("new", "lengths").returncode == 0
    tested = author("test", "lengths", "--input", "prompts=prompts", "--input", "outputs=outputs", "--argument", "shortest=2")
    assert (tested.returncode, "20 rows" in tested.stdout) == (0, True), tested
    pushed, again = author("push", "lengths"), author("push", "lengths")
    assert pushed.returncode == 0, pushed.stderr
    assert again.stdout == pushed.stdout
    method = our_client.methods.get(ids(pushed)["method"])
    assert our_client.methods.documentation(method.id).title == "Word length"
    scope = {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id}
    inputs = [{"keyword": "prompts", "entity": dataset.id}, {"keyword": "outputs", "entity": evaluation.id}]
    arguments = [{"keyword": "shortest", "value": "2"}]
    made = our_client.measurements.create(
        {"account": account, "method": method.id, "scope": scope, "arguments": arguments, "inputs": inputs}
    )
    assert our_client.measurements.wait(made.id, timeout_s=120, progress=False).status == "Complete"
    [score] = our_client.measurements.scores(made.id)
    assert score.metadata.estimate.clusters == 20
    (tmp_path / "lengths/module/more.py").write_text("MORE = 1\n")
    assert ids(author("push", "lengths"))["module"] != ids(pushed)["module"]
    our_client.methods.delete(method.id)
    assert ids(author("push", "lengths"))["method"] not in ("", method.id)


def test_a_notebook_becomes_a_safety_case(author, our_client, account, dataset, service, evaluation, tmp_path):
    """The example shows its score in a test, and the safety case that the server makes has it, too."""
    assert author("new", "report", "--kind", "notebook").returncode == 0
    tested = author("test", "report", "--input", "outputs=outputs", "--argument", "shortest=1")
    assert (tested.returncode, "score mean_length: " in tested.stdout) == (0, True), tested
    assert os.path.getsize(tmp_path / "report/output/index.html")
    assert "\\x00" not in tested.stderr
    pushed = author("push", "report")
    assert pushed.returncode == 0, pushed.stderr
    assert "client.safetycases.create" in pushed.stdout
    assert "these texts are missing:\n  claim " in pushed.stderr
    assert "dyff case publish ID --from report" in pushed.stderr
    scope = {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id}
    made = our_client.safetycases.create(
        {
            "account": account,
            "method": ids(pushed)["method"],
            "scope": scope,
            "arguments": [{"keyword": "shortest", "value": "1"}],
            "inputs": [{"keyword": "outputs", "entity": evaluation.id}],
        }
    )
    assert our_client.safetycases.wait(made.id, timeout_s=120, progress=False).status == "Complete"
    [score] = our_client.safetycases.scores(made.id)
    assert f"score mean_length: {score.quantityString} " in tested.stdout
    assert score.metadata.estimate.low <= score.quantity <= score.metadata.estimate.high


RATES = {
    "method.toml": """
name = "rates"
scope = "Evaluation"
implementation = { kind = "PythonFunction", pythonFunction.fullyQualifiedName = "rates.rates" }
inputs = [{ kind = "Evaluation", keyword = "outputs" }]
module = "module"

[output]
kind = "Measurement"
measurement = { name = "rates", level = "Dataset", columns = { answers = "int64" } }

[[scores]]
name = "short"
title = "Short answers"
summary = "How many answers have fewer than 40 letters."
""",
    "module/rates.py": """
import pyarrow as pa
from dyff import stats

def rates(arguments, outputs):
    rows = [(row["_index_"], each["text"]) for row in outputs.to_table().to_pylist() for each in row["responses"]]
    found = stats.proportion([len(text) < 40 if text else None for _, text in rows], cluster=[item for item, _ in rows])
    stats.score("short", found, "of all answers")
    yield pa.RecordBatch.from_pylist([{"answers": found.n}])
""",
}


def test_a_score_has_its_interval(author, our_client, client, account, dataset, service, evaluation, tmp_path):
    """A function that uses dyff.stats needs nothing installed; its score keeps the interval, and its record says what calculated it."""
    for name, text in RATES.items():
        (tmp_path / "rates" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rates" / name).write_text(text)
    tested, pushed = author("test", "rates", "--input", "outputs=outputs"), author("push", "rates")
    assert (tested.returncode, pushed.returncode) == (0, 0), (tested, pushed)
    body = {
        "account": account, "method": ids(pushed)["method"], "inputs": [{"keyword": "outputs", "entity": evaluation.id}],
        "scope": {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id},
    }  # fmt: skip
    made = our_client.measurements.create(body)
    assert our_client.measurements.wait(made.id, timeout_s=120, progress=False).status == "Complete"
    [score] = our_client.measurements.scores(made.id)
    assert f"score short: {score.quantityString} ({score.text})" in tested.stdout
    found = score.metadata.estimate
    assert (found.low <= score.quantity <= found.high, found.level, found.clusters) == (True, 0.95, 20)
    assert (found.outcomes.verdicts, found.outcomes.errors, found.by) == (found.n, 0, f"dyff.stats {stats.VERSION}")
    assert "Korn and Graubard" in found.method
    [package] = our_client.measurements.get(made.id).provenance["provided"]
    assert (package["name"], package["version"], len(package["sha256"])) == ("dyff.stats", stats.VERSION, 64)
    assert client.measurements.get(made.id).status == "Complete"


DECORATED = """
from collections.abc import Iterable
from typing import Annotated
import pyarrow as pa
import pyarrow.dataset
import pydantic
from dyff.schema.annotations import Input, Output, method
from dyff.schema.platform import Evaluation, Measurement, MeasurementLevel, MethodScope

class Row(pydantic.BaseModel):
    times: float

@method(scope=MethodScope.Evaluation, description="Says a number.")
def lengths(
    times: str, data: Annotated[pyarrow.dataset.Dataset, Input(Evaluation)]
) -> Annotated[Iterable[pa.RecordBatch], Output(Measurement, schema=Row, level=MeasurementLevel.Instance)]:
    schema = pa.schema([("_index_", pa.int64()), ("_replication_", pa.string()), ("times", pa.float64())])
    for batch in data.to_batches():
        rows = [{"_index_": row["_index_"], "_replication_": row["_replication_"], "times": float(times)} for row in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(rows, schema=schema)
"""


def test_a_decorated_function_says_what_it_is(author, our_client, tmp_path):
    """Its parameters, inputs and output come from the published decorator, which is evaluated in the environment of analyses."""
    (tmp_path / "decorated/module").mkdir(parents=True)
    (tmp_path / "decorated/module/lengths.py").write_text(DECORATED)
    (tmp_path / "decorated/method.toml").write_text(
        '[implementation]\nkind = "PythonFunction"\npythonFunction.fullyQualifiedName = "lengths.lengths"\n'
    )
    tested = author("test", "decorated", "--input", "data=outputs", "--argument", "times=3")
    assert (tested.returncode, '"times": 3.0' in tested.stdout) == (0, True), tested
    pushed = author("push", "decorated")
    assert pushed.returncode == 0, pushed.stderr
    method = our_client.methods.get(ids(pushed)["method"])
    assert (method.name, method.description) == ("lengths", "Says a number.")
    assert ([each["keyword"] for each in method.parameters], [each["keyword"] for each in method.inputs]) == (["times"], ["data"])


def test_what_fails_names_the_line(author, tmp_path):
    """A method that raises ends the test with 1 and its own line, and what it leaves is not kept."""
    author("new", "broken")
    code = tmp_path / "broken/module/word_length.py"
    code.write_text(code.read_text().replace("    rows = [", "    raise ValueError('no words')\n    rows = [", 1))
    tested = author("test", "broken", "--input", "prompts=prompts", "--input", "outputs=outputs", "--argument", "shortest=2")
    assert tested.returncode == 1
    for each in ("word_length.py, line ", "in word_length", "ValueError: no words"):
        assert each in tested.stderr
    assert not (tmp_path / "broken/output").exists()


def test_a_push_that_ends_half_way_is_continued(author, our_client, server, account, tmp_path):
    """It says what exists and what to do; the next push uses that, and there is one module."""
    (tmp_path / "modules.yaml").write_text(f"- {{resources: [modules], functions: ['*'], accounts: [{account}]}}\n")
    narrow = server.command("token", "create", "--account", account, "--grants", str(tmp_path / "modules.yaml"))
    author("new", "halfway")
    ended = author("push", "halfway", "--account", account, DYFF_API_TOKEN=narrow)
    assert ended.returncode != 0
    [module] = our_client.modules.query(account=account, name="halfway")
    assert f"it exists already: module {module.id}. Push the same folder again" in ended.stderr
    assert "methods" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ids(author("push", "halfway"))["module"] == module.id
    assert len(our_client.modules.query(account=account, name="halfway")) == 1
