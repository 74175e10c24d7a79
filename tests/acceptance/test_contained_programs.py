"""What an account's program finds on a real node: no rights, no token, no place to write but its own, and a policy for its network.

The network plug-in of this node applies no NetworkPolicy, so that one exists for exactly these pods is all that is seen of it here.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import run
from tests.acceptance.lone_operator import Place
from tests.acceptance.on_kubernetes import STEPS

pytestmark = [pytest.mark.acceptance, pytest.mark.engines, pytest.mark.slow]

LIMIT_S = 120.0
PROBE = """
import http.server, json, os
def can_write(folder):
    try:
        open(folder + "/written", "w").close()
    except OSError as error:
        return error.strerror
    return "yes"
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
report = {
    "user": [os.getuid(), os.getgid(), sorted(set(os.getgroups()))],
    "capabilities": [status[each] for each in ("CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "seccomp": status["Seccomp"], "no new privileges": status["NoNewPrivs"],
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "write": {each: can_write(each) for each in ("/", "/etc", "/usr", "/var/tmp", "/dev", os.path.expanduser("~"), "/tmp", "/scratch")},
    "variables": sorted(os.environ),
}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(report).encode())
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
FILL = "import time; open('/tmp/file', 'wb').write(bytes(30_000_000)); time.sleep(1000)"
SCRATCH = [{"kind": "Scratch", "name": "scratch", "mountPath": "/scratch", "capacity": "5Mi"}]


def python(code: str, **more) -> dict:
    """A session that runs the image of the steps, as an account that knows its name could."""
    return {"runner": "container", "image": STEPS, "command": ["python3", "-c", code], "resources": {"requests": {}}, **more}


@pytest.fixture(scope="module")
def place(node, tmp_path_factory) -> Iterator[Place]:
    """An operator with a small limit for temporary files. Nothing here has data, so no object store is needed."""
    node.kubectl("apply", "--server-side", "-f", "-", stdin=run("manifests", "crds").stdout)
    settings = {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "DYFF_OBJECTS__URL": "s3://bucket?endpoint=http://192.0.2.1:9",  # pods could not reach a loopback address
        "DYFF_OPERATOR__PROGRAMS__TMP_LIMIT": "5Mi",
    }
    made = Place(node, tmp_path_factory.mktemp("contained"), settings)
    made.operator.begin()
    try:
        made.operator.wait_ready()
        yield made
        made.operator.send(signal.SIGTERM)
        assert made.operator.wait() == 0
        assert "Traceback" not in made.operator.log.read_text()
    finally:
        made.kill()
        node.kubectl("delete", "namespace", made.namespace, "--wait=false")


def test_a_program_has_no_rights_and_its_policy_goes_after_it(place):
    """A program has a number for its user, no capability, a filter of calls, no token, and only its own folders to write to.

    Its policy selects its pods, and is gone with the session.
    """
    place.run(probe=python(PROBE, volumes=SCRATCH))
    place.wait("probe", "Ready", lambda reported: reported["status"] == "True", LIMIT_S)
    name = place.full_name("probe")
    found = json.loads(place.kubectl("get", "--raw", f"/api/v1/namespaces/{place.namespace}/services/{name}:80/proxy/"))
    assert found["user"] == [65532, 65532, [65532]]
    assert found["capabilities"] == ["0000000000000000"] * 4
    assert (found["seccomp"], found["no new privileges"], found["token"]) == ("2", "1", False)
    writable = {folder for folder, answer in found["write"].items() if answer == "yes"}
    assert writable == {"/tmp", "/scratch"}, found["write"]
    assert not [each for each in found["variables"] if each.startswith(("AWS_", "DYFF_"))]

    policy = json.loads(place.kubectl("get", "networkpolicy", name, "-o", "json"))
    (pod,) = place.pods("probe")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "egress" not in policy["spec"]
    assert policy["metadata"]["generation"] == 1, "it was written again without a change"
    place.kubectl("delete", "inferencesession", name, "--wait=false")
    place.until(lambda: not place.parts("probe"), 60, "probe")


def test_temporary_files_have_a_limit(place):
    """A program that fills `/tmp` is evicted, and the session says what it took too much of."""
    place.run(fills=python(FILL))
    reported = place.wait("fills", "Ready", lambda reported: "Evicted" in reported["message"], LIMIT_S)
    assert "5Mi" in reported["message"], reported


def test_the_runtime_class_is_used(place):
    """A class that the cluster does not have prevents the pods, and the session names it."""
    place.start_again(DYFF_OPERATOR__PROGRAMS__RUNTIME_CLASS="no-such-runtime")
    place.run(sandboxed=python(PROBE))
    reported = place.wait("sandboxed", "Ready", lambda reported: "no pod can be made" in reported["message"], LIMIT_S)
    assert "no-such-runtime" in reported["message"]
