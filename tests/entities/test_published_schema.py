"""Our request structs and entities against the published schema package: same fields, same entities."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from dyff.schema import platform, requests
from hypothesis import given, settings
from hypothesis import strategies as st

from dyff.entities import account, labels, registry
from dyff.entities.kinds import inference_session
from dyff.kernel import errors
from tests.entities import bodies, mutations
from tests.narrowing import sure

NOW = datetime(2026, 11, 23, 12, 30, 0, 123456, UTC)
ID = "0123456789ab4def8123456789abcdef"


def published(kind: str) -> Any:
    """The published request that creates entities of a kind."""
    return getattr(requests, sure(registry.BY_KIND[kind].creation).request.__name__)


REQUESTS = [
    *dict.fromkeys((row.creation.request, published(row.name)) for row in registry.ROWS if row.creation),
    *((edit.request, getattr(requests, edit.request.__name__)) for row in registry.ROWS for edit in row.edits),
    (inference_session.InferenceSessionTokenCreateRequest, requests.InferenceSessionTokenCreateRequest),
    (labels.LabelsEditRequest, requests.LabelsEditRequest),
    (labels.DocumentationEditRequest, requests.DocumentationEditRequest),
    (account.AccountCreateRequest, requests.AccountCreateRequest),
    (account.AccountPermissionsSetRequest, requests.AccountPermissionsSetRequest),
    (account.AccountTokenCreateRequest, requests.AccountTokenCreateRequest),
]


EXTENDED: set[str] = set()
"""Values of enumerations that we accept and the published schema does not have, such as a kind of runner of our own: `{"acme"}`."""


ADDED = {"AnalysisCreateRequest": {"reproduces"}}
"""Fields that our requests have and the published ones do not: published clients leave them out."""


def outline(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """What matters of a JSON schema, in one spelling: names, required, nesting, enumerations, null."""
    if "$ref" in schema:
        return outline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        branches = [outline(each, definitions) for each in schema["anyOf"]]
        others = [each for each in branches if each != "null"]
        if len(others) > 1 and all(isinstance(each, dict) for each in others):
            return one_of_objects(others)
        return ["nullable", *others] if len(others) < len(branches) else ["any of", *others]
    if "const" in schema or "enum" in schema:
        return ["one of", *sorted(set(schema.get("enum") or [schema["const"]]) - EXTENDED)]
    if "properties" in schema:
        required = set(schema.get("required", ()))
        return {name + "!" * (name in required): outline(each, definitions) for name, each in sorted(schema["properties"].items())} | {
            "(closed)": schema.get("additionalProperties") is False
        }
    if schema.get("type") == "object":
        values = next(iter(schema.get("patternProperties", {}).values()), None) or schema.get("additionalProperties")
        return ["map", outline(values, definitions) if isinstance(values, dict) and values else "any"]
    if schema.get("type") == "array":
        return ["array", outline(schema["items"], definitions)]
    return schema.get("type", "any")


def one_of_objects(several: list[dict[str, Any]]) -> dict[str, Any]:
    """Several objects as one: all their fields, of which those are required that all of them require."""
    needed = set.intersection(*({name.rstrip("!") for name in each if name.endswith("!")} for each in several))
    fields = {name.rstrip("!"): what for each in several for name, what in each.items()}
    return {name + "!" * (name in needed): what for name, what in sorted(fields.items())}


@pytest.mark.parametrize(("ours", "theirs"), REQUESTS, ids=lambda each: each.__name__)
def test_a_request_struct_has_the_published_fields(ours, theirs):
    """Names, required fields, nesting and enumerations are the published ones, and unknown fields are refused at every level."""
    mine = msgspec.json.schema(ours)
    other = theirs.model_json_schema(by_alias=True)
    fields = {name: each for name, each in outline(mine, mine["$defs"]).items() if name not in ADDED.get(ours.__name__, ())}
    assert fields == outline(other, other.get("$defs", {}))


FREE = {"jsonSchema", "configuration", "expires"}
"""JSON of any form, which only the body's size and the depth bound, and what must be a time."""


def unbounded(schema: Any, place: str = "") -> list[str]:
    """The strings, lists and maps in a JSON schema that may be as large as they like."""
    if isinstance(schema, list):
        return [each for n, inside in enumerate(schema) for each in unbounded(inside, f"{place}.{n}")]
    if not isinstance(schema, dict) or place.rpartition(".")[2] in FREE or "enum" in schema or "format" in schema:
        return []
    kind = schema.get("type")
    bound = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}.get(kind) if isinstance(kind, str) else None
    found = [place] if bound and bound not in schema and "properties" not in schema else []
    return found + [each for name, inside in schema.items() if name != "default" for each in unbounded(inside, f"{place}.{name}")]


