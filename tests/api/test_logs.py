"""Workflow logs: the lines of all pods that carry the ID."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dyff.schema import platform, responses

from dyff.cluster import port as cluster
from dyff.kernel import clock
from tests.entities import bodies


async def test_the_lines_of_all_pods_are_one_log(world, api):
    """In order of time, the last ones, with the labels of their pod; other workflows' pods stay out."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    now = datetime.now(UTC)

    def line(minutes, text):
        return cluster.LogLine(clock.iso(now - timedelta(minutes=minutes)), text)

    for component in ("client", "verify"):
        labels = {"dyff.io/id": evaluation, "dyff.io/component": component, "pod-template-hash": "x"}
        world.cluster.put("Pod", f"eval-{component}", metadata={"labels": labels})
    world.cluster.put("Pod", "stranger", metadata={"labels": {"dyff.io/id": "0" * 32}})
    world.cluster.written = {
        "eval-client": [line(90, "one"), line(3, "two")],
        "eval-verify": [line(5, "between"), line(1, "last")],
        "stranger": [line(2, "secret")],
    }

    async def read(**parameters):
        response = await api.get(f"/v0/evaluations/{evaluation}/logs/workflow", params=parameters)
        assert response.status_code == 200, response.text
        return responses.WorkflowLogsResponse.model_validate(response.json())

    every = await read()
    assert (every.workflow.id, every.workflow.kind, every.totalLines) == (evaluation, "Evaluation", 4)
    assert [each.message for each in every.logs] == ["one", "between", "two", "last"]
    assert every.logs[0].labels == {"dyff.io/id": evaluation, "dyff.io/component": "client", "pod": "eval-client"}
    assert [each.message for each in (await read(limit=2)).logs] == ["two", "last"]
    assert [each.message for each in (await read(since="1h")).logs] == ["between", "two", "last"]
    assert [each.message for each in (await read(since="120s", limit=1)).logs] == ["last"]
    assert len((await read(since="86400s")).logs) == 4
    assert [each.message for each in (await read(since=clock.iso(now - timedelta(minutes=4)))).logs] == ["two", "last"]
    assert len((await read(since="999999w")).logs) == 4


async def test_a_workflow_without_pods_has_an_empty_log(world, api):
    """Before it was admitted there is nothing, which is no error."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    assert (await api.get(f"/v0/evaluations/{evaluation}/logs/workflow")).json()["logs"] == []


async def test_the_log_of_a_model_is_a_file_too(world, api):
    """The published ArtifactURL; the text has the lines in order, and stays when the pods are gone; before that it is a 404."""
    model = (await api.post("/v0/models", json=bodies.MODEL_MOCK)).json()["id"]
    assert (await api.get(f"/v0/models/{model}/logs")).status_code == 404
    world.cluster.put("Pod", "fetch", metadata={"labels": {"dyff.io/id": model}})
    world.cluster.written["fetch"] = [cluster.LogLine(f"2026-01-01T00:00:0{n}Z", f"line {n} ü") for n in range(2)]
    for _ in range(2):
        response = await api.get(f"/v0/models/{model}/logs")
        link = platform.ArtifactURL.model_validate(response.json())
        file = await api.get(link.signedURL.url.removeprefix("http://dyff.test"), headers={"Authorization": ""})
        assert file.content.decode() == "line 0 ü\nline 1 ü\n"
        assert file.headers["content-length"] == str(len(file.content))
        world.cluster.objects.clear()


def container(name="main", **states):
    """The status of a container."""
    return {"name": name, "image": "i", **states}


NOTES = {
    "a command that does not exist": (
        {"containerStatuses": [container(state={"terminated": {"exitCode": 127, "reason": "StartError", "message": "no such file"}})]},
        ["[container main ended with exit code 127: StartError: no such file]"],
    ),
    "killed for memory, starts again": (
        {
            "containerStatuses": [
                container(
                    lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:09Z"}},
                    state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                )
            ]
        },
        [
            "[container main does not run: CrashLoopBackOff: back-off 10s]",
            "[container main in its previous attempt ended with exit code 137: OOMKilled]",
        ],
    ),
    "an image that cannot be pulled": (
        {"containerStatuses": [container(state={"waiting": {"reason": "ImagePullBackOff", "message": "manifest\nunknown"}})]},
        ["[container main does not run: ImagePullBackOff: manifest unknown]"],
    ),
    "no node": (
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]},
        ["[pod p does not run: Unschedulable: 0/1 nodes]"],
    ),
    "data that cannot be fetched": (
        {"initContainerStatuses": [container("fetch", state={"terminated": {"exitCode": 65, "reason": "Error"}})]},
        ["[container fetch ended with exit code 65]"],
    ),
    "a process of it killed for its memory": (
        {"initContainerStatuses": [container("run", state={"terminated": {"exitCode": 0, "reason": "OOMKilled"}})]},
        ["[container run ended with exit code 0: OOMKilled]"],
    ),
    "evicted": (
        {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
        ["[pod p: Evicted: low on memory]"],
    ),
    "about to start": ({"containerStatuses": [container(state={"waiting": {"reason": "ContainerCreating"}})]}, []),
    "as it should": ({"phase": "Running", "containerStatuses": [container(state={"running": {}})]}, []),
    "done": ({"phase": "Succeeded", "containerStatuses": [container(state={"terminated": {"exitCode": 0, "reason": "Completed"}})]}, []),
}


@pytest.mark.parametrize("case", NOTES)
async def test_a_container_that_cannot_run_is_in_the_log(world, api, case):
    """What it could not write itself, the cluster knows: why it does not start, how it ended, now and the time before."""
    status, want = NOTES[case]
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    metadata = {"labels": {"dyff.io/id": evaluation}, "creationTimestamp": "2026-01-01T00:00:00Z"}
    world.cluster.put("Pod", "p", metadata=metadata, status=status)
    response = await api.get(f"/v0/evaluations/{evaluation}/logs/workflow")
    found = responses.WorkflowLogsResponse.model_validate(response.json())
    assert [each.message for each in found.logs] == want
    assert {each.labels["pod"] for each in found.logs} <= {"p"}


async def test_the_log_of_a_failed_run_outlives_its_pods(world, api):
    """The pods of a session that crashed at start are removed; the last lines of its runner are still readable."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    message = "the runner ends again and again: container main ended with exit code 1. Its last lines:\nloading\nno such model: x"
    await world.fail(evaluation, "RunnerFailed", message)
    logs = (await api.get(f"/v0/evaluations/{evaluation}/logs/workflow")).json()["logs"]
    head, *rest = [each["message"] for each in logs]
    assert head.startswith("ended as Failed: the runner ends again and again")
    assert rest == ["loading", "no such model: x"]
    world.cluster.put("Pod", "p", metadata={"labels": {"dyff.io/id": evaluation}})
    world.cluster.written["p"] = [cluster.LogLine("2026-01-01T00:00:00.000000000Z", "loading")]
    again = (await api.get(f"/v0/evaluations/{evaluation}/logs/workflow")).json()["logs"]
    assert [each["message"] for each in again] == ["loading", head, "no such model: x"]
