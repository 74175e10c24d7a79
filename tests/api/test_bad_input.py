"""Whatever comes in, the answer is a clear error of the caller's, never a 500, and nothing is half-created."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dyff.accounts.grants import Grant
from dyff.bus import topics
from tests.api.conftest import opened
from tests.entities import bodies

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEEP = "[" * 100_000
DATASET = bodies.DATASET
ADAPTER = [{"kind": "Telepathy"}]
UPLOAD = {"kind": "FileUpload", "configuration": {"field": "$.image"}}
PATTERN = {"a": {"$compute": [{"$scalar": "$.a"}, {"$func": "search", "pattern": "("}]}}
NO_IMAGE = bodies.changed(bodies.SERVICE, "runner.image", ...)
VIEW = bodies.DATASET_FULL["views"][0]
MANY = {f"k{n}": "v" for n in range(129)}
IMAGE_REFERENCE = {"kind": "OCIArtifact", "id": "x"}


def changed(path, value, body=DATASET):
    return json.dumps(bodies.changed(body, path, value))


def with_configuration(text: str) -> str:
    body = bodies.changed(bodies.SERVICE_FULL, "interface.inputPipeline.0.configuration", {"x": "HERE"})
    return json.dumps({**body, "model": None}).replace('"HERE"', text)


def runner(**fields) -> dict:
    return {**bodies.SERVICE["runner"], **fields}


def image(host: str, name: str, **more) -> dict:
    return {"host": host, "name": name, "digest": "sha256:" + "0" * 64, **more}


OURS = [
    image("dyff", "workflows/steps"),
    image("DYFF", "workflows/steps", tag="1.0"),
    image("docker.io", "dyff/workflows/steps"),
    image("registry.example.com:5000", "mirror/dyff/workflows/steps"),
]
LOADERS = ("LD_PRELOAD", "PYTHONPATH", "GLIBC_TUNABLES", "BASH_ENV", "NODE_OPTIONS", "DYFF_STORAGE_URL")
BOMB = [{"name": "A", "value": "x" * 30_000}, *[{"name": "A", "value": "$(A)$(A)$(A)$(A)$(A)"}] * 20]
SCRATCH = {"kind": "Scratch", "name": "v", "mountPath": "/v", "scratch": {"capacity": "1Gi"}}
REFERENCE = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}, "value": ""}
SECRETS: list[dict[str, Any]] = [
    {"env": [REFERENCE]},
    {"envFrom": [{"secretRef": {"name": "s"}}]},
    {"imagePullSecrets": [{"name": "s"}]},
    {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
    {"volumeMounts": [{**SCRATCH, "secret": {"secretName": "s"}}]},
    {"serviceAccountName": "dyff-operator"},
    {"securityContext": {"privileged": True}},
]
"""Fields that Kubernetes has. By none of them can a spec lead to a Secret, since they do not exist."""


OPEN_LLM = {"kind": "OpenLLM", "openLLM": {"modelKind": "k", "modelID": "m", "modelVersion": "v"}}


def git(url: str) -> dict:
    return {"kind": "GitLFS", "gitLFS": {"url": url}}


BODIES = [
    ("datasets", "", 422, "empty"),
    ("datasets", "{", 422, "not valid JSON"),
    ("datasets", "null", 422, "must be an object, not null"),
    ("datasets", "[]", 422, "must be an object, not a list"),
    ("datasets", DEEP, 422, ""),
    ("datasets", '{"schema": {"jsonSchema": {"x": ' + DEEP, 422, ""),
    ("inferenceservices", with_configuration("[" * 50_000 + "]" * 50_000), 422, "nested too deep"),
    ("datasets", b'{"name": "\xff"}', 422, "UTF-8"),
    ("datasets", '{"name": "\\ud800"}', 422, "not valid JSON"),
    ("datasets", '{"name": NaN}', 422, "not valid JSON"),
    ("datasets", json.dumps(DATASET) + "x", 422, "not valid JSON"),
    ("datasets", changed("acount", "x"), 422, "body.acount: the field 'acount' is not known; did you mean 'account'?"),
    ("datasets", changed("artifacts.0.pth", "x"), 422, "did you mean 'path'?"),
    ("datasets", changed("schema.extra", 1), 422, "known here are arrowSchema, dyffSchema, jsonSchema"),
    ("datasets", changed("name", ...), 422, "body.name: the field 'name' is missing"),
    ("datasets", changed("name", 7), 422, "body.name: must be a string, not a whole number"),
    ("datasets", changed("name", None), 422, "body.name: must be a string, not null"),
    ("datasets", changed("schemaVersion", "0.2"), 422, "body.schemaVersion"),
    ("datasets", changed("artifacts", []), 422, "body.artifacts"),
    ("datasets", changed("artifacts", {}), 422, "must be a list, not an object"),
    ("datasets", changed("artifacts.0.path", "../x"), 422, "body.artifacts.0.path: must not have"),
    ("datasets", changed("artifacts.0.path", ".dyff/x"), 422, ".dyff/"),
    ("datasets", changed("artifacts.0.path", "a" * 901), 422, "bytes"),
    ("datasets", changed("artifacts.0.digest.md5", "900150983cd24fb0d6963f7d28e17f72"), 422, "not hex"),
    ("datasets", changed("artifacts.0.digest", {}), 422, "needs digest.md5"),
    ("datasets", changed("artifacts", DATASET["artifacts"] * 2), 422, "twice"),
    ("datasets", changed("schema.arrowSchema", "AAAA"), 422, "body.schema.arrowSchema: must be the base64"),
    ("datasets", changed("schema.arrowSchema", "/" * 4000), 422, "body.schema.arrowSchema: must be the base64"),
    ("datasets", changed("schema.arrowSchema", "é"), 422, "body.schema.arrowSchema: must be the base64"),
    ("datasets", changed("schema.arrowSchema", bodies.arrow(bodies.ROW.remove(0))), 422, "'_index_' of type int64"),
    ("datasets", changed("schema.jsonSchema", {"x": "HERE"}).replace('"HERE"', "[" * 70 + "]" * 70), 422, "jsonSchema: must not be nested"),
    ("inferenceservices", with_configuration("[" * 300 + "]" * 300), 422, "0.configuration: must not be nested deeper"),
    ("datasets", changed("account", "me@example.org"), 422, "body.account: must be 1 to 63 letters"),
    ("datasets", changed("account", "x\n"), 422, "body.account"),
    ("datasets", changed("account", "x" * 64), 422, "body.account"),
    ("models", changed("source", {"kind": "Upload"}, bodies.MODEL_MOCK), 422, "artifact.kind Volume"),
    ("models", changed("source", {"kind": "Elsewhere"}, bodies.MODEL_MOCK), 422, "body.source.kind"),
    ("models", changed("source", {"kind": "GitLFS"}, bodies.MODEL_MOCK), 422, "needs gitLFS"),
    ("models", changed("source", OPEN_LLM, bodies.MODEL_HUB), 422, "body.source: the kind OpenLLM is not supported; use HuggingFaceHub"),
    ("models", changed("source", git("ssh://host/a.git"), bodies.MODEL_HUB), 422, "must begin with https:// or http://"),
    ("models", changed("source", git("https://me:secret@host/a"), bodies.MODEL_HUB), 422, "must not have a user or a password"),
    ("models", changed("source", git("https://host/a?token=x"), bodies.MODEL_HUB), 422, "without '?' and '#'"),
    ("models", changed("source.huggingFaceHub.repoID", "../../etc", bodies.MODEL_HUB), 422, "body.source.huggingFaceHub.repoID"),
    ("models", changed("artifact.huggingFaceCache.repoID", "org/other", bodies.MODEL_HUB), 422, "must be that of the source, org/name"),
    ("models", changed("artifact", {"kind": "Mock"}, bodies.MODEL_HUB), 422, "artifact.kind must be HuggingFaceCache or Volume"),
    ("models", changed("resources.memory", "1e999999999", bodies.MODEL_MOCK), 422, "body.resources.memory: must be a Kubernetes quantity"),
    ("models", changed("resources.memory", "much", bodies.MODEL_MOCK), 422, "body.resources.memory: must be a Kubernetes quantity such as"),
    ("models", changed("artifact.volume.files.0.size", -1, bodies.MODEL_UPLOAD), 422, "body.artifact.volume.files.0.size"),
    ("inferenceservices", changed("runner", ..., bodies.SERVICE), 422, "runner must be given"),
    ("inferenceservices", changed("runner.image", ..., bodies.SERVICE), 422, "body.runner: must have exactly one of image and imageRef"),
    ("inferenceservices", changed("runner.image.host", "https://x", bodies.SERVICE), 422, "without scheme"),
    ("inferenceservices", changed("runner.image.host", "a_b", bodies.SERVICE), 422, "body.runner.image.host"),
    ("inferenceservices", changed("runner.image.digest", "sha256:1", bodies.SERVICE), 422, "64 lower-case hex digits"),
    ("inferenceservices", changed("runner.kind", "magic", bodies.SERVICE), 422, "body.runner.kind"),
    *(("inferenceservices", changed("runner", runner(image=image), bodies.SERVICE), 422, "Dyff's own steps") for image in OURS),
    *(("inferenceservices", changed("runner", runner(env=[{"name": name, "value": "x"}]), bodies.SERVICE), 422, name) for name in LOADERS),
    *(("inferenceservices", changed("runner", runner(**{field: ["a\0b"]}), bodies.SERVICE), 422, field) for field in ("args", "command")),
    ("inferenceservices", changed("runner", runner(env=[{"name": "A", "value": "a\0b"}]), bodies.SERVICE), 422, "env.0.value"),
    ("inferenceservices", changed("runner", runner(workingDir="/a\0"), bodies.SERVICE), 422, "workingDir"),
    ("inferenceservices", changed("runner", runner(volumeMounts=[{**SCRATCH, "mountPath": "/a\0"}]), bodies.SERVICE), 422, "NUL"),
    ("inferenceservices", changed("runner", runner(env=BOMB), bodies.SERVICE), 422, "larger than"),
    ("inferenceservices", changed("runner", runner(env=[{"name": "A", "value": ""}] * 101), bodies.SERVICE), 422, "env"),
    *(("inferenceservices", changed("runner", runner(**secret), bodies.SERVICE), 422, "not known") for secret in SECRETS),
    ("inferenceservices", changed("interface.inputPipeline", ADAPTER, bodies.SERVICE), 422, "body.interface.inputPipeline.0.kind"),
    ("inferenceservices", changed("interface.inputPipeline", [UPLOAD, UPLOAD], bodies.SERVICE), 422, "inputPipeline.0.kind: FileUpload"),
    ("inferenceservices", changed("interface.outputPipeline", [UPLOAD], bodies.SERVICE), 422, "outputPipeline.0.kind: FileUpload"),
    (
        "inferenceservices",
        changed("interface.inputPipeline", [{"kind": "TransformJSON", "configuration": PATTERN}], bodies.SERVICE),
        422,
        "0.configuration.a.$compute.1: search cannot work: missing ), unterminated subpattern at position 0 (in TransformJSON)",
    ),
    ("evaluations", changed("client", {"inputPipeline": [UPLOAD]}, bodies.EVALUATION), 422, "body.client.inputPipeline.0.kind: FileUpload"),
    ("inferenceservices", changed("interface.outputSchema.arrowSchema", "", bodies.SERVICE), 422, "outputSchema.arrowSchema"),
    ("inferencesessions", changed("replicas", 0, bodies.SESSION), 422, "body.replicas"),
    ("inferencesessions", changed("replicas", 2**70, bodies.SESSION), 422, "body.replicas"),
    ("inferencesessions", changed("replicas", "2", bodies.SESSION), 422, "must be a whole number, not a string"),
    ("inferencesessions", changed("expires", "tomorrow", bodies.SESSION), 422, "body.expires"),
    ("inferencesessions", changed("expires", "2001-01-01T00:00:00", bodies.SESSION), 422, "in the future"),
    ("evaluations", changed("inferenceSession", ..., bodies.EVALUATION), 422, "one of inferenceSession and inferenceSessionReference"),
    ("evaluations", changed("inferenceSessionReference", "0" * 32, bodies.EVALUATION), 422, "exactly one of"),
    ("evaluations", changed("client", {"badRequestPolicy": "Panic"}, bodies.EVALUATION), 422, "body.client.badRequestPolicy"),
    ("evaluations", changed("client", {"extraOptions": {"a": 1}}, bodies.EVALUATION), 422, "body.client.extraOptions"),
    ("evaluations", changed("replications", 1.5, bodies.EVALUATION), 422, "body.replications: must be a whole number, not a number"),
    ("evaluations", changed("dataset", "not-an-id", bodies.EVALUATION), 404, "not-an-id"),
    ("evaluations", changed("dataset", "\x00", bodies.EVALUATION), 404, "dataset"),
    ("inferenceservices", changed("runner.imageRef", IMAGE_REFERENCE, NO_IMAGE), 422, "cannot be referred to"),
    ("datasets", changed("name", "x" * 256), 422, "body.name: must be a string of length <= 255"),
    ("datasets", changed("views", [VIEW] * 101), 422, "body.views: must be a list of length <= 100"),
    ("datasets", changed("artifacts.0.kind", "x" * 256), 422, "body.artifacts.0.kind: must be a string of length <= 255"),
    ("datasets", changed("artifacts", [{"path": "x"}] * 10_001), 422, "body.artifacts: must be a list of length <= 10000"),
    ("models", changed("name", "x" * 256, bodies.MODEL_MOCK), 422, "body.name: must be a string of length <= 255"),
    ("inferenceservices", changed("name", "x" * 256, bodies.SERVICE), 422, "body.name: must be a string of length <= 255"),
    ("inferenceservices", changed("runner.args", ["x"] * 101, bodies.SERVICE), 422, "body.runner.args: must be a list of length <= 100"),
    ("inferenceservices", changed("runner.args", ["x" * 32_769], bodies.SERVICE), 422, "body.runner.args.0: must be a string of length"),
    ("inferenceservices", changed("interface.endpoint", "x" * 32_769, bodies.SERVICE), 422, "body.interface.endpoint: must be a string of"),
    ("evaluations", changed("client", {"extraOptions": {"a": "b", "c": 1}}, bodies.EVALUATION), 422, "extraOptions.c: must be a string"),
    ("evaluations", changed("client", {"extraOptions": MANY}, bodies.EVALUATION), 422, "extraOptions: must be an object of length <= 100"),
    ("evaluations", changed("dataset", "x" * 256, bodies.EVALUATION), 422, "body.dataset: must be a string of length <= 255"),
    ("datasets", changed("name", "x" * 200_000), 413, "larger than 200000 bytes"),
]  # fmt: skip


def reported(response) -> str:
    """The sentence of an error, with the place before it."""
    detail = response.json()["detail"]
    if isinstance(detail, str):
        return detail
    assert all(set(each) == {"loc", "msg", "type"} for each in detail)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in detail)


@pytest.mark.parametrize(("plural", "body", "want_status", "want_text"), BODIES, ids=range(len(BODIES)))
async def test_a_wrong_body_is_reported_with_the_field_and_the_fix(shared_world, shared_api, plural, body, want_status, want_text):
    """The status, the place in the published form and a sentence that helps; and the log is empty afterwards."""
    response = await shared_api.post(f"/v0/{plural}", content=body)
    assert (response.status_code, want_text in reported(response)) == (want_status, True), reported(response)
    assert await shared_world.events() == []


async def test_a_body_without_a_length_is_limited_too(shared_api):
    """A body that comes in pieces is refused as soon as it is too large."""

    async def pieces():
        for _ in range(100):
            yield b" " * 10_000

    response = await shared_api.post("/v0/datasets", content=pieces())
    assert response.status_code == 413


ID = "00000000000040008000000000000001"
REQUESTS = [
    ("GET", "/v0/nothing", None, 404, "no such route"),
    ("DELETE", "/v0/datasets", None, 405, ""),
    ("GET", f"/v0/datasets/{ID}", None, 404, ID),
    ("GET", "/v0/datasets/..%2f..%2fetc", None, 404, ""),
    ("GET", "/v0/datasets/%00", None, 404, ""),
    ("GET", "/v0/datasets/" + "a" * 5000, None, 404, ""),
    ("GET", "/v0/datasets/%ff", None, 404, ""),
    ("GET", "/v0/datasets?limit=0", None, 422, "query.limit"),
    ("GET", "/v0/datasets?limit=many", None, 422, "query.limit"),
    ("GET", "/v0/datasets?limit=1e3", None, 422, "query.limit"),
    ("GET", "/v0/datasets?limit=99999999999999999999", None, 422, "query.limit"),
    ("GET", "/v0/datasets?limt=1", None, 422, "did you mean 'limit'?"),
    ("GET", "/v0/datasets?status=a&status=b", None, 422, "twice"),
    ("GET", "/v0/datasets?order=up", None, 422, "query.order"),
    ("GET", "/v0/datasets?orderBy=secret", None, 422, "query.orderBy: must be one of"),
    ("GET", "/v0/datasets?after=[1]&orderBy=name", None, 400, "after must be"),
    ("GET", "/v0/datasets?after=[{},1]&orderBy=name", None, 400, "after must be"),
    ("GET", "/v0/datasets?after=[1,%22a%22]", None, 400, "needs orderBy"),
    ("GET", "/v0/datasets?after={", None, 400, "after"),
    ("GET", "/v0/datasets?labels=[]", None, 400, "labels must be"),
    ("GET", "/v0/datasets?labels={%22a%22:1}", None, 400, "the value of 'a' is no string"),
    ("GET", "/v0/datasets?labels={%22$where%22:%22x%22}", None, 400, "'$where' is no label key"),
    ("GET", "/v0/datasets?labels=x", None, 400, "not valid JSON"),
    ("GET", "/v0/datasets?query=x", None, 400, "not valid JSON"),
    ("GET", "/v0/datasets?query=" + "[" * 5000, None, 400, "not valid JSON"),
    ("GET", "/v0/datasets?query=7", None, 400, "query must be"),
    ("GET", "/v0/datasets?query={%22secret%22:1}", None, 400, "'secret' is not known"),
    ("GET", "/v0/datasets?query={%22id%22:{%22$ne%22:1}}", None, 400, "'id' must be"),
    ("GET", "/v0/datasets?query={%22id%22:[[1]]}", None, 400, "'id' must have"),
    ("GET", "/v0/datasets?query={%22name%22:%22%5cud800%22}", None, 400, "not valid JSON"),
    ("GET", "/v0/datasets?query={%22name%22:" + "9" * 40 + "}", None, 400, "'name' must be"),
    ("GET", "/v0/datasets?name=%ff", None, 422, "UTF-8"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"a_b": "c"}}', 422, "body.labels.a_b.[key]: the key must be a name"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"ok": "c", "a": "-"}}', 422, "body.labels.a: must be at most 63 letters"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"ok": "c", "a": 1}}', 422, "body.labels.a: must be a string or null, not a whole"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"' + "x" * 9000 + '": "c"}}', 422, "x.[key]: the key must be a name"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"a": "-"}', 422, "body.labels.[...]: must be at most 63 letters"),
    ("PATCH", f"/v0/datasets/{ID}/labels", json.dumps({"labels": MANY}), 422, "body.labels: must be an object of length <= 128"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"dyff.io/mine": "x"}}', 422, "reserved"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"x.dyff.io/mine": "x"}}', 422, "reserved"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {"dyff.io/access": "everyone"}}', 422, "'public', 'internal'"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"lables": {}}', 422, "did you mean 'labels'?"),
    ("PATCH", f"/v0/datasets/{ID}/labels", '{"labels": {}}', 404, ID),
    ("PATCH", f"/v0/datasets/{ID}/documentation", json.dumps({"documentation": {"title": "x" * 141}}), 422, "body.documentation.title"),
    ("PATCH", f"/v0/datasets/{ID}/documentation", '{"documentation": {"body": "x"}}', 422, "body.documentation.body"),
    ("PUT", f"/v0/datasets/{ID}/delete", None, 404, ID),
    ("GET", f"/v0/datasets/{ID}/upload/x", None, 404, ID),
    ("GET", f"/v0/evaluations/{ID}/logs/workflow?since=yesterday", None, 422, "query.since"),
    ("GET", f"/v0/evaluations/{ID}/logs/workflow?since=0001-01-01T00:00:00%2B10:00", None, 422, "query.since"),
    ("GET", f"/v0/evaluations/{ID}/logs/workflow?limit=-1", None, 422, "query.limit"),
    ("GET", f"/v0/evaluations/{ID}/logs/workflow?limit=%C2%B2", None, 422, "query.limit"),
    ("GET", f"/v0/evaluations/{ID}/logs/workflow?x=1", None, 422, "query.x"),
    ("GET", f"/v0/inferencesessions/{ID}/ready", None, 404, ID),
    ("POST", f"/v0/inferencesessions/{ID}/token", '{"expires": 1}', 422, "body.expires"),
    (
        "PUT",
        "/v0/accounts/x/permissions",
        '{"permissions": [{"resources": ["x"], "functions": ["*"]}]}',
        422,
        "body.permissions.0.resources.0",
    ),
    ("PUT", "/v0/accounts/x/permissions", '{"permissions": []}', 404, "x"),
    ("POST", "/v0/accounts/x/tokens", '{"grants": [], "expires": "2001-01-01T00:00:00Z"}', 404, "x"),
    ("GET", "/objects/x", None, 403, "signed"),
    ("PUT", "/objects/..%2fx?signature=x", "x", 403, ""),
]


@pytest.mark.parametrize(("method", "url", "body", "want_status", "want_text"), REQUESTS, ids=range(len(REQUESTS)))
async def test_a_wrong_request_is_shown_what_is_wrong(shared_api, method, url, body, want_status, want_text):
    """Parameters, paths and small bodies: the status and a sentence that helps."""
    response = await shared_api.request(method, url, content=body)
    assert (response.status_code, want_text in reported(response)) == (want_status, True), (response.status_code, reported(response))


LONG = "x" * 50_000
LONG_NAMES = [
    ("POST", "/v0/datasets", changed(LONG, 1)),
    ("POST", "/v0/inferenceservices", with_configuration(json.dumps({LONG: 1}))),
    ("PATCH", f"/v0/datasets/{ID}/labels", json.dumps({"labels": {LONG: 1}})),
    ("GET", f"/v0/datasets?{LONG}=1", None),
    ("GET", "/v0/datasets?query=" + json.dumps({LONG: 1}), None),
    ("GET", "/v0/datasets?labels=" + json.dumps({LONG: 1}), None),
    ("GET", f"/v0/accounts?{LONG}=1", None),
    ("GET", f"/v0/evaluations/{ID}/logs/workflow?{LONG}=1", None),
]


@pytest.mark.parametrize(("method", "url", "body"), LONG_NAMES, ids=range(len(LONG_NAMES)))
async def test_a_long_name_is_not_echoed(shared_api, method, url, body):
    """An answer has the beginning of a name that is not known, not all of it."""
    response = await shared_api.request(method, url, content=body)
    assert response.status_code in (400, 422)
    assert len(response.content) < 2000, response.text[:300]


@pytest.mark.parametrize("position", ["x", "a;b", "a;0", "a;0=x", "a;0=-1", "a;0=1,", "a;0=1_0", "a;0= 1", "a;0=\u0661", "{own};7=1"])
async def test_a_wrong_position_is_reported(shared_world, shared_api, position):
    """A header that no response had is refused, not ignored."""
    own = (await shared_world.services.bus.topic(topics.EVENTS)).epoch
    response = await shared_api.get("/v0/datasets", headers={"Dyff-Position": position.replace("{own}", own).encode()})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["header", "Dyff-Position"]


async def test_the_position_of_another_log_asks_for_nothing(shared_api):
    """After a restore a client's old position belongs to a log that is gone; its reads go on."""
    for old in ("another;0=1000", "another;7=1000"):
        assert (await shared_api.get("/v0/datasets", headers={"Dyff-Position": old})).status_code == 200


