"""The answer 404 for a path that is not a route: it names the right one."""

from __future__ import annotations

import pytest

from dyff.api import missing

ID = "00000000000040008000000000000001"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/datasets", "this is /v0/datasets"),
        ("/datasets/", "this is /v0/datasets"),
        (f"/evaluations/{ID}", f"this is /v0/evaluations/{ID}"),
        (f"/evaluations/{ID}/downlinks", f"this is /v0/evaluations/{ID}/downlinks"),
        (f"/inferencesessions/{ID}/infer/a/b/c", f"this is /v0/inferencesessions/{ID}/infer/a/b/c"),
        ("/openapi.json", "this is /v0/openapi.json"),
        ("/v1/datasets", "this is /v0/datasets"),
        ("/api/v0/models", "this is /v0/models"),
        ("/api/models", "this is /v0/models"),
        ("/V0/datasets", "this is /v0/datasets"),
        ("/Datasets", "this is /v0/datasets"),
        ("/v0/v0/datasets", "did you mean /v0/datasets?"),
        ("/v0/Datasets", "did you mean /v0/datasets?"),
        ("/v0/dataset", "did you mean /v0/datasets?"),
        ("/dataset", "did you mean /v0/datasets?"),
        (f"/v0/evaluation/{ID}", f"did you mean /v0/evaluations/{ID}?"),
        (f"/v0/evaluations/{ID}/downlink", f"did you mean /v0/evaluations/{ID}/downlinks?"),
        ("/v0", "/v0/docs lists all"),
        ("/v0/zzzzzz", "/v0/docs lists all"),
        ("/zzzzzz", "the API is under /v0"),
        ("/" + "a/" * 300, "/v0/docs lists all"),
        ("/v0/" + "a" * 5000, "/v0/docs lists all"),
    ],
)
async def test_a_path_that_is_not_a_route_is_answered_with_the_right_one(shared_api, path, meant):
    """Without `/v0`, with it twice, with another prefix, or misspelt; for every method, and without a token."""
    for method in ("GET", "POST", "DELETE"):
        response = await shared_api.request(method, path, headers={"authorization": ""})
        assert response.status_code == 404, response.text
        assert response.json()["detail"].startswith("there is no such route"), response.text
        assert meant in response.json()["detail"]


async def test_only_routes_are_suggested(shared_api):
    """What a suggestion of a corrected path leads to is there."""
    for path in ("/datasets", "/v0/dataset", "/api/v0/models", "/accounts"):
        detail = (await shared_api.get(path)).json()["detail"]
        right = next(word for word in detail.replace("?", " ").replace(".", " ").split() if word.startswith("/v0/"))
        assert (await shared_api.get(right)).status_code != 404


def test_the_work_is_bounded():
    """A path that is as long as a path can be costs as little as another."""
    known = [f"/v0/{name}/{{id:str}}" for name in ("datasets", "models")]
    for path in ("/" + "a" * 60_000, "/a" * 30_000, "/v0" * 20_000):
        assert missing.detail(path, known) == "there is no such route; /v0/docs lists all"