@pytest.mark.parametrize("ours", [ours for ours, _ in REQUESTS], ids=lambda each: each.__name__)
def test_nothing_in_a_request_is_without_a_bound(ours):
    """Every string, list and map says how long it may be, also those of which the published schema says nothing."""
    assert unbounded(msgspec.json.schema(ours)) == []


def embedded() -> dict[str, Any]:
    """A referenced model, service and session, embedded as the API does it."""
    refs: dict[str, Any] = {}
    for kind, body, entity_id in (
        ("Model", bodies.MODEL_UPLOAD, bodies.SERVICE_FULL["model"]),
        ("InferenceService", bodies.SERVICE_FULL, bodies.EVALUATION["inferenceSession"]["inferenceService"]),
        ("InferenceSession", bodies.SESSION_FULL, bodies.EVALUATION_ON_SESSION["inferenceSessionReference"]),
        ("Module", bodies.MODULE_FULL, bodies.MODULE_ID),
        ("Evaluation", bodies.EVALUATION, bodies.EVALUATION_ID),
        *(("Method", body, entity_id) for entity_id, body in bodies.METHODS.items()),
    ):
        foreign = registry.BY_KIND[kind].foreign(made(kind, body, refs))
        refs[entity_id] = {**foreign, "id": entity_id} if "id" in foreign else foreign
    return refs


def made(kind: str, body: dict[str, Any], refs: dict[str, Any]) -> dict[str, Any]:
    """The entity that the request `body` becomes."""
    row = registry.BY_KIND[kind]
    return row.create(msgspec.json.decode(json.dumps(body), type=sure(row.creation).request), refs, ID, NOW)


CASES = [(kind, body) for kind, several in bodies.CREATE.items() for body in several]


@pytest.mark.parametrize(("kind", "body"), CASES, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(CASES)])
def test_an_entity_is_what_the_published_schema_would_make_of_the_request(kind, body):
    """The whole entity passes the published model and equals its own serialisation: every default is filled in, nothing is null."""
    entity = json.loads(msgspec.json.encode(made(kind, body, embedded())))
    theirs = json.loads(getattr(platform, kind).model_validate(entity).model_dump_json(exclude_none=True))
    for each in (entity, theirs):
        assert datetime.fromisoformat(each.pop("creationTime")) == NOW
        for place in (each, each.get("inferenceSession") or {}):
            if "expires" in place:
                place["expires"] = datetime.fromisoformat(place["expires"])
    assert entity == theirs


@pytest.mark.parametrize(("kind", "body"), CASES, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(CASES)])
def test_the_published_request_accepts_what_we_accept(kind, body):
    """The bodies that the other tests call valid are valid as published too."""
    published(kind).model_validate_json(json.dumps(body))


_WORDS = ["1Gi", "2020-01-01T00:00:00", "Mock", "mock", "Abort", "a/b", "/a/b", ID, "sha256:" + "1" * 64]
VALUES = mutations.values(_WORDS)


@settings(max_examples=400, deadline=None)
@given(case=st.sampled_from(CASES), data=st.data())
def test_whatever_we_accept_the_published_schema_accepts_too(case, data):
    """Valid bodies with one thing replaced or removed: those that we still accept are valid as published, and so are their entities."""
    kind, body = case
    path = ".".join(map(str, data.draw(st.sampled_from([each for each in mutations.places(body) if each[-1] != "path"]))))
    body = bodies.changed(body, path, data.draw(st.one_of(st.just(...), VALUES)))
    row = registry.BY_KIND[kind]
    try:
        request = msgspec.json.decode(json.dumps(body), type=sure(row.creation).request)
    except msgspec.ValidationError:
        return
    published(kind).model_validate_json(json.dumps(body))
    known = embedded()
    kinds = ("Model", "InferenceService", "InferenceSession", "Module", "Evaluation")
    by_kind = dict(zip(kinds, known.values(), strict=False))
    embeddable = {each.id: known.get(each.id, by_kind.get(each.kind)) for each in sure(row.creation).references(request)}
    if kind in ("Measurement", "SafetyCase") and request.method not in known:
        return  # the API refuses it: there is no such method
    try:
        entity = row.create(request, embeddable, ID, NOW)
    except errors.InvalidFields:
        return
    getattr(platform, kind).model_validate_json(msgspec.json.encode(entity))
