"""The knobs of the evaluation client are declared once: request, custom resource and documentation agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dyff.entities import identity, specs
from dyff.entities.kinds import evaluation
from tests.narrowing import sure

DOCUMENT = Path(__file__).parents[2] / "docs/sdk.md"
REQUEST, RESOURCE = evaluation.EvaluationClientConfiguration, specs.Client
ONLY_IN_THE_REQUEST = {"extraOptions": {"maxProperties": 100, "propertyNames": {"maxLength": 255}}}
"""A definition cannot bound the names in a map, and has never bounded their number."""


def schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schemas of the fields, by name. What differs by design is left out: the form of an adapter."""
    found = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
    found["inputPipeline"]["anyOf"][0].pop("items")
    return found


def test_the_request_and_the_custom_resource_have_the_same_knobs():
    """Names, defaults and bounds are the same in both, but for the names of extra options."""
    wanted = {name: {**each, **ONLY_IN_THE_REQUEST.get(name, {})} for name, each in schema(RESOURCE).items()}
    assert schema(REQUEST) == wanted


def test_a_request_is_strict_and_a_custom_resource_tolerant():
    """A knob that is not known is an error in a request; in what is stored it is ignored."""
    body = b'{"batchSize": 5, "addedLater": 1}'
    with pytest.raises(msgspec.ValidationError, match="addedLater"):
        msgspec.json.decode(body, type=REQUEST)
    assert msgspec.json.decode(body, type=RESOURCE) == RESOURCE(batch_size=5)


@pytest.mark.parametrize("struct", [REQUEST, RESOURCE])
def test_a_delay_of_nothing_is_refused(struct):
    """As published, the delay between tries is at least a second: with 0 no service would ever count as ready."""
    with pytest.raises(msgspec.ValidationError, match="transientErrorRetryDelaySeconds"):
        msgspec.json.decode(b'{"transientErrorRetryDelaySeconds": 0}', type=struct)
    assert msgspec.json.decode(b'{"transientErrorRetryDelaySeconds": 1}', type=struct).transient_error_retry_delay_seconds == 1


def values(given: dict[str, Any]) -> str:
    """What a knob takes, for people."""
    if "enum" in given:
        return ", ".join(f"`{each}`" for each in given["enum"])
    if given.get("type") == "object":
        return f"at most {given['maxProperties']} texts by name"
    if "anyOf" in given:
        return f"at most {given['anyOf'][0]['maxItems']} adapters"
    assert given["maximum"] == identity.MAX_COUNT
    return f"a whole number from {given['minimum']}"


def meaning(type_: msgspec.inspect.Type) -> str:
    assert isinstance(type_, msgspec.inspect.Metadata)
    return str(sure(type_.extra)["meaning"])


def table() -> list[str]:
    """The lines of the table in the documentation."""
    known = msgspec.inspect.type_info(RESOURCE)
    assert isinstance(known, msgspec.inspect.StructType)
    fields = known.fields
    given = schema(REQUEST)
    assert list(given) == [each.encode_name for each in fields]
    defaults = {name: f"`{json.dumps(each['default']).strip(chr(34))}`" for name, each in given.items()}
    meanings = {each.encode_name: meaning(each.type) for each in fields}
    return [f"| `{name}` | {defaults[name]} | {values(each)} | {meanings[name]} |" for name, each in given.items()]


def test_the_documented_table_is_the_declaration():
    """docs/sdk.md lists every knob with its default, values and meaning, in the order of the declaration."""
    lines = DOCUMENT.read_text().splitlines()
    start = lines.index("| knob | default | values | meaning |") + 2
    assert lines[start : lines.index("", start)] == table()
