"""The system that the scores of an analysis are about, as its run used it. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import msgspec

from dyff.entities import analysis_data, codecs, scopes
from dyff.entities.exports import evidence

ENGINES = {"vllm": "vLLM", "huggingface": "huggingface", "bentoml_service_openllm": "OpenLLM"}
"""Runners that load the model themselves. Any other container may pass requests on to another place."""

_NUMBERS = ("temperature", "top_p", "top_k")
_SAMPLING = (*_NUMBERS, "max_tokens", "max_completion_tokens", "seed", "model")


class System(msgspec.Struct, frozen=True):
    """A system. None, or empty: not known.

    `id`, `name`, `digest`: of the inference service; `digest` is that of its fields. `engine`: of `ENGINES`. `repository`: the name of the
    model on the hub. `pipeline`: the steps that make a request of an item. `sampling`: the values of `_SAMPLING` that all requests have.
    """

    id: str
    name: str | None = None
    digest: str | None = None
    image: str | None = None
    engine: str | None = None
    model_id: str | None = None
    model_name: str | None = None
    repository: str | None = None
    revision: str | None = None
    pipeline: tuple[codecs.Json, ...] = ()
    sampling: codecs.Json = {}
    replications: int | None = None

    @property
    def requested_model(self) -> str | None:
        """The name of the model in requests, as its provider calls it; None if it is not known, or not the same in all."""
        found = self.sampling.get("model")
        return found if isinstance(found, str) else None


def of(gathered: evidence.Gathered) -> System:
    """The one system.

    Raises:
        ValueError: there is none, or there are several; the message is the end of a sentence.
    """
    evaluations = gathered.of_kind("Evaluation")
    scope = evidence.object_of(gathered.root, "scope").get("inferenceService")
    if any(field == "inferenceService" for field, _, _ in scopes.contradictions(gathered.root, gathered.entities)):
        raise ValueError(f"its scope names the system {scope}, and what it reads is of another one")
    found = {scope} if isinstance(scope, str) else {evidence.service_of(each).get("id") for each in evaluations} - {None}
    if len(found) != 1:
        several = "no system that you may see" if not found else f"{len(found)} systems ({', '.join(sorted(map(str, found)))})"
        raise ValueError(f"its scores are about {several}, and a document is about one: name the system in the scope of the analysis")
    (service_id,) = found
    own = [each for each in evaluations if evidence.service_of(each).get("id") == service_id]
    return _described(gathered, str(service_id), own)


def sampling_of(evaluation: codecs.Json) -> codecs.Json:
    """What all requests of an evaluation have of temperature, seed and the like; empty if nothing is known."""
    return _sampling(_pipeline(evidence.service_of(evaluation), evaluation))


def _described(gathered: evidence.Gathered, service_id: str, evaluations: list[codecs.Json]) -> System:
    used = evidence.as_used(gathered, "InferenceService", service_id)
    service = used or gathered.visible(service_id) or next(_carried(gathered.root, service_id), {})
    model = evidence.object_of(service, "model")
    whole = gathered.visible(str(model.get("id"))) or next(_carried(gathered.root, str(model.get("id"))), model)
    source = evidence.object_of(evidence.object_of(whole, "source"), "huggingFaceHub")
    cache = source or evidence.object_of(evidence.object_of(model, "artifact"), "huggingFaceCache")
    runner = evidence.object_of(service, "runner")
    image = evidence.object_of(runner, "image")
    pipelines = [_pipeline(service, each) for each in evaluations] or [_pipeline(service, {})]
    is_same = all(each == pipelines[0] for each in pipelines)
    replications = {each.get("replications") for each in evaluations}
    return System(
        id=service_id,
        name=_text(service.get("name")),
        digest=evidence.fields_digest(used) if used is not None else None,
        image=f"{image.get('host')}/{image.get('name')}@{image.get('digest')}" if image else None,
        engine=ENGINES.get(str(runner.get("kind"))),
        model_id=_text(model.get("id")),
        model_name=_text(model.get("name")),
        repository=_text(cache.get("repoID")),
        revision=_text(cache.get("revision")),
        pipeline=tuple(pipelines[0]) if is_same else (),
        sampling=_sampling(pipelines[0]) if is_same else {},
        replications=replications.pop() if len(replications) == 1 else None,
    )


def _pipeline(service: codecs.Json, evaluation: codecs.Json) -> list[codecs.Json]:
    """The steps from an item to a request: those of the evaluation, then those of the service."""
    own = evidence.list_of(evidence.object_of(evaluation, "client"), "inputPipeline")
    return [each for each in (*own, *evidence.list_of(evidence.object_of(service, "interface"), "inputPipeline")) if isinstance(each, dict)]


def _sampling(pipeline: list[codecs.Json]) -> codecs.Json:
    """What the last step gives to all requests. A step that is no template may change anything, so nothing is known then."""
    if not pipeline or pipeline[-1].get("kind") != "TransformJSON":
        return {}
    template = evidence.object_of(pipeline[-1], "configuration")
    return {name: template[name] for name in _SAMPLING if name in template and _is_literal(template[name])}


def _is_literal(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and not value.startswith("$"))


def arguments(system: System) -> codecs.Json:
    """The sampling as Every Eval Ever names it."""
    found = {name: each for name in _NUMBERS if _is_number(each := system.sampling.get(name))}
    most = system.sampling.get("max_tokens", system.sampling.get("max_completion_tokens"))
    if isinstance(most, int) and not isinstance(most, bool) and most >= 1:
        found["max_tokens"] = most
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _carried(analysis: codecs.Json, entity_id: str) -> Iterator[codecs.Json]:
    """An entity of which a safety case carries a copy, as it was when the case was created."""
    for each in evidence.list_of(analysis, "data"):
        if isinstance(each, dict) and each.get("key") == analysis_data.SYSTEM:
            try:
                spec = codecs.decode_object(base64.b64decode(str(each.get("value")), validate=True)).get("spec")
            except (ValueError, binascii.Error):
                continue
            if isinstance(spec, dict) and spec.get("id") == entity_id:
                yield spec


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
