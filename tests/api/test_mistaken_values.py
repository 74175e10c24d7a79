"""A value of the wrong kind: the error names the field, says what is expected there and, where it can be seen, what was meant."""

from __future__ import annotations

import json

import msgspec
import pytest

from dyff.accounts.grants import Grant
from dyff.api import bodies as decoding
from dyff.entities import registry
from dyff.kernel import errors
from tests.api.test_bad_input import reported
from tests.entities import bodies

OTHER = {"id": "ab" * 16, "kind": "Dataset", "account": "test", "status": "Ready", "name": "x"}
"""A whole entity, as the API answers it."""
FREE = {"configuration", "jsonSchema", "extraOptions"}
"""Fields with any content."""


def places(value, path=""):
    """All fields of a body that are objects or lists, and all that are strings, outside free content."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        here = f"{path}.{key}".lstrip(".")
        yield here, each
        if key not in FREE:
            yield from places(each, here)


FIELDS = [
    pytest.param(row, body, path, value, id=f"{row.name}-{n}-{path}")
    for row in registry.ROWS
    for n, body in enumerate(bodies.CREATE.get(row.name, ()))
    for path, value in places(body)
    if path.rpartition(".")[2] not in FREE
]


def refusal(row, body, path, value) -> str:
    """The text for a value in the place of another; empty if it is accepted."""
    decoder = msgspec.json.Decoder(row.creation.request)
    try:
        decoding.decode(decoder, json.dumps(bodies.changed(body, path, value)).encode())
    except errors.InvalidFields as error:
        (problem,) = error.problems
        assert ".".join(map(str, problem.loc)).startswith(f"body.{path}"), problem
        return problem.msg
    return ""


@pytest.mark.parametrize(("row", "body", "path", "value"), FIELDS)
def test_every_field_says_what_it_expects(row, body, path, value):
    """In each field of each request, other types are refused at that field, with the right form of an object, a list or an ID."""
    if isinstance(value, dict):
        assert "contains JSON: send that JSON itself" in refusal(row, body, path, json.dumps(value))
        assert "give the value itself, not a list of it" in refusal(row, body, path, [value])
        assert "it is an object with " in refusal(row, body, path, "mine")
        assert "it is an object with " in refusal(row, body, path, 7)
        whole = refusal(row, body, path, OTHER)
        is_map = "each value of it is" in refusal(row, body, path, 7)  # then an entity's fields are values of the map
        assert is_map or "this is the whole Dataset" in whole or f"'{path.rpartition('.')[2]}'" in whole or "is missing" in whole, whole
    elif isinstance(value, list):
        assert "it is a list of " in refusal(row, body, path, "mine")
        assert "it is a list of " in refusal(row, body, path, {"a": "b"})
        assert "contains JSON: send that JSON itself" in refusal(row, body, path, json.dumps(value)) or not value
        if value:
            assert "put it in a list" in refusal(row, body, path, value[0])
    elif isinstance(value, str):
        for wrong in ([value], OTHER, 7):
            assert "must be a string" in refusal(row, body, path, wrong) or "must be a time" in refusal(row, body, path, wrong)
    else:
        assert refusal(row, body, path, "many"), path


NO_IMAGE = bodies.changed(bodies.SERVICE, "runner.image", ...)
IMAGE = bodies.SERVICE["runner"]["image"]
USE_IMAGE = 'give `image` in its place: the image is {"host": '


MISTAKES = {
    "a name for imageRef": ("inferenceservices", NO_IMAGE, "runner.imageRef", "ollama/ollama:1", ["body.runner.imageRef: ", USE_IMAGE]),
    "an image for imageRef": ("inferenceservices", NO_IMAGE, "runner.imageRef", IMAGE, ["body.runner.imageRef.host: ", USE_IMAGE]),
    "an entity for imageRef": ("inferenceservices", NO_IMAGE, "runner.imageRef", OTHER, ["body.runner.imageRef.", USE_IMAGE]),
    "a model for imageRef": (
        "inferenceservices", NO_IMAGE, "runner.imageRef", {"kind": "Model", "id": "ab" * 16}, ["which a Model is not", USE_IMAGE]
    ),
    "an image that nothing has": (
        "inferenceservices", NO_IMAGE, "runner.imageRef", {"kind": "OCIArtifact", "id": "ab" * 16}, ["this server has Dataset", USE_IMAGE]
    ),
    "a wrong case for a kind of reference": (
        "inferenceservices", NO_IMAGE, "runner.imageRef", {"kind": "ociartifact", "id": "x"}, ["did you mean 'OCIArtifact'?"]
    ),
    "no image": ("inferenceservices", bodies.SERVICE, "runner.image", ..., ["exactly one of image and imageRef; the image is {"]),
    "a name for an image": (
        "inferenceservices", bodies.SERVICE, "runner.image", "a/b:c", ["body.runner.image: ", "'host', 'name', 'digest'"]
    ),
    "an image without a digest": (
        "inferenceservices", bodies.SERVICE, "runner.image.digest", ..., ["'digest' is missing", '"sha256:" and 64 hex digits']
    ),
    "no resources": ("inferenceservices", bodies.SERVICE, "runner.resources", ..., ["'resources' is missing", "{} asks for none"]),
    "arguments as one string": ("inferenceservices", bodies.SERVICE, "runner.args", "--a 1", ["body.runner.args: ", 'such as ["--port", ']),
    "variables as an object": (
        "inferenceservices", bodies.SERVICE, "runner.env", {"A": "b"}, ["it is a list of objects with 'name', 'value'"]
    ),
    "a wrong case for a runner": ("inferenceservices", bodies.SERVICE, "runner.kind", "Container", ["did you mean 'container'?"]),
    "a wrong case for an adapter": (
        "inferenceservices", bodies.SERVICE, "interface.inputPipeline", [{"kind": "transformjson"}], ["did you mean 'TransformJSON'?"]
    ),
    "one adapter for a list": (
        "inferenceservices", bodies.SERVICE, "interface.outputPipeline", {"kind": "Drop", "configuration": {}}, ["put it in a list"]
    ),
    "a name for a schema": (
        "inferenceservices", bodies.SERVICE, "interface.outputSchema", "text", ["'arrowSchema'", "dyff.sdk.schemas.output_schema makes it"]
    ),
    "a wrong case for a source": ("models", bodies.MODEL_MOCK, "source.kind", "mock", ["body.source.kind: ", "did you mean 'Mock'?"]),
    "a wrong case for an artifact": ("models", bodies.MODEL_MOCK, "artifact.kind", "MOCK", ["did you mean 'Mock'?"]),
    "a wrong case for a policy": ("evaluations", bodies.EVALUATION, "client", {"badRequestPolicy": "skip"}, ["did you mean 'Skip'?"]),
    "an ID for a session's spec": (
        "evaluations", bodies.EVALUATION, "inferenceSession", "ab" * 16, ['{"inferenceService": its ID}', "inferenceSessionReference"]
    ),
    "an entity for a session's spec": ("evaluations", bodies.EVALUATION, "inferenceSession", OTHER, ["this is the whole Dataset ab"]),
    "an entity for an ID": ("evaluations", bodies.EVALUATION, "dataset", OTHER, ["body.dataset: ", f"give only the ID, '{'ab' * 16}'"]),
    "an entity for an account": ("datasets", bodies.DATASET, "account", OTHER, ["body.account: ", "the ID of an account"]),
    "a path for an ID": (
        "evaluations", bodies.EVALUATION, "dataset", "data/prompts", ["dataset: there is no Dataset", "32 hexadecimal digits"]
    ),
    "a number as a string": ("evaluations", bodies.EVALUATION, "replications", "2", ["write the number without quotes"]),
    "a folder for files": ("datasets", bodies.DATASET, "artifacts", "prompts", ["create_arrow_dataset makes artifacts and schema"]),
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("plural", "body", "path", "value", "want"), MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_answered_with_what_is_expected(shared_api, plural, body, path, value, want):
    """What people write by mistake is refused with the field, what belongs there, and an example or how to get it."""
    changed = json.dumps(bodies.changed(body, path, value))
    response = await shared_api.post(f"/v0/{plural}", content=changed)
    assert response.status_code in (403, 404, 422)
    text = reported(response)
    assert [part for part in want if part not in text] == [], text


@pytest.mark.asyncio(loop_scope="module")
async def test_a_name_for_an_account_is_reported(shared_world, shared_api):
    """Who gives the name of an account in place of its ID is refused, and reads where the ID is."""
    token = await shared_world.token(Grant(("*",), ("*",), ("ab" * 16,)))
    body = json.dumps(bodies.changed(bodies.DATASET, "account", "me"))
    response = await shared_api.post("/v0/datasets", content=body, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 403
    assert "'me', which the request names (accounts are named by their IDs" in reported(response)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_id_of_another_kind_is_recognized_by_those_who_may_see_it(shared_world, shared_api):
    """An ID of another kind is named as such, in a request and in a path, but only to those who may see the entity."""
    dataset = await shared_world.dataset()
    assert (await shared_api.get(f"/v0/datasets/{dataset}")).status_code == 200
    body = json.dumps(bodies.changed({**bodies.SERVICE, "model": None}, "model", dataset))
    found = [await shared_api.post("/v0/inferenceservices", content=body), await shared_api.get(f"/v0/models/{dataset}")]
    assert [(each.status_code, "it is the ID of an entity of the kind Dataset" in reported(each)) for each in found] == [(404, True)] * 2
    stranger = await shared_world.token(Grant(("models",), ("*",), ("*",)))
    answer = await shared_api.get(f"/v0/models/{dataset}", headers={"Authorization": f"Bearer {stranger}"})
    assert answer.status_code == 404
    assert "Dataset" not in reported(answer)
