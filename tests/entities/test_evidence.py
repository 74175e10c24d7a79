"""What an entity rests on: what it names, and which copy of it a run used."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dyff.entities import analysis_data, codecs, dossiers, invitations
from dyff.entities.exports import every_eval_ever, evidence, prov
from tests.entities import gathered

NAMES: dict[str, tuple[codecs.Json, list[str]]] = {
    "a service": ({**gathered.SERVICE, "kind": "InferenceService"}, ["Model w1"]),
    "a service without a model": ({"kind": "InferenceService", "model": None}, []),
    "a method": ({**gathered.METHOD, "kind": "Method"}, ["Module p1"]),
    "an evaluation": (gathered.EVALUATION, ["Dataset d1", "InferenceService s1", "Model w1"]),
    "a dataset": (gathered.DATASET, []),
    "something of a later release": ({"kind": "Measurement", "method": 5, "inputs": [{}], "scope": []}, []),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_an_entity_names(name):
    """The case's name is the rule."""
    entity, want = NAMES[name]
    assert [f"{each.kind} {each.id}" for each in evidence.names(entity)] == want


@pytest.mark.parametrize(
    ("kind", "entity", "want"),
    [
        ("Method", "m1", gathered.METHOD), ("Method", "other", None), ("InferenceService", "s1", gathered.SERVICE),
        ("InferenceService", "other", None), ("Model", "w1", gathered.MODEL), ("Dataset", "d1", None),
    ],
)  # fmt: skip
def test_which_copy_a_run_used(kind, entity, want):
    """That in a run that names it, and none where no run does."""
    assert evidence.as_used(gathered.of(gathered.MEASUREMENT, "e1"), kind, entity) == want


def test_a_run_without_a_record_of_its_environment_has_none():
    """Nor does it use what is not among the named entities, because of the limits."""
    found = prov.document(evidence.Gathered({**gathered.MEASUREMENT, "provenance": {"run": {"seed": 1}}}), base=gathered.BASE)
    assert not any(name.endswith("#environment") for name in found["entity"])
    assert "used" not in found


def carried(value: Any) -> codecs.Json:
    """An entry of a case's data."""
    return {"key": analysis_data.SYSTEM, "value": value if isinstance(value, str) else base64.b64encode(codecs.encode(value)).decode()}


def test_a_case_that_carries_its_system_is_about_it():
    """Also if the system may not be read; an entry that is none, or is another system's, is passed over."""
    other, own = {"spec": {**gathered.SERVICE, "id": "s2"}}, {"spec": gathered.SERVICE}
    root = {**gathered.CASE, "data": [5, {"key": "usecase"}, carried("%"), carried({"spec": 5}), carried(other), carried(own)]}
    found = every_eval_ever.document(gathered.of(root), base=gathered.BASE, plural="safetycases", retrieved_s=1)
    assert found["model_info"]["additional_details"]["dyff_inference_service_name"] == "mine"


def test_what_nothing_was_said_about_has_defaults():
    """A claim misses nothing until it is made of texts, and an invitation lasts a month."""
    assert dossiers.Claim().missing == []
    assert invitations.InvitationCreateRequest().days == invitations.DEFAULT_DAYS
