"""The definitions of the custom resources: they say what the structs say, and everything that we make obeys them."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from typing import Any, Literal

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyff.entities import definitions, registry, structural
from dyff.kernel import errors
from tests.entities import bodies
from tests.narrowing import sure
from tests.planning import world

ID = "0" * 31 + "9"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
MODEL_ID, SERVICE_ID, SESSION_ID = ("0000000000004000800000000000000" + each for each in "124")
RUN = [row.name for row in registry.ROWS if row.run is not None]
"""The kinds for which the orchestrator makes a custom resource."""
SPECS = {kind: schema["properties"]["spec"] for kind, schema in definitions.schemas().items()}
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", ValueError)
def _is_time(text: Any) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


def validator(schema: Any) -> jsonschema.Draft202012Validator:
    """A structural schema as an ordinary one."""
    return jsonschema.Draft202012Validator(_ordinary(schema), format_checker=FORMATS)


def _ordinary(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_ordinary(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _ordinary(value) for key, value in schema.items() if key != "description" or not isinstance(value, str)}
    if isinstance(found.get("pattern"), str):
        found["pattern"] = re.sub(r"\$$", r"\\Z", found["pattern"])  # what `$` means to Go
    return {**found, "type": ["string", "integer"]} if found.get("x-kubernetes-int-or-string") else found


def broken_rules(schema: Any, value: Any) -> list[str]:
    """What the rules of a schema, and of its parts, say against `value`: the two forms that our rules have."""
    found = []
    for each in schema.get("x-kubernetes-validations", ()):
        exclusive = re.fullmatch(r"has\(self\.(\w+)\) != has\(self\.(\w+)\)", each["rule"])
        tagged = re.fullmatch(r"self\.(\w+) != '(\w+)' \|\| has\(self\.(\w+)\)", each["rule"])
        if exclusive:
            holds = (exclusive[1] in value) != (exclusive[2] in value)
        else:
            assert tagged is not None, each["rule"]
            holds = value[tagged[1]] != tagged[2] or tagged[3] in value
        found += [] if holds else [each["message"]]
    if isinstance(value, list):
        return found + [problem for each in value for problem in broken_rules(schema["items"], each)]
    parts = schema.get("properties", {}) if isinstance(value, dict) else {}
    return found + [problem for name, part in parts.items() if name in value for problem in broken_rules(part, value[name])]


def refused_by_definition(kind: str, spec: Any) -> list[str]:
    problems = [each.message for each in validator(SPECS[kind]).iter_errors(spec)]
    return problems or broken_rules(SPECS[kind], spec)


def refused_by_struct(kind: str, spec: Any) -> list[str]:
    try:
        msgspec.convert(spec, registry.RESOURCE_BY_KIND[kind].spec)
    except msgspec.ValidationError as error:
        return [str(error)]
    return []


def created(kind: str, body: Any, embedded: dict[str, Any], entity_id: str) -> Any:
    row = registry.BY_KIND[kind]
    return row.create(msgspec.convert(body, sure(row.creation).request), embedded, entity_id, NOW)


def an_entity(kind: str, body: Any, service: Any = bodies.SERVICE) -> Any:
    """The entity that the API makes of a request's body."""
    if kind == "Model":
        return created(kind, body, {}, ID)
    embedded: dict[str, Any] = {}
    references = (("Model", bodies.MODEL_HUB, MODEL_ID), ("InferenceService", service, SERVICE_ID))
    for each, of, entity_id in references:
        embedded[entity_id] = registry.BY_KIND[each].foreign(created(each, of, embedded, entity_id))
    if kind in ("Measurement", "SafetyCase"):
        more = (("Evaluation", bodies.EVALUATION, bodies.EVALUATION_ID), ("Module", bodies.MODULE_FULL, bodies.MODULE_ID))
        methods = [("Method", of, entity_id) for entity_id, of in bodies.METHODS.items()]
        for each, of, entity_id in (*more, *methods):
            embedded[entity_id] = registry.BY_KIND[each].foreign(created(each, of, embedded, entity_id))
    if kind == "Evaluation":
        session = created("InferenceSession", bodies.SESSION_FULL, embedded, SESSION_ID)
        embedded[SESSION_ID] = registry.BY_KIND["InferenceSession"].foreign(session)
    return created(kind, body, embedded, ID)


ENTITIES = {
    f"{kind} {number} of service {n}": (kind, body, service)
    for kind in RUN
    for number, body in enumerate(bodies.CREATE[kind])
    for n, service in enumerate(bodies.CREATE["InferenceService"])
}
MADE = [
    world.an_evaluation(),
    world.an_evaluation_of_a_running_session(),
    world.a_session(),
    world.a_model(),
    world.a_service(),
    world.an_analysis(),
    *(registry.resource_for(an_entity(*given_)) for given_ in ENTITIES.values()),
]
TEXTS = ("", "x", "1Gi", "-1", "a" * 300, "0" * 32, "0" * 32 + "\n", "2026-11-01", "2026-11-01T00:00:00Z")
VALUES: tuple[Any, ...] = (True, 0, 1, -1, 2**31, 1.5, [], {}, ["x"], *TEXTS)


