"""Whether the scope of a measurement or a safety case agrees with what it reads. Pure.

A scope is what an account says its results are about. What was really measured follows from the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

from dyff.entities import codecs
from dyff.entities.exports import evidence

WORDS = {"evaluation": "evaluation", "inferenceService": "system", "dataset": "dataset", "model": "model"}
"""The fields of a scope, each with what it names."""


def evaluations(analysis: codecs.Json, entities: Mapping[str, codecs.Json]) -> list[codecs.Json]:
    """The evaluations whose outputs an analysis reads, itself or through measurements; each once. `entities`: what is known, by ID."""
    found: dict[str, codecs.Json] = {}
    seen, waiting = set[str](), [analysis]
    while waiting:
        for each in evidence.inputs(waiting.pop()):
            entity = entities.get(each["entity"])
            if entity is None or each["entity"] in seen:
                continue
            seen.add(each["entity"])
            if each["kind"] == "Evaluation":
                found[each["entity"]] = entity
            elif each["kind"] in evidence.ANALYSES:
                waiting.append(entity)
    return list(found.values())


def about(evaluation: codecs.Json) -> dict[str, str | None]:
    """What a scope must say of an evaluation, by its fields; None where that is not known."""
    service = evidence.service_of(evaluation)
    return {
        "evaluation": evaluation.get("id"), "inferenceService": service.get("id"), "dataset": evaluation.get("dataset"),
        "model": evidence.object_of(service, "model").get("id"),
    }  # fmt: skip


def systems(analysis: codecs.Json, entities: Mapping[str, codecs.Json]) -> frozenset[str]:
    """The IDs of the services that an analysis is about: that of its scope, unless nothing that it reads is about that one."""
    named = evidence.object_of(analysis, "scope").get("inferenceService")
    read = frozenset(each for one in evaluations(analysis, entities) if (each := about(one)["inferenceService"]) is not None)
    return frozenset({named}) if isinstance(named, str) and (not read or named in read) else read


def contradictions(analysis: codecs.Json, entities: Mapping[str, codecs.Json]) -> list[tuple[str, str, list[str]]]:
    """The fields of the scope that agree with no evaluation that was read: name, value, and what the evaluations have instead.

    Empty if there are none, or if no evaluation was read, so that the scope cannot be checked.
    """
    read = [about(each) for each in evaluations(analysis, entities)]
    scope = evidence.object_of(analysis, "scope")
    found = []
    for field in WORDS:
        named, others = scope.get(field), sorted({value for each in read if (value := each[field]) is not None})
        if isinstance(named, str) and others and named not in others:
            found.append((field, named, others))
    return found