FORBIDDEN = [
    ("GET", "/v0/datasets/{id}", None, "get"),
    ("GET", "/v0/datasets/{id}/documentation", None, "get"),
    ("GET", "/v0/datasets/{id}/progress", None, "get"),
    ("GET", "/v0/datasets/{id}/downlinks", None, "data"),
    ("GET", "/v0/datasets/{id}/upload/part-0.parquet", None, "create"),
    ("POST", "/v0/datasets/{id}/finalize", None, "create"),
    ("PATCH", "/v0/datasets/{id}/labels", '{"labels": {}}', "edit"),
    ("PATCH", "/v0/datasets/{id}/documentation", '{"documentation": {}}', "edit"),
    ("PUT", "/v0/datasets/{id}/delete", None, "delete"),
    ("POST", "/v0/evaluations", json.dumps({**bodies.EVALUATION, "account": "mine", "dataset": "{id}"}), "consume"),
    ("GET", "/v0/accounts/{id}/tokens", None, "get"),
    ("PUT", "/v0/accounts/{id}/permissions", '{"permissions": []}', "edit"),
]


@pytest.mark.parametrize(("method", "url", "body", "function"), FORBIDDEN, ids=range(len(FORBIDDEN)))
async def test_what_is_forbidden_does_not_reveal_whose_it_is(tmp_path_factory, method, url, body, function):
    """The ID and the function that the token lacks are named, the owner, whom the caller may not see, is not."""
    async with opened(tmp_path_factory.mktemp("forbidden")) as world:
        dataset = await world.dataset(account="the-owner")
        everything = Grant(("*",), ("*",), ("mine",))
        async with world.client(await world.token(everything)) as client:
            response = await client.request(method, url.replace("{id}", dataset), content=body and body.replace("{id}", dataset))
        assert response.status_code == 403
        assert f"does not grant '{function}'" in reported(response)
        assert dataset in reported(response)
        assert "the-owner" not in response.text
