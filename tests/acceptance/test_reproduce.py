"""`dyff reproduce` as a stranger uses it: it runs an analysis again, asks the system again, and says in numbers how far both agree."""

from __future__ import annotations

import json
import subprocess

import pytest

from dyff.sdk import Client
from tests.acceptance.conftest import DYFF, plain_environment
from tests.analyses import runs

pytestmark = pytest.mark.acceptance

DRAWN = """
    import os
    import random
    import time

    drawn = random.random() if shortest == 3 else time.time_ns() % 1_000_000_007
    return drawn + (sum(lengths) / len(lengths) if lengths else 0.0)
"""
"""The end of the method's function: the score has a random number, which the seed determines, or the time, which nothing determines."""


@pytest.fixture(scope="module")
def ours(server, token):
    """Our client."""
    with Client(api_token=token, endpoint=server.endpoint) as made:
        yield made


@pytest.fixture
def command(server, token, tmp_path):
    """Runs the installed command with the account's token."""

    env = plain_environment() | {"DYFF_API_ENDPOINT": server.endpoint, "DYFF_API_TOKEN": token}

    def run(*words, **variables):
        return subprocess.run([DYFF, *words], capture_output=True, text=True, timeout=300, check=False, env=env | variables, cwd=tmp_path)

    return run


@pytest.fixture
def evaluation(ours, account, dataset, service):
    """A complete evaluation."""
    made = ours.evaluations.create({"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}})
    return ours.evaluations.wait(made.id, timeout_s=240, progress=False)


def done(found, code=0):
    assert found.returncode == code, found.stdout + found.stderr
    return found.stdout


def test_a_case_is_reproduced_and_one_that_cannot_be_differs(ours, command, server, account, evaluation, dataset, service, tmp_path):
    """The same seed gives the same random numbers: exit code 0. A score that depends on the time differs: exit code 8, with the difference.
    Items are asked again, and the report says what that means. What is not there any more is an error that names it."""
    runs.environment()
    done(command("method", "new", "report", "--kind", "notebook"))
    code = tmp_path / "report/module/words.py"
    text = code.read_text()
    code.write_text(text[: text.index("    return sum(")] + DRAWN)
    pushed = dict(line.split() for line in done(command("method", "push", "report", "--account", account)).splitlines()[:3])
    scope = {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id}
    body = {"account": account, "method": pushed["method"], "scope": scope, "inputs": [{"keyword": "outputs", "entity": evaluation.id}]}
    drawn, timed = (
        ours.safetycases.wait(
            ours.safetycases.create({**body, "arguments": [{"keyword": "shortest", "value": value}]}).id, timeout_s=240, progress=False
        )
        for value in ("3", "4")
    )
    report = json.loads(done(command("reproduce", drawn.id, "--items", "3", "--json", "--quiet")))
    [score] = report["scores"]
    assert (report["agrees"], score["equal"], score["difference"], score["original"]) == (True, True, 0.0, drawn.scores[0].quantity)
    assert (report["outputs"]["compared"], report["sameEnvironment"]) == (1, True)
    items = report["items"]
    assert (items["compared"], items["equal"], items["unanswered"], items["expected"]) == (3, 3, 0, "may differ")
    assert "temperature is not known" in items["meaning"]
    again = ours.safetycases.get(report["reproduction"])
    assert (again.reproduces, again.provenance["run"]["seed"]) == (drawn.id, drawn.provenance["run"]["seed"])
    (counted,) = [each for each in ours.safetycases.dossier(drawn.id).notShown.runs if each.kind == "SafetyCase"]
    assert (counted.total, counted.reproductions) == (3, 1)
    asked = ours.evaluations.get(items["reproduction"])
    assert asked.labels["reproduces"] == evaluation.id

    differs = command("reproduce", timed.id, "--quiet")
    assert "scores: 1 compared, 0 equal" in done(differs, 8)
    assert f"the reproduction of {timed.id} differs" in differs.stderr
    assert "3 compared, 3 equal" in done(command("reproduce", evaluation.id, "--items", "3", "--exact", "--quiet"))

    for words, code_, said in (
        ((report["reproduction"],), 2, "is a reproduction itself"),
        ((evaluation.id,), 2, "--items"),
        ((pushed["module"],), 5, "Module"),
    ):
        refused = command("reproduce", *words, "--quiet")
        assert (refused.returncode, said in refused.stderr) == (code_, True), refused.stderr
    stranger = server.command("token", "create", "--account", server.command("account", "create", "--name", "stranger"))
    refused = command("reproduce", drawn.id, DYFF_API_TOKEN=stranger)
    assert (refused.returncode, "does not grant" in refused.stderr) == (10, True), refused.stderr
    ours.evaluations.delete(evaluation.id)
    refused = command("reproduce", drawn.id, "--quiet")
    assert (refused.returncode, f"the Evaluation {evaluation.id} cannot be used: its status is Deleted" in refused.stderr) == (6, True)
