"""The OpenAPI document as programs use it: a generated client works, and a tester of APIs finds nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.acceptance.conftest import Server

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-openapi"
USE = """
    import datetime, sys
    from client import AuthenticatedClient
    from client.api.evaluations import evaluations_create, evaluations_get, evaluations_query
    from client.models import Evaluation, EvaluationCreateRequest, EvaluationStatus, Problem, SessionSpec

    address, token, account, dataset, service = sys.argv[1:]
    session = SessionSpec(inference_service=service)
    with AuthenticatedClient(base_url=address, token=token) as client:
        body = EvaluationCreateRequest(account=account, dataset=dataset, inference_session=session, replications=2)
        created = evaluations_create.sync(client=client, body=body, idempotency_key="only-once")
        assert isinstance(created, Evaluation), created
        assert (created.status, created.replications, created.kind) == (EvaluationStatus.CREATED, 2, "Evaluation"), created
        assert isinstance(created.creation_time, datetime.datetime), created
        assert created.inference_session.inference_service.runner.kind.value == "mock", created
        assert created.client.batch_size == 1000, created
        again = evaluations_create.sync_detailed(client=client, body=body, idempotency_key="only-once")
        assert again.parsed.id == created.id, again
        read = evaluations_get.sync(created.id, client=client)
        assert isinstance(read, Evaluation), read
        assert (read.id, read.dataset) == (created.id, dataset), read
        assert read.status in EvaluationStatus
        found = evaluations_query.sync(client=client, id=created.id, limit=1)
        assert [each.id for each in found] == [created.id], found
        absent = evaluations_get.sync("0" * 32, client=client)
        assert isinstance(absent, Problem), absent
        assert "there is no Evaluation" in absent.detail
        print(created.id)
"""


@pytest.fixture(scope="module")
def tools():
    """The programs of the environment in which they are."""
    made = subprocess.run(["make", "--silent", f"{TOOLS.name}/.ready"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return TOOLS / "bin"


def run(*arguments: str, cwd: Path, timeout_s: float = 120) -> str:
    """What a program that succeeds prints. It finds its packages below `cwd`."""
    environment = {**os.environ, "PYTHONPATH": str(cwd)}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-3000:]
    return done.stdout


def test_a_generated_client_creates_and_reads_an_evaluation(server, token, account, dataset, service, tools, tmp_path):
    """With typed models, from the document of a running server, without a word about Dyff in the generator."""
    (tmp_path / "settings.yml").write_text("post_hooks: []\n")
    description = f"{server.endpoint}/openapi.json"
    generate = ("generate", "--url", description, "--meta", "none", "--config", "settings.yml", "--output-path", "client")
    said = run(str(tools / "openapi-python-client"), *generate, cwd=tmp_path)
    skipped = [line for line in said.splitlines() if line.startswith("WARNING")]
    assert [line for line in skipped if "infer/{path}" not in line] == []  # whose answers are of any type
    (tmp_path / "use.py").write_text(textwrap.dedent(USE))
    address = server.endpoint.removesuffix("/v0")
    made = run(sys.executable, "use.py", address, token, account, dataset.id, service.id, cwd=tmp_path).strip()
    assert len(made) == 32


ACCOUNTS = "^/v0/accounts"
RUNS = [
    pytest.param(("--exclude-path-regex", ACCOUNTS), id="entities"),
    pytest.param(("--include-path-regex", ACCOUNTS), id="accounts"),
]
"""All operations, in two runs: those of accounts find the account of the token that they use, and may delete it."""

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "2"))
"""At random, for each operation; besides them all cases that follow from the schemas at their bounds are tried, once each."""

NOTHING_RUNS = {"DYFF_QUOTAS__ADMITTED": "0"}
"""What is created is not run: a model with a made-up source would be looked for in the network."""


@pytest.fixture
def tested(tmp_path):
    """A server of the test's own."""
    subject = Server(tmp_path / "data", NOTHING_RUNS)
    subject.start()
    yield subject
    if subject.is_running:
        assert subject.stop() == 0
    assert "request-failed" not in subject.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("chosen", RUNS)
def test_a_tester_of_apis_finds_nothing(chosen, tested, tools):
    """Schemathesis with all its checks: no fault of the server, no answer that is not documented, nothing wrong that is accepted,
    nothing right that is refused. `schemathesis.toml` has what a schema cannot say; without a limit it takes minutes.
    One worker: `ast.parse`, which it uses, fails in several threads of Python 3.11 ("AST constructor recursion depth mismatch")."""
    account = tested.command("account", "create", "--name", "tester")
    token = tested.command("token", "create", "--account", account, "--role", "Admin")
    said = run(
        str(tools / "schemathesis"), "run", f"{tested.endpoint}/openapi.json", *chosen,
        "--header", f"Authorization: Bearer {token}", "--seed", "1", "--max-examples", str(EXAMPLES), "--workers", "1", "--no-color",
        cwd=ROOT, timeout_s=1800,
    )  # fmt: skip
    assert "schemathesis.toml" in said
    assert re.search(r"[0-9]{3,} generated, ", said), said[-3000:]
