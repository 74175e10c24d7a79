"""Each way in which a pod can end, on a real node, reported by the operator alone: a reason, what to do, and nothing waits for ever.

The resources are made all at once and come to their ends side by side; the tests look at one after the other.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.acceptance.conftest import DIGEST, run
from tests.acceptance.lone_operator import Place
from tests.acceptance.on_kubernetes import MOCK, STEPS
from tests.conftest import missing

pytestmark = [pytest.mark.acceptance, pytest.mark.engines, pytest.mark.slow]

LIMIT_S = 150.0
"""Everything has come to its end by then."""

REGISTRY = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/v2/", "/ready") else int(self.path.split("/")[2])); self.end_headers()
    do_HEAD = do_GET
http.server.HTTPServer(("127.0.0.1", 5000), Handler).serve_forever()
"""
"""A registry whose answer is the first part of the image's name."""
SERVE = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
SLEEP, FILL = "import time; time.sleep(1000)", "open('/scratch/file', 'wb').write(bytes(30_000_000))\n"
SCRATCH = [{"kind": "Scratch", "name": "scratch", "mountPath": "/scratch", "capacity": "5Mi"}]
WEIGHTS = [{"kind": "Data", "name": "weights", "mountPath": "/weights", "source": {"kind": "Model", "id": "0" * 32}}]


def python(code: str, **more) -> dict:
    """A session whose runner is a Python program."""
    return {"runner": "container", "image": STEPS, "command": ["python3", "-c", code], "resources": {"requests": {}}, **more}


def image(name: str) -> dict:
    """A session with that image."""
    return {"runner": "container", "image": name, "resources": {"requests": {}}}


def model(repository: str, **requests: str) -> dict:
    """A model of the hub below."""
    source = {"kind": "HuggingFaceHub", "huggingFaceHub": {"repoID": f"acme/{repository}", "revision": "a" * 40}}
    return {"source": source, "artifact": {"kind": "Volume"}, "resources": {"storage": "1Gi", **requests}}


PATIENT = {
    "mock": {"runner": "mock", "image": f"{MOCK}@{DIGEST}", "resources": {"requests": {}}},
    "serving": python(SERVE),
    "exit": python("print('the weights are broken'); raise SystemExit(3)"),
    "memory": python("x = b'1' * 200_000_000; " + SLEEP, resources={"requests": {"memory": "64Mi"}}),
    "command": {**image(STEPS), "command": ["/no/such/program"]},
    "name": image("UPPER//x"),
    "absent": image("127.0.0.1:5000/404/x:1"),
    "denied": image("127.0.0.1:5000/403/x:1"),
    "evicted": python(FILL + SLEEP, volumes=SCRATCH),
    "evicted_serving": python(FILL + SERVE, volumes=SCRATCH),
    "no_data": python(SERVE, volumes=WEIGHTS),
    "m_absent": model("404"),
    "m_busy": model("503"),
    "m_deleted": model("slow"),
}
"""With time."""

HASTY = {
    "host": image("registry.invalid/x:1"),
    "registry": image("127.0.0.1:5000/503/x:1"),
    "cpu": python(SERVE, resources={"requests": {"cpu": "1000"}}),
    "gpu": python(SERVE, accelerator={"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu"], "count": 1}}),
    "silent": python(SLEEP),
    "secret": python(SERVE, volumes=WEIGHTS),
    "m_secret": model("404"),
    "m_cpu": model("404", cpu="1000"),
}
"""With 60 s, and without the Secret of the steps."""

NARROW = {
    "too_much": python(SERVE, resources={"requests": {"memory": "2Gi"}}),
    "m_memory": model("404", memory="12Mi"),
}
"""With 100 s for a Job, where no container may have more than 1 GiB, and one that does not say how much has 24 MiB."""
LIMITS = {"type": "Container", "default": {"memory": "24Mi"}, "defaultRequest": {"memory": "12Mi"}, "max": {"memory": "1Gi"}}


