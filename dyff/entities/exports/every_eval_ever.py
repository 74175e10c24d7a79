"""The scores of a measurement or a safety case in the form of Every Eval Ever 0.3.0: one document about one system. Pure.

What the form requires and nobody has stated is said to be not stated, where it takes any text. Where it takes one of a few words, it is
the most general one, and `additional_details` say so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from dyff.entities import codecs
from dyff.entities.exports import addresses, evidence, prov, systems

VERSION = "0.3.0"
NOT_STATED = "not stated"
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
MAX_DETAIL_CHARS = 10_000
"""Longer details are given as their SHA-256."""

_WITH_A_PLACE = ("low", "high", "level", "n", "standardError")
"""Fields of an estimate for which the form has a place."""

_NOT_IN_PATHS = re.compile(r"[^A-Za-z0-9._-]+")


def document(gathered: evidence.Gathered, *, base: str, plural: str, retrieved_s: int) -> codecs.Json:
    """The document. `base`: the URL of the API. `plural`: of the kind. `retrieved_s`: the present time, in seconds since 1970.

    Raises:
        ValueError: the scores are not about one system; the message is the end of a sentence.
    """
    analysis = gathered.root
    system = systems.of(gathered)
    retrieved, model = str(retrieved_s), _model(system)
    found: codecs.Json = {
        "schema_version": VERSION,
        "evaluation_id": "/".join((_word(analysis["name"]), model["id"], retrieved)),
        "retrieved_timestamp": retrieved,
        "source_metadata": _source(analysis, base, plural),
        "model_info": model,
        "eval_library": _library(gathered),
        "evaluation_results": list(_results(gathered, base, system)),
    }
    asked = [each["creationTime"] for each in gathered.of_kind("Evaluation") if each.get("creationTime")]
    if asked:
        found["evaluation_timestamp"] = min(asked)
    return found


def _source(analysis: codecs.Json, base: str, plural: str) -> codecs.Json:
    texts = evidence.object_of(evidence.object_of(analysis, "metadata"), "documentation")
    relationship, evaluators = texts.get("relationship"), texts.get("evaluators")
    stated = relationship if relationship in RELATIONSHIPS else None
    more = {"dyff_kind": analysis["kind"], "dyff_id": analysis["id"], "dyff_account": analysis["account"]}
    more["dyff_url"] = addresses.entity(base, plural, analysis["id"])
    more["dyff_provenance"] = addresses.provenance(base, plural, analysis["id"])
    if stated is None:
        more["evaluator_relationship"] = f"{NOT_STATED} by the evaluators; the schema has no such value"
    return {
        "source_name": "Dyff",
        "source_type": "evaluation_run",
        "source_organization_name": evaluators if isinstance(evaluators, str) and evaluators.strip() else NOT_STATED,
        "evaluator_relationship": stated or "other",
        "additional_details": _details(more),
    }


def _model(system: systems.System) -> codecs.Json:
    name = system.model_name or system.name or system.id
    more = {
        "deployment_type": "self_deployed" if system.engine else "unknown",
        "model_availability": "unknown",
        "dyff_inference_service": system.id,
        "dyff_inference_service_name": system.name,
        "dyff_inference_service_sha256": system.digest,
        "dyff_model": system.model_id,
        "model_revision": system.revision,
        "container_image": system.image,
        "requested_model": system.requested_model,
    }
    found: codecs.Json = {"name": name, "id": system.repository or f"unknown/{_word(name)}", "additional_details": _details(more)}
    if system.engine:
        found["inference_engine"] = {"name": system.engine}
    return found


def _library(gathered: evidence.Gathered) -> codecs.Json:
    method, provenance = evidence.object_of(gathered.root, "method"), evidence.object_of(gathered.root, "provenance")
    run = evidence.object_of(provenance, "run")
    environment = evidence.object_of(run, "environment")
    more = {
        "method": method.get("id"),
        "method_name": method.get("name"),
        "method_sha256": evidence.fields_digest(method) if method else None,
        "method_modules_sha256": {each: gathered.digests.get(each) for each in evidence.list_of(method, "modules")} or None,
        "arguments": {each["keyword"]: each["value"] for each in evidence.list_of(gathered.root, "arguments")} or None,
        "image": provenance.get("image"),
        "environment_sha256": environment.get("digest"),
        "python": environment.get("python"),
        "seed": run.get("seed"),
    }
    asked = {prov.release({"platform": gathered.platforms.get(each["id"])}) for each in gathered.of_kind("Evaluation")} - {None}
    more["evaluations_release"] = ", ".join(sorted(map(str, asked))) or None
    platform = evidence.object_of(provenance, "platform")
    version, more["platform_commit"] = platform.get("version") or "unknown", platform.get("commit")
    return {"name": "dyff", "version": version, "additional_details": _details(more)}


def _results(gathered: evidence.Gathered, base: str, system: systems.System) -> Iterator[codecs.Json]:
    method, generation = evidence.object_of(gathered.root, "method"), _generation(system)
    ended = evidence.object_of(evidence.object_of(gathered.root, "provenance"), "run").get("ended")
    for score in evidence.list_of(gathered.root, "scores"):
        quantity = _number(score.get("quantity"))
        if quantity is None:
            continue
        yield {
            "evaluation_result_id": score["id"],
            "evaluation_name": method.get("name") or gathered.root["name"],
            "source_data": _data(gathered, base),
            **({"evaluation_timestamp": ended} if isinstance(ended, str) else {}),
            "metric_config": _metric(score, method),
            "score_details": _score(score, quantity),
            **({"generation_config": generation} if generation else {}),
        }


def _metric(score: codecs.Json, method: codecs.Json) -> codecs.Json:
    valence = score.get("valence") or "neutral"
    found: codecs.Json = {
        "evaluation_description": score.get("summary") or NOT_STATED,
        "metric_id": f"dyff.{_word(str(method.get('name') or 'method'))}.{score['name']}",
        "metric_name": score.get("title") or score["name"],
        "lower_is_better": valence == "negative",
        "additional_details": _details({"valence": valence, "priority": score.get("priority"), "format": score.get("format")}),
    }
    if valence not in ("positive", "negative"):
        found["additional_details"]["lower_is_better"] = "neither is better: the schema has no such value"
    if isinstance(score.get("unit"), str):
        found["metric_unit"] = score["unit"]
    for name, bound in (("min_score", "minimum"), ("max_score", "maximum")):
        if (value := _number(score.get(bound))) is not None:
            found[name] = value
    return found


def _score(score: codecs.Json, quantity: float) -> codecs.Json:
    estimate = evidence.object_of(evidence.object_of(score, "metadata"), "estimate")
    known = {name: value for name, value in estimate.items() if name not in _WITH_A_PLACE}
    details = _details({"text": score.get("text"), "quantity_string": score.get("quantityString"), **known})
    uncertainty = _uncertainty(estimate)
    return {"score": quantity, "details": details, **({"uncertainty": uncertainty} if uncertainty else {})}


def _uncertainty(estimate: codecs.Json) -> codecs.Json:
    """What the estimate of a score says about its precision, as `dyff.stats` writes it; what makes no sense is left out."""
    found: codecs.Json = {}
    method = estimate.get("method")
    how = {"method": method} if isinstance(method, str) and method else {}
    low, high, level = (_number(estimate.get(name)) for name in ("low", "high", "level"))
    if low is not None and high is not None and low <= high:
        sure = {"confidence_level": level} if level is not None and 0 < level < 1 else {}
        found["confidence_interval"] = {"lower": low, "upper": high, **sure, **how}
    if (error := _number(estimate.get("standardError"))) is not None and error >= 0:
        found["standard_error"] = {"value": error, **how}
    for name, source in (("num_samples", "n"), ("num_bootstrap_samples", "draws")):
        count = estimate.get(source)
        is_used = source == "n" or "bootstrap" in str(method).lower()
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0 and is_used:
            found[name] = count
    return found


def _data(gathered: evidence.Gathered, base: str) -> codecs.Json:
    dataset = _dataset(gathered)
    if dataset is None:
        return {"dataset_name": NOT_STATED, "source_type": "other"}
    name = (gathered.visible(dataset) or {}).get("name") or dataset
    more = {"dyff_dataset": dataset, "manifest_sha256": gathered.digests.get(dataset)}
    url = addresses.entity(base, "datasets", dataset)
    return {"dataset_name": name, "source_type": "url", "url": [url], "additional_details": _details(more)}


def _dataset(gathered: evidence.Gathered) -> str | None:
    """The ID of the dataset that the scores are about; None if there is none, or several."""
    scope = evidence.object_of(gathered.root, "scope").get("dataset")
    if isinstance(scope, str):
        return scope
    evaluated = {each["dataset"] for each in gathered.of_kind("Evaluation") if isinstance(each.get("dataset"), str)}
    read = {each["entity"] for each in evidence.inputs(gathered.root) if each["kind"] == "Dataset"}
    candidates = evaluated or read
    return next(iter(candidates)) if len(candidates) == 1 else None


def _generation(system: systems.System) -> codecs.Json:
    more = {"replications": system.replications, "requests": list(system.pipeline) or None, "seed": system.sampling.get("seed")}
    found = {"generation_args": systems.arguments(system), "additional_details": _details(more)}
    return {name: each for name, each in found.items() if each}


def _details(values: codecs.Json) -> dict[str, str]:
    """Values as texts, without those that are not known."""
    return {name: _text(each) for name, each in values.items() if each is not None}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else codecs.encode(value).decode()
    return text if len(text) <= MAX_DETAIL_CHARS else f"sha256:{evidence.digest_of(text.encode())}"


def _word(name: str) -> str:
    return _NOT_IN_PATHS.sub("-", name).strip("-") or "unnamed"


def _number(value: Any) -> float | int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None
