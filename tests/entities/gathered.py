"""What an export of a safety case with all its parts reads: a dataset, a model, a service, an evaluation, a method, a measurement."""

from __future__ import annotations

from typing import Any

from dyff.entities import codecs
from dyff.entities.exports import evidence

BASE = "https://dyff.test"


def identity(kind: str, entity_id: str, **more: Any) -> codecs.Json:
    """An entity of the account `me`."""
    return {"kind": kind, "id": entity_id, "account": "me", "status": "Complete", "creationTime": "2026-01-01T00:00:00Z", **more}


DATASET = identity("Dataset", "d1", name="prompts", artifacts=[{"path": "part.parquet"}])
MODEL = {
    "id": "w1",
    "account": "me",
    "name": "gemma",
    "artifact": {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": "google/gemma", "revision": "abc"}},
}
TEMPLATE = {"prompt": "$.text", "model": "gemma-3", "temperature": 0.5, "max_tokens": 20, "top_p": "$.top_p"}
SERVICE = {
    "id": "s1", "account": "me", "name": "mine", "model": MODEL,
    "runner": {"kind": "vllm", "image": {"host": "h", "name": "n", "digest": "sha256:00"}, "env": [{"name": "KEY", "value": "hidden"}]},
    "interface": {"endpoint": "v1", "inputPipeline": [{"kind": "TransformJSON", "configuration": TEMPLATE}]},
}  # fmt: skip
EVALUATION = identity("Evaluation", "e1", dataset="d1", inferenceSession={"inferenceService": SERVICE, "replicas": 1}, replications=2)
METHOD = {
    "id": "m1", "account": "me", "name": "word length", "modules": ["p1"], "implementation": {"kind": "PythonFunction"},
    "inputs": [{"keyword": "outputs", "kind": "Evaluation"}],
}  # fmt: skip
RUN = {
    "started": "2026-01-02T00:00:00+00:00", "ended": "2026-01-02T00:00:01+00:00", "attempt": "a", "seed": 7,
    "environment": {"python": "3.11.7", "packages": {"pyarrow": "26.0"}, "digest": "e" * 64},
    "machine": {"system": "Linux", "processors": 2, "unknown": True},
}  # fmt: skip
INTERVAL = {"low": 3.5, "high": 4.5, "level": 0.95, "n": 20, "clusters": 5, "method": "t, by cluster", "standardError": 0.25}
SCORE = {
    "id": "c1", "name": "mean", "title": "Mean", "summary": "The mean length", "quantity": 4.0, "quantityString": "4.0",
    "text": "4 letters",
    "valence": "negative", "priority": "primary", "minimum": 0, "maximum": None, "unit": "letters", "format": "{quantity:.1f}",
    "metadata": {"refs": {"method": "m1"}, "estimate": INTERVAL},
}  # fmt: skip
SHA = {each: each[0] * 64 for each in ("d1", "e1", "p1", "x1")}


def provenance(*read: tuple[str, str], outputs: str = "f" * 64) -> codecs.Json:
    """What a run records. `read`: the kind and the ID of each input."""
    listed = [{"keyword": "outputs", "kind": kind, "id": each, "sha256": SHA[each]} for kind, each in read]
    modules = [{"kind": "Module", "id": "p1", "sha256": SHA["p1"]}]
    return {"run": RUN, "inputs": listed, "modules": modules, "image": None, "outputs": {"files": 1, "bytes": 3, "sha256": outputs}}


MEASUREMENT = identity(
    "Measurement", "x1", name="lengths", method=METHOD, scope={"evaluation": "e1", "dataset": "d1", "inferenceService": "s1"},
    arguments=[{"keyword": "shortest", "value": "1"}], inputs=[{"keyword": "outputs", "entity": "e1"}], scores=[SCORE],
    curves=[{"id": "v1", "name": "curve", "title": "Curve", "points": {"x": [1.0]}}], provenance=provenance(("Evaluation", "e1")),
)  # fmt: skip
CASE_METHOD = {**METHOD, "id": "m2", "name": "report", "inputs": [{"keyword": "outputs", "kind": "Measurement"}]}
CASE = {
    **MEASUREMENT, "kind": "SafetyCase", "id": "y1", "name": "case", "method": CASE_METHOD,
    "inputs": [{"keyword": "outputs", "entity": "x1"}], "provenance": provenance(("Measurement", "x1")), "curves": [],
}  # fmt: skip
ALL = {each["id"]: each for each in (DATASET, EVALUATION, MEASUREMENT)}


def of(root: codecs.Json, *visible: str, **changes: Any) -> evidence.Gathered:
    """What is gathered for `root` by somebody who may see it and these entities."""
    entities = {each: ALL[each] for each in visible}
    named: dict[str, evidence.Named] = {}
    waiting = [root]
    digests = {}
    while waiting:
        entity = waiting.pop(0)
        digests.update(evidence.recorded(entity))
        for each in evidence.names(entity):
            if each.id not in named:
                named[each.id] = each
                waiting += [entities[each.id]] if each.id in entities else []
    files = {"d1": (evidence.File("part 0.parquet", 3, "a" * 64),)} if "d1" in entities else {}
    known = {"named": tuple(named.values()), "entities": entities, "readable": frozenset(changes.get("entities", entities))}
    found = {**known, "digests": {**SHA, **digests}, "files": files, **changes}
    return evidence.Gathered(root, **found)


def named(*evaluations: str) -> list[evidence.Named]:
    """Evaluations as something names them."""
    return [evidence.Named("Evaluation", each) for each in evaluations]
