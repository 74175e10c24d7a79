"""The schemas of request bodies say what the API accepts: no less, and no more than a schema can say."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyff.api import arrow, checks, openapi, schemas
from dyff.api.route import Route
from dyff.entities import account, labels, registry
from dyff.entities.kinds import inference_session
from dyff.kernel import errors
from tests.api.conforming import Document
from tests.entities import bodies, mutations
from tests.narrowing import sure

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CREATIONS = {row.creation.request: row.creation for row in registry.ROWS if row.creation is not None}
GRANT = {"resources": ["datasets"], "functions": ["get", "*"], "accounts": ["a"], "entities": ["b"]}
BODIES: dict[Any, list[dict[str, Any]]] = {
    **{sure(registry.BY_KIND[kind].creation).request: several for kind, several in bodies.CREATE.items()},
    labels.LabelsEditRequest: [
        {"labels": {"a": "b", "example.org/c-d": None, "dyff.io/access": "public", f"tests.dyff.io/{'0' * 32}": "1"}},
    ],
    labels.DocumentationEditRequest: [{"documentation": {"title": "t", "summary": None, "fullPage": "x"}}],
    account.AccountCreateRequest: [{"name": "n", "identity": {"google": "g"}}],
    account.AccountPermissionsSetRequest: [{"permissions": [GRANT]}],
    account.AccountTokenCreateRequest: [{"grants": [GRANT], "expires": "2999-01-01T00:00:00Z"}],
    inference_session.InferenceSessionTokenCreateRequest: [{"expires": "2999-01-01T00:00:00Z"}],
}
CASES = [(request, body) for request, several in BODIES.items() for body in [*several, request.example]]


async def unanswered(call):
    raise NotImplementedError


DOCUMENT = Document(
    openapi.document(
        Route(
            method="POST", path=f"/{request.__name__}", answer=unanswered, group="x", operation=request.__name__, summary="", body=request
        )
        for request in BODIES
    )
)
UNSAID = (
    "Invalid RFC3339", "artifact.huggingFaceCache.repoID must be that of the source", "format ", "minimum is ", "scores", "parameters: the",
    "inputs: the", "modules must contain",
)  # fmt: skip
"""What a JSON schema cannot say of a request's form, by how the refusal begins: the document says it in words."""

_WORDS = [
    "1Gi", "Mock", "Upload", "GitLFS", "OpenLLM", "Volume", "HuggingFaceCache", "Data", "Scratch", "Model", "Module", "Abort",
    "a/b", "/a/b", "../a", "a/./b", "a.", "a//b", "", " ", "public", "1", "0" * 32,
    "sha256:" + "1" * 64, bodies.md5(b""), "d41d8cd98f00b204e9800998ecf8427e",
    "https://example.org/x", "https://me@example.org/x", "git://example.org/x", "https://example.org/x?y",
]  # fmt: skip
VALUES = mutations.values(_WORDS)


def places(body: Any) -> list[mutations.Place]:
    """Places that can be changed; keys with a dot are left out."""
    return [place for place in mutations.places(body) if not any("." in str(key) for key in place)]


def refusal(request: Any, body: dict[str, Any]) -> str | None:
    """Why the API refuses a body for its form; None: it does not."""
    try:
        msgspec.json.decode(json.dumps(body), type=request)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def verdict(text: str) -> arrow.Verdict:
    """As the server finds it, in this process."""
    try:
        found = schemas.look(base64.b64decode(text, validate=True))
    except ValueError:
        found = None
    return arrow.judged(msgspec.convert(found, arrow.Found | None), len(text))


def is_accepted(request: Any, body: dict[str, Any]) -> bool:
    """Whether the API accepts a body, form and content."""
    if refusal(request, body) is not None or (request is account.AccountCreateRequest and not body["name"].strip()):
        return False
    try:
        found, rules = msgspec.json.decode(json.dumps(body), type=request), sure(CREATIONS[request]).checks if request in CREATIONS else ()
        verdicts = {each: verdict(each) for each in checks.schemas(found, rules)}
        checks.check(found, rules, checks.Facts(now=NOW, schemas=verdicts))
    except errors.InvalidFields:
        return False
    return True


def described(request: Any, body: dict[str, Any]) -> list[str]:
    """What is wrong with a body as the document says it."""
    return DOCUMENT.problems(f"/components/schemas/{request.__name__}", body)


@pytest.mark.parametrize(("request_type", "body"), CASES, ids=[f"{request.__name__}-{n}" for n, (request, _) in enumerate(CASES)])
def test_the_document_accepts_valid_bodies(request_type, body):
    """The bodies that other tests call valid, and the examples in the document."""
    assert body
    assert is_accepted(request_type, body)
    assert described(request_type, body) == []


@settings(max_examples=400, deadline=None)
@given(case=st.sampled_from(CASES), data=st.data())
def test_the_document_and_the_api_accept_the_same(case, data):
    """Valid bodies with one thing replaced or removed: what the API accepts fits the schema, and what fits the schema has a valid form."""
    request, body = case
    path = ".".join(map(str, data.draw(st.sampled_from(places(body)))))
    body = bodies.changed(body, path, data.draw(st.one_of(st.just(...), VALUES)))
    problems = described(request, body)
    if is_accepted(request, body):
        assert problems == []
    reason = refusal(request, body)
    if problems == [] and reason is not None:
        assert reason.startswith(UNSAID)


EDGES = [
    (labels.LabelsEditRequest, {"labels": {"dyff.io/access": "secret"}}),
    (labels.LabelsEditRequest, {"labels": {"dyff.io/other": "x"}}),
    (labels.LabelsEditRequest, {"labels": {"x.dyff.io/other": "x"}}),
    (labels.LabelsEditRequest, {"labels": {f"tests.dyff.io/{'0' * 32}": "2"}}),
    (account.AccountCreateRequest, {"name": " \t"}),
]


@pytest.mark.parametrize(("request_type", "body"), EDGES)
def test_the_document_refuses_what_is_reserved(request_type, body):
    """Keys of dyff.io with another meaning, and blank names."""
    assert described(request_type, body) != []