class Hub(BaseHTTPRequestHandler):
    """Answers with the code that the repository is called; `slow` is never answered."""

    def do_GET(self):
        name = self.path.partition("acme/")[2].partition("/")[0]
        if name == "slow":
            # real time: it is not answered before the client gives up
            time.sleep(200)
        self.send_response(int(name) if name.isdigit() else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@contextmanager
def hub() -> Iterator[int]:
    """Its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def places(node, tmp_path_factory) -> Iterator[dict[str, Place]]:
    """The operators, with all resources."""
    if "DYFF_TEST_S3" not in os.environ:
        missing("no object store: DYFF_TEST_S3 is not set; run make test-engines")
    store = urlsplit(os.environ["DYFF_TEST_S3"])
    node.kubectl("apply", "--server-side", "-f", "-", stdin=run("manifests", "crds").stdout)
    with ExitStack() as stack:
        reached = stack.enter_context(node.reaching(stack.enter_context(hub())))
        stored = stack.enter_context(node.reaching(store.port or 0))

        def place(name: str, start_s: int, job_s: int, *, secret: bool = True) -> Place:
            folder = tmp_path_factory.mktemp(name)
            config = folder / "config.yaml"
            config.write_text(
                f"operator: {{fetch_env: {{HF_ENDPOINT: 'http://{node.host}:{reached}'}}, fetch_allowed_hosts: ['{node.host}']}}\n"
            )
            settings = {
                "AWS_ACCESS_KEY_ID": store.username or "",
                "AWS_SECRET_ACCESS_KEY": store.password or "",
                "DYFF_CONFIG_FILE": str(config),
                "DYFF_OBJECTS__URL": f"s3:/{store.path}/endings?endpoint=http://{store.hostname}:{store.port}",
                "DYFF_OBJECTS__STEPS_ENDPOINT": f"http://{node.host}:{stored}",
                "DYFF_OPERATOR__SESSION_START_DEADLINE_S": str(start_s),
                "DYFF_OPERATOR__JOB_DEADLINE_S": str(job_s),
                "DYFF_OPERATOR__IMAGE_PULL_PATIENCE_S": "5",  # by default, a registry that denies access is asked for minutes
            }
            return Place(node, folder, settings, secret=secret)

        found = {"patient": place("patient", 900, 1000), "hasty": place("hasty", 60, 60, secret=False), "narrow": place("narrow", 60, 100)}
        for each in found.values():
            stack.callback(node.kubectl, "delete", "namespace", each.namespace, "--wait=false")
            stack.callback(each.kill)
            each.operator.begin()
        container = {"name": "registry", "image": STEPS, "command": ["python3", "-c", REGISTRY], "imagePullPolicy": "IfNotPresent"}
        spec = {"hostNetwork": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
        found["patient"].apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "registry"}, "spec": spec})
        found["patient"].kubectl("wait", "--for=condition=Ready", "pod/registry", "--timeout=60s")
        for each in found.values():
            each.operator.wait_ready()
        # Not all at once: the node needs a while for each, and some have little time.
        hasty, narrow = found["hasty"], found["narrow"]
        hasty.run(**HASTY)
        narrow.run(m_slow=model("slow"))
        narrow.until(lambda: narrow.pods("m_slow"), 60, "m_slow")
        narrow.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": [LIMITS]}})
        narrow.run(**NARROW)
        hasty.until(lambda: any(each["status"].get("phase") == "Running" for each in hasty.pods("silent")), 60, "silent")
        found["patient"].run(**PATIENT)
        yield found
        for each in found.values():
            each.operator.send(signal.SIGTERM)
            assert each.operator.wait() == 0
            assert "Traceback" not in each.operator.log.read_text()


class Case(msgspec.Struct):
    """How a resource fails. `pods`: how many it had; None: that may differ."""

    place: str
    reason: str
    reported: list[str]
    pods: int | None = None


FAILURES = {
    "name": Case("patient", "ImageNotRunnable", ["UPPER//x", "invalid reference format", "correct the image"]),
    "absent": Case("patient", "ImageNotRunnable", ["127.0.0.1:5000/404/x:1: not found", "correct the image"]),
    "denied": Case("patient", "ImageNotRunnable", ["403 Forbidden", "correct the image"]),
    "no_data": Case("patient", "FetchFailed", ["the data of the session could not be fetched", "models/" + "0" * 32]),
    "host": Case(
        "hasty", "DeadlineExceeded", ["no replica was ready for 60 s", "registry.invalid", "see that the nodes reach the registry"]
    ),
    "registry": Case("hasty", "DeadlineExceeded", ["503 Service Unavailable", "see that the nodes reach the registry"]),
    "cpu": Case("hasty", "DeadlineExceeded", ["Insufficient cpu", "request less, or add a node"]),
    "gpu": Case("hasty", "DeadlineExceeded", ["Insufficient nvidia.com/gpu", "request less, or add a node"]),
    "silent": Case("hasty", "DeadlineExceeded", ["does not answer yet at port 8000, /ready", "operator.session_start_deadline_s"]),
    "secret": Case("hasty", "DeadlineExceeded", ['CreateContainerConfigError: secret "storage" not found', "create what is missing"]),
    "m_secret": Case("hasty", "DeadlineExceeded", ["within 60 s", 'secret "storage" not found', "create what is missing"]),
    "m_cpu": Case("hasty", "DeadlineExceeded", ["within 60 s", "Insufficient cpu", "request less, or add a node"]),
    "too_much": Case("narrow", "DeadlineExceeded", ["no pod can be made", "maximum memory usage per Container is 1Gi"]),
    "m_absent": Case("patient", "FetchFailed", ["the fetch: ", "404"], pods=1),
    "exit": Case("patient", "RunnerFailed", ["ended with exit code 3", "the weights are broken"]),
    "memory": Case("patient", "RunnerFailed", ["OOMKilled", "raise the memory"]),
    "command": Case("patient", "RunnerFailed", ["exit code 128 (StartError)", '"/no/such/program"']),
    "m_memory": Case("narrow", "FetchFailed", ["OOMKilled", "raise the memory"], pods=3),
    "m_busy": Case("patient", "FetchFailed", ["the fetch: ", "503"], pods=3),
}


def test_it_does_its_job_alone(places):
    """A session becomes Ready, its Service answers, and kubectl tells so; when it is deleted nothing of it is left."""
    place = places["patient"]
    place.wait("mock", "Ready", lambda reported: reported["status"] == "True", LIMIT_S)
    name = place.full_name("mock")
    port = place.kubectl("get", "service", name, "-o", "jsonpath={.spec.ports[0].port}")
    path = f"/api/v1/namespaces/{place.namespace}/services/{name}:{port}/proxy/ready"
    assert "ready" in place.kubectl("get", "--raw", path)
    assert "PodsReady" in place.kubectl("get", "inferencesession", name)
    place.kubectl("delete", "inferencesession", name, "--wait=false")
    place.until(lambda: not place.parts("mock"), 60, "mock")


def test_pods_that_are_deleted_by_hand_come_again(places):
    """A session's pod is replaced; a Job's counts as an attempt, and its resource says so while the next one runs."""
    place = places["patient"]
    place.wait("serving", "Ready", lambda reported: reported["status"] == "True", LIMIT_S)
    running = place.until(lambda: [each for each in place.pods("m_deleted") if each["status"].get("phase") == "Running"], 60, "m_deleted")
    deleted = [running[0]["metadata"]["name"], *(each["metadata"]["name"] for each in place.pods("serving"))]
    place.kubectl("delete", "pod", *deleted, "--wait=false")
    place.wait("m_deleted", "Complete", lambda reported: "failed attempt" in reported["message"], 60)
    place.until(lambda: [each for each in place.pods("m_deleted") if each["metadata"]["name"] not in deleted], 60, "m_deleted")
    place.until(lambda: not {each["metadata"]["name"] for each in place.pods("serving")} & set(deleted), 60, "serving")
    place.wait("serving", "Ready", lambda reported: reported["status"] == "True", 60)


def test_a_session_that_is_evicted_says_so(places):
    """One that serves comes back, one that never did says what it took too much of while the next pod starts."""
    place = places["patient"]
    reported = place.wait("evicted", "Ready", lambda reported: "Evicted" in reported["message"], LIMIT_S)
    for word in ('EmptyDir volume "scratch" exceeds the limit "5Mi"', "the capacity of the volume"):
        assert word in reported["message"]
    place.until(
        lambda: any(each["status"].get("reason") == "Evicted" for each in place.pods("evicted_serving")), LIMIT_S, "evicted_serving"
    )
    place.wait("evicted_serving", "Ready", lambda reported: reported["status"] == "True", LIMIT_S)


@pytest.mark.parametrize("name", FAILURES)
def test_failures(places, name):
    """It fails with that reason and says what to do; what failed for good was not tried again."""
    case = FAILURES[name]
    place = places[case.place]
    reported = place.wait(name, "Failed", lambda reported: reported["status"] == "True", LIMIT_S)
    assert reported["reason"] == case.reason, reported
    for word in case.reported:
        assert word in reported["message"]
    assert len(reported["message"].encode()) < 4000
    assert case.pods in (None, len(place.pods(name)))


def test_a_job_has_a_deadline(places):
    """Whatever its pods do, it ends with the setting that allows it more."""
    reported = places["narrow"].wait("m_slow", "Failed", lambda reported: reported["status"] == "True", LIMIT_S)
    assert reported["reason"] == "DeadlineExceeded"
    assert "the fetch did not end within 100 s; raise the setting operator.job_deadline_s" in reported["message"]


def test_a_node_that_does_not_answer(places, node):
    """Both a session and a Job on it end by their deadlines and name it; what has time comes back with it, the rest is removed."""
    patient, hasty = places["patient"], places["hasty"]
    hasty.make_secret()
    hasty.start_again(DYFF_OPERATOR__SESSION_START_DEADLINE_S="40", DYFF_OPERATOR__JOB_DEADLINE_S="75")
    hasty.run(lost=python(SERVE))
    hasty.wait("lost", "Ready", lambda reported: reported["status"] == "True", 60)
    hasty.run(m_lost=model("slow"))
    hasty.until(lambda: any(each["status"].get("phase") == "Running" for each in hasty.pods("m_lost")), 60, "m_lost")
    kubelet = node.program("kubelet")
    os.kill(kubelet, signal.SIGSTOP)
    try:
        reported = patient.wait("serving", "Ready", lambda reported: reported["status"] == "False", 90)
        assert "its node dyff-node does not answer" in reported["message"]
        for name in ("lost", "m_lost"):
            reported = hasty.wait(name, "Failed", lambda reported: reported["status"] == "True", 120)
            assert reported["reason"] == "DeadlineExceeded"
            assert "its node dyff-node does not answer" in reported["message"]
    finally:
        os.kill(kubelet, signal.SIGCONT)
    patient.wait("serving", "Ready", lambda reported: reported["status"] == "True", 60)
    hasty.until(
        lambda: not any(each["status"].get("phase") == "Running" for name in ("lost", "m_lost") for each in hasty.pods(name)), 60, "lost"
    )
