"""Workflow logs: the lines of all pods that carry the ID."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
