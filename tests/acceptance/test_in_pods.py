"""All of Dyff in containers of a real node, by the documented commands: its image, its manifests, its permissions."""

from __future__ import annotations

import functools
import json

import pytest

from dyff.serve import roles
from tests import waiting
from tests.acceptance import in_pods
from tests.acceptance.test_published_analyses import (  # noqa: F401 (the whole path of an analysis once more, in pods)
    counting,
    folder,
    measurement,
    model,
    module,
    reporting,
    safetycase,
    scope,
    service,
    test_a_measurement_has_files_and_a_log,
    test_a_safety_case_has_a_page_and_a_log,
    test_scores_and_curves_are_what_the_method_declares,
)
from tests.acceptance.test_published_client import (
    test_a_session_serves_inference_and_is_terminated,  # noqa: F401 (once more, in pods)
    test_an_evaluation_ends_with_verified_outputs,  # noqa: F401 (once more, in pods)
    test_workflow_logs_report_what_the_pods_did,  # noqa: F401 (once more, in pods)
)

pytestmark = [pytest.mark.acceptance, pytest.mark.engines, pytest.mark.slow]

_SHOWN_WITHIN_S = 60.0
_TRIES = 3


@pytest.fixture(scope="module")
def server(node, analysis_image, tmp_path_factory):
    """All roles, twice each, without any right that their service accounts do not have."""
    with in_pods.deployed(node, tmp_path_factory.mktemp("dyff")) as subject:
        yield subject
        assert subject.command("verify", "--objects").splitlines()[-1] == "0 differences"


def test_a_method_has_a_limit_of_memory_if_nothing_is_set(server, measurement):  # noqa: F811
    """Without one, a method could use all memory of its node."""
    [pod] = json.loads(server.kubectl("get", "pods", "-l", f"dyff.io/id={measurement.id}", "-o", "json"))["items"]
    assert [each["resources"]["limits"].get("memory") for each in pod["spec"]["initContainers"]] == [None, "4Gi"]


def test_no_role_failed(server):
    """After all this no container was started again, and nothing unexpected is in a log: not a permission that is missing, either."""
    restarts = {pod["metadata"]["name"]: container(pod)["restartCount"] for pod in server.pods()}
    assert len(restarts) == 2 * len(roles.TABLE)
    assert set(restarts.values()) == {0}
    wrong = [line for line in server.logs().splitlines() if any(word in line for word in ("Traceback", "role-failed", "forbidden"))]
    assert wrong == []


@pytest.mark.parametrize("role", roles.names(roles.TABLE))
def test_a_role_ends_when_it_is_asked_to(server, role):
    """SIGTERM to the first process of the container, as a node sends it, is heard: it ends with 0, long before it would be killed."""
    for _ in range(_TRIES):
        pod, *_ = server.pods(role)
        name, before = pod["metadata"]["name"], container(pod)["containerID"]
        server.kubectl("exec", name, "--container", "dyff", "--", "python3", "-c", "import os; os.kill(1, 15)")
        shown = functools.partial(ending, server, role, name, before)
        logs = functools.partial(server.kubectl, "logs", name, "--container", "dyff")
        ended = waiting.wait_until(shown, logs, limit_s=_SHOWN_WITHIN_S, look_s=0.2)
        if "exitCode" in ended:
            break
    assert ended.get("exitCode") == 0, server.kubectl("logs", name, "--container", "dyff", "--previous")


def ending(server, role, name, container_id):
    """How that container of a pod ended; None if it runs, as far as the node has reported.

    `forgotten`: another one runs in its place, and nothing is known of it. A node removes containers that have ended once a minute,
    sometimes before it has reported the end.
    """
    for pod in server.pods(role):
        found = container(pod)
        for each in (found["state"], found["lastState"]):
            if each.get("terminated", {}).get("containerID") == container_id:
                return each["terminated"]
        if pod["metadata"]["name"] == name and "running" in found["state"] and found["containerID"] != container_id:
            return {"forgotten": container_id}
    return None


def container(pod):
    """The status of the role's own."""
    return next(each for each in pod["status"]["containerStatuses"] if each["name"] == "dyff")