@pytest.mark.parametrize(("kind", "body", "service"), ENTITIES.values(), ids=ENTITIES)
def test_what_the_orchestrator_makes_is_accepted_whole(kind, body, service):
    """Every custom resource that is made of an entity is valid, and an API server drops nothing of it."""
    resource = registry.resource_for(an_entity(kind, body, service))
    assert refused_by_definition(resource["kind"], resource["spec"]) == []
    assert structural.pruned(SPECS[resource["kind"]], resource["spec"]) == resource["spec"]


@given(data=st.data())
def test_whatever_is_left_out_of_a_request_what_is_made_of_it_is_accepted(data):
    """The same of requests in which any optional parts are missing."""
    kind = data.draw(st.sampled_from(RUN))
    body = data.draw(st.sampled_from(bodies.CREATE[kind]))
    service = bodies.SERVICE_FULL
    for _ in range(data.draw(st.integers(0, 5))):
        body, service = _without(data, body), _without(data, service)
    try:
        entity = an_entity(kind, body, service)
    except (msgspec.ValidationError, KeyError, errors.InvalidFields):
        return  # a request that the API refuses
    resource = registry.resource_for(entity)
    assert refused_by_definition(resource["kind"], resource["spec"]) == []
    assert structural.pruned(SPECS[resource["kind"]], resource["spec"]) == resource["spec"]


@given(data=st.data())
def test_struct_and_definition_refuse_the_same(data):
    """A spec with a field removed or changed is accepted by the struct that reads it if and only if the definition accepts it."""
    resource = data.draw(st.sampled_from(MADE))
    kind, spec = resource["kind"], copy.deepcopy(resource["spec"])
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(_paths(spec) or [()]))
        if path:
            spec = bodies.changed(spec, ".".join(path), data.draw(st.sampled_from((..., *VALUES))))
    spec = structural.pruned(SPECS[kind], spec)
    assert bool(refused_by_struct(kind, spec)) == bool(refused_by_definition(kind, spec)), (
        refused_by_struct(kind, spec),
        refused_by_definition(kind, spec),
    )


def _without(data, body):
    path = data.draw(st.sampled_from(_paths(body) or [()]))
    return body if not path else bodies.changed(body, ".".join(path), ...)


def _paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every field and item, but for names that the path's form cannot hold."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, each in items:
        if "." not in str(key):
            found += [(*path, str(key)), *_paths(each, (*path, str(key)))]
    return found


def test_the_schemas_are_structural():
    """Every value has a type, nothing refers to anything, and no expression has what Go's do not know."""

    def check(schema, path):
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        assert not {"$ref", "anyOf", "oneOf", "allOf", "default", "nullable"} & set(schema), path
        assert "x-kubernetes-preserve-unknown-fields" not in schema, path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert "(?" not in schema.get("pattern", ""), path
        if schema.get("type") == "array":
            check(schema["items"], (*path, "[]"))
        for name, part in schema.get("properties", {}).items():
            check(part, (*path, name))
        if "additionalProperties" in schema:
            check(schema["additionalProperties"], (*path, "*"))

    for kind, schema in definitions.schemas().items():
        check(schema, (kind,))


def test_every_kind_has_a_whole_history():
    """Each kind is in the category, has a status subresource, and shows what it does, why, whose it is and since when."""
    for each in definitions.all_():
        version = each["spec"]["versions"][0]
        names = [column["name"] for column in version["additionalPrinterColumns"]]
        assert each["spec"]["names"]["categories"] == ["dyff"]
        assert version["subresources"] == {"status": {}}
        assert {"Reason", "Account", "Age", "Message"} <= set(names)
        conditions = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
        assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    shorts = [short for each in definitions.all_() for short in each["spec"]["names"]["shortNames"]]
    others = [each["spec"]["names"][form] for each in definitions.all_() for form in ("plural", "singular")]
    assert len({*shorts, *others}) == len(shorts) + len(others)


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"of": {"x": 1, "y": 2}, "free": {"z": {"q": 1}}}, {"of": {"x": 1}, "free": {"z": {}}}),
        ({"several": [{"x": 1, "y": 2}, 3]}, {"several": [{"x": 1}, 3]}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ("text", "text"),
    ],
)
def test_only_known_fields_are_kept(value, want):
    """As an API server prunes an object; what has another type than the schema says is left to its validation."""
    inner = {"type": "object", "properties": {"x": {"type": "integer"}}}
    free = {"type": "object", "additionalProperties": inner}
    properties = {"a": {"type": "integer"}, "of": inner, "free": free, "several": {"type": "array", "items": inner}}
    assert structural.pruned({"type": "object", "properties": properties}, value) == want


@pytest.mark.parametrize("kind", [list[int] | str, Any, Literal[1, 2]], ids=str)
def test_a_field_without_a_structural_form_is_reported(kind):
    """A struct that no definition can express is an error with the field's path, not a hole in the schema."""
    inner = msgspec.defstruct("Inner", [("either", kind)])
    with pytest.raises(TypeError, match=r"Outer\.inner\.either"):
        structural.of([msgspec.defstruct("Outer", [("inner", inner)])])
