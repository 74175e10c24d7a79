"""What a person sees of runs that do not go well, with our client and with the published one."""

from __future__ import annotations

import dyff.client
import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml

from dyff.sdk import Client, errors, schemas
from tests.acceptance.conftest import DIGEST, Server

pytestmark = pytest.mark.acceptance

FLAKY = """
import http.server, json, sys
tries = {}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(200, {})
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        tries[body] = tries.get(body, 0) + 1
        self.say(*((500, {"error": "out of cheese"}) if tries[body] < 5 else (200, {"text": "fine"})))
    def say(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CRASH = "import sys; print('loading'); print('no such model: x', file=sys.stderr); sys.exit(3)"
COMMANDS = {
    "crash": ["/usr/bin/python3", "-c", CRASH],
    "missing": ["/no/such/program"],
    "hungry": ["/usr/bin/python3", "-c", "import os, signal; print('loading', flush=True); os.kill(os.getpid(), signal.SIGKILL)"],
    "flaky": ["/usr/bin/python3", "-c", FLAKY, "{port}"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that runs the programs above."""
    folder = tmp_path_factory.mktemp("visible")
    images = {f"test/{name}": {"command": command, "readiness_path": "/ready"} for name, command in COMMANDS.items()}
    (folder / "settings.yaml").write_text(yaml.safe_dump({"pods": {"images": images}}))
    made = Server(folder / "data", {"DYFF_CONFIG_FILE": str(folder / "settings.yaml")})
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="module")
def ours(server, token):
    """Our client."""
    with Client(api_token=token, endpoint=server.endpoint) as client:
        yield client


def a_service(client, account, program):
    """A service that runs one of the programs."""
    image = {"host": "example.org", "name": f"test/{program}", "digest": DIGEST}
    interface = {"endpoint": "answer", "outputSchema": schemas.output_schema(pa.schema([("text", pa.string())]))}
    runner = {"kind": "standalone", "image": image, "resources": {"memory": "256Mi"}}
    return client.inferenceservices.create({"account": account, "name": program, "runner": runner, "interface": interface})


@pytest.mark.parametrize(
    ("program", "want"),
    [
        ("crash", ["no such model: x", "exit code 3"]),
        ("missing", ["/no/such/program", "StartError"]),
        ("hungry", ["loading", "exit code 137"]),
    ],
)
def test_the_log_of_a_runner_that_never_started_is_readable(server, ours, account, token, capsys, program, want):
    """Its last lines and the reason are in the logs, although its pods are gone; a wait has said what it waited for."""
    service = a_service(ours, account, program)
    session = ours.inferencesessions.create({"account": account, "inferenceService": service.id}).inferencesession
    with pytest.raises(errors.WorkflowFailed):
        ours.inferencesessions.wait(session.id, timeout_s=120)
    assert ours.inferencesessions.progress(session.id).stage == "Error"
    assert "replicas ready" in capsys.readouterr().out
    texts = ["\n".join(line.message for line in ours.inferencesessions.workflow_logs(session.id).logs)]
    texts.append("\n".join(line.message for line in ours.inferencesessions.stream_workflow_logs(session.id)))
    published = dyff.client.Client(api_token=token, endpoint=server.endpoint)
    texts.append("\n".join(line.message for line in published.inferencesessions.workflow_logs(session.id).logs))
    for text in texts:
        assert all(each in text for each in want), text


def test_a_service_that_fails_is_visible_while_it_does(ours, account, tmp_path, capsys):
    """The wait says which item is retried, how often, after which answer and until when; at the end, the stage is the status."""
    pyarrow.parquet.write_table(pa.table({"_index_": [0, 1], "text": ["a", "b"]}), tmp_path / "part.parquet")
    dataset = ours.datasets.create_arrow_dataset(tmp_path, account=account, name="two")
    ours.datasets.upload_arrow_dataset(dataset, tmp_path, progress=False)
    service = a_service(ours, account, "flaky")
    evaluation = ours.evaluations.create({"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}})
    assert ours.evaluations.wait(evaluation.id, timeout_s=120).status == "Complete"
    said = capsys.readouterr().out
    assert "trying again at 20" in said
    assert 'status 500: {"error": "out of cheese"}' in said
    assert "client.transientErrorRetryLimit, or at 20" in said
    assert ours.evaluations.progress(evaluation.id).stage == "Complete"
    logs = [line.message for line in ours.evaluations.workflow_logs(evaluation.id).logs]
    assert any("out of cheese" in line for line in logs)


def test_a_misspelt_key_is_named_with_the_nearest(ours, account):
    """At any depth of the request, and in a query."""
    session = {"inferenceService": "x"}
    with pytest.raises(errors.BadRequest, match=r"datasett.*did you mean 'dataset'"):
        ours.evaluations.create({"account": account, "datasett": "x", "inferenceSession": session})
    with pytest.raises(errors.BadRequest, match=r"client\.badRequestPolicyy.*did you mean 'badRequestPolicy'"):
        ours.evaluations.create({"account": account, "dataset": "x", "inferenceSession": session, "client": {"badRequestPolicyy": "Skip"}})
    with pytest.raises(errors.BadRequest, match="did you mean 'dataset'"):
        ours.evaluations.query(query={"datasett": "x"})
