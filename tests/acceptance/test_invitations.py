"""An outsider with an invitation, by the installed command, by the client and by curl: one case and its data, until it is revoked."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest

from dyff.sdk import Client, errors
from tests.acceptance.conftest import DYFF, plain_environment
from tests.analyses import runs

pytestmark = pytest.mark.acceptance


@pytest.fixture
def command(server, token, tmp_path):
    """Runs the installed command, with the account's token unless another one is given."""
    env = plain_environment() | {"DYFF_API_ENDPOINT": server.endpoint, "DYFF_API_TOKEN": token}

    def run(*words, code=0, **variables):
        found = subprocess.run([DYFF, *words], capture_output=True, text=True, timeout=240, check=False, env=env | variables, cwd=tmp_path)
        assert found.returncode == code, found.stdout + found.stderr
        return found.stdout if code == 0 else found.stderr

    return run


def test_an_outsider_reads_one_case_and_its_data(server, token, account, command, dataset, service, tmp_path):
    """The link leads to the page, and the code reads the case and its data like a token. Nothing else works, and no file of the server has
    the secret. When it is revoked, nothing works any more."""
    runs.environment()
    with Client(api_token=token, endpoint=server.endpoint) as client:
        made = client.evaluations.create({"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}})
        evaluation = client.evaluations.wait(made.id, timeout_s=240, progress=False)
        command("method", "new", "report", "--kind", "notebook")
        pushed = dict(line.split() for line in command("method", "push", "report", "--account", account).splitlines()[:3])
        case = client.safetycases.create(
            {
                "account": account,
                "method": pushed["method"],
                "scope": {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id},
                "arguments": [{"keyword": "shortest", "value": "3"}],
                "inputs": [{"keyword": "outputs", "entity": evaluation.id}],
            }
        )
        client.safetycases.wait(case.id, timeout_s=240, progress=False)
    link = command("invitation", "create", case.id, "--note", "reviewer", "--days", "7").strip()
    [listed] = json.loads(command("invitation", "list", case.id, "--json"))
    assert (listed["note"], listed["uses"], link.startswith(server.endpoint.removesuffix("/v0"))) == ("reviewer", [], True)
    code = link.rpartition("/")[2]

    with httpx.Client(follow_redirects=True) as browser:
        page = browser.get(link)
        assert (page.status_code, page.url.path) == (200, f"/safetycases/{case.id}")
        assert case.id in page.text
    guest = {"DYFF_API_TOKEN": code}
    assert json.loads(command("get", "safetycase", case.id, "--json", **guest))["id"] == case.id
    assert json.loads(command("export", "provenance", case.id, **guest))["entity"]
    command("download", "evaluation", evaluation.id, "outputs", "--quiet", **guest)
    assert list((tmp_path / "outputs").rglob("*.parquet"))
    assert "one safety case and what it rests on" in command("ls", "safetycases", code=10, **guest)
    with Client(api_token=code, endpoint=server.endpoint) as outsider:
        assert outsider.datasets.get(dataset.id).name == dataset.name
        for refused in (lambda: outsider.safetycases.delete(case.id), lambda: outsider.safetycases.invite(case.id), outsider.methods.query):
            with pytest.raises(errors.NotAllowed, match="one safety case and what it rests on"):
                refused()
    uses = {each["action"] for each in json.loads(command("invitation", "list", case.id, "--json"))[0]["uses"]}
    assert {"invitations.open", "safetycases.get", "safetycases.provenance", "evaluations.downlinks"} <= uses
    secret = code.rpartition(listed["id"])[2].lstrip("-")
    kept = [each.read_bytes() for each in server.directory.rglob("*") if each.is_file() and each.stat().st_size < 2**26]
    assert not any(secret.encode() in each for each in [*kept, server.log.read_bytes(), server.out.read_bytes()])

    command("invitation", "revoke", case.id, listed["id"])
    assert "expired or been revoked" in command("get", "safetycase", case.id, code=4, **guest)
    assert httpx.get(link).status_code == 404
    again = command("invitation", "create", case.id).strip().rpartition("/")[2]
    command("get", "safetycase", case.id, DYFF_API_TOKEN=again)
    server.command("token", "invalidate-all")
    assert "expired or been revoked" in command("get", "safetycase", case.id, code=4, DYFF_API_TOKEN=again)
