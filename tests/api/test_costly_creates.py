"""Creates whose checks take long: bounded before they run, and not on the event loop."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from dyff.api import checks
from dyff.entities import tree_paths
from tests.entities import bodies

FILE = bodies.DATASET["artifacts"][0]


def dataset(**changes):
    return {**bodies.DATASET, **changes}


def transform(paths):
    return {"kind": "TransformJSON", "configuration": {f"k{n}": path for n, path in enumerate(paths)}}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_paths_of_a_tree_are_bounded_together(shared_api, monkeypatch):
    """Each may be fine; the sum is what costs. The message names the list, the size and the limit."""
    monkeypatch.setattr(checks, "MAX_PATHS_BYTES", 1000)
    files = [{**FILE, "path": f"{'d/' * 60}{n}"} for n in range(10)]
    response = await shared_api.post("/v0/datasets", json=dataset(artifacts=files))
    (problem,) = response.json()["detail"]
    assert (response.status_code, problem["loc"]) == (422, ["body", "artifacts"])
    assert "1210 characters in total; at most 1000" in problem["msg"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_pipelines_of_a_request_are_bounded_together(shared_api):
    """A hundred views cannot have a hundred times the cost of the largest pipeline."""
    view = {"id": "v", "viewOf": "d", "schema": bodies.DATASET["schema"]}
    views = [{**view, "adapterPipeline": [transform([f"$.a{n}_{k}" for k in range(800)])]} for n in range(4)]
    response = await shared_api.post("/v0/datasets", json=dataset(views=views))
    (problem,) = response.json()["detail"]
    assert (response.status_code, problem["loc"]) == (422, ["body", "views", 3, "adapterPipeline"])
    assert "together have" in problem["msg"]


@pytest.mark.parametrize("case", ["large", "pipeline", "small"])
async def test_long_checks_run_in_a_thread(world, api, monkeypatch, case):
    """A large body, and any pipeline; a small body is faster without."""
    seen = []
    known = tree_paths.tree_problem

    def tree_problem(paths):
        seen.append(threading.current_thread() is threading.main_thread())
        return known(paths)

    monkeypatch.setattr(tree_paths, "tree_problem", tree_problem)
    view = {"id": "v", "viewOf": "d", "schema": bodies.DATASET["schema"], "adapterPipeline": [transform(["$.a"])]}
    body = {
        "large": dataset(artifacts=[{**FILE, "path": f"part-{n:05}"} for n in range(1500)]),
        "pipeline": dataset(views=[view]),
        "small": bodies.DATASET,
    }[case]
    assert (await api.post("/v0/datasets", json=body)).status_code == 201
    assert seen == [case == "small"]


async def test_other_requests_are_answered_meanwhile(world, api):
    """While a pipeline of the largest size is compiled, the event loop is free."""
    service = json.loads(json.dumps(bodies.SERVICE))
    service["interface"]["inputPipeline"] = [transform([f"$.meanwhile{n}" for n in range(900)])]
    create = asyncio.ensure_future(api.post("/v0/inferenceservices", json=service))
    answered = 0
    while not create.done():
        assert (await api.get("/health")).status_code == 200
        answered += 1
        await asyncio.sleep(0)
    assert (await create).status_code == 201
    assert answered > 3


@pytest.mark.asyncio(loop_scope="module")
async def test_the_names_in_grants_are_bounded_together(shared_world, shared_api):
    """Each grant is compared with each permission, so a request that names too many is refused with the field."""
    grant = {"resources": ["audits"], "functions": ["get"], "entities": [str(n) for n in range(1000)]}
    for method, path, body in (
        ("PUT", "permissions", {"permissions": [grant] * 6}),
        ("POST", "tokens", {"grants": [grant] * 6, "expires": "2999-01-01T00:00:00Z"}),
    ):
        response = await shared_api.request(method, f"/v0/accounts/{shared_world.account}/{path}", json=body)
        assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body", next(iter(body))])
