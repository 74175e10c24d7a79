"""The published client's whole suite on real engines: Kafka, MongoDB's protocol, S3, and containers on a real Kubernetes node.

Every role is a process of its own, and api, aggregator and sink are there twice.
"""

from __future__ import annotations

import base64
import os
import uuid

import pytest

from image import archive, build
from tests.acceptance.conftest import DIGEST, run
from tests.acceptance.deployment import SECRET, Deployment, engines
from tests.acceptance.test_published_client import *  # noqa: F403  # the same tests, on the server below
from tests.conftest import missing
from tests.engines.node.access import Node

pytestmark = [pytest.mark.acceptance, pytest.mark.engines, pytest.mark.slow]

ROLES = ["api", "api", "aggregator", "aggregator", "sink", "sink", "orchestrator", "informer", "operator"]
STEPS, MOCK = "dyff.local/dyff:latest", "registry.gitlab.com/dyff/workflows/inferenceservice-mock"


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Node:
    """The node, with Dyff's image, and the mock service under the name that the published platform gives it."""
    if "DYFF_TEST_NODE" not in os.environ:
        missing("no Kubernetes node: DYFF_TEST_NODE is not set; run make test-engines as root")
    found = Node(os.environ["DYFF_TEST_NODE"])
    folder = tmp_path_factory.mktemp("images")
    ours, mock = folder / "dyff.tar", folder / "mock.tar"
    build.build(ours, STEPS)
    found.load(ours)
    entry = ["python3", "-P", "-m", "dyff.workflows", "mock-service"]
    archive.variant(ours, mock, "dyff.local/mock:latest", {**build.CONFIG, "Entrypoint": entry})
    found.load(mock, f"{MOCK}@{DIGEST}")
    for each in (ours, mock):
        each.unlink()
    return found


@pytest.fixture(scope="module")
def server(node, tmp_path_factory):
    """All roles, in a namespace of their own, whose pods reach the object store."""
    folder, namespace = tmp_path_factory.mktemp("dyff"), f"dyff-{uuid.uuid4().hex[:8]}"
    settings = engines(folder)
    node.kubectl("apply", "--server-side", "-f", "-", stdin=run("manifests", "crds").stdout)
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    credentials = {name: base64.b64encode(value.encode()).decode() for name, value in settings.items() if name.startswith("AWS_")}
    about = {"name": SECRET, "namespace": namespace}
    node.apply({"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": credentials})
    store = int(settings["DYFF_OBJECTS__URL"].rpartition(":")[2])
    with node.reaching(store) as port:
        settings |= {
            "DYFF_CLUSTER__KUBERNETES__KUBECONFIG": node.kubeconfig,
            "DYFF_CLUSTER__KUBERNETES__NAMESPACE": namespace,
            "DYFF_OBJECTS__STEPS_ENDPOINT": f"http://{node.host}:{port}",
            "DYFF_OPERATOR__STEPS_IMAGE": STEPS,
        }
        subject = Deployment(folder, settings, ROLES)
        subject.start()
        yield subject
        assert subject.command("verify").splitlines()[-1] == "0 differences"
        codes = subject.stop()
    node.kubectl("delete", "namespace", namespace, "--wait=false")
    assert set(codes) == {0}
    assert subject.lines("Traceback", "role-failed") == []
