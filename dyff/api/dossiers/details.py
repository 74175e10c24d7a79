"""What is known of each entity that a case rests on, in words and as digests. Pure.

Variables and secrets of programs are never among it: a dossier can be public.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dyff.entities import codecs, dossiers, statuses
from dyff.entities.exports import prov

MAX_CHARS = 2000
"""Longer values are cut."""


def of(kind: str, entity: codecs.Json) -> dict[str, str]:
    """What is known of an entity, by words. Empty for kinds without anything to say."""
    found = _OF[kind](entity) if kind in _OF else {}
    return {name: shortened(each) for name, each in found.items() if each not in (None, "", [], {})}


def verified(evaluation: codecs.Json) -> str | None:
    """What the verification of its outputs has shown; None if it has shown nothing, or nothing is known of it any more."""
    if evaluation.get("status") != statuses.COMPLETE:
        return None
    client = evaluation.get("client") or {}
    gaps, repeated = client.get("missingOutputPolicy") == "Ignore", client.get("duplicateOutputPolicy") == "Ignore"
    if gaps and repeated:
        return "as declared; an item may have no output, or several"
    if gaps:
        return "unique and as declared; an item may have no output"
    return "complete and as declared; an item may have several outputs" if repeated else dossiers.VERIFIED


def environment(provenance: Any) -> dict[str, str]:
    """Where the code of the case ran, as its run says about itself. `provenance`: of the safety case; None if it has none."""
    if not isinstance(provenance, dict):
        return {}
    run = _dict(provenance.get("run"))
    machine, packages = _dict(run.get("machine")), _dict(run.get("environment"))
    memory = machine.get("memory_bytes")
    found = {
        "Release of Dyff": prov.release(provenance),
        "Image": provenance.get("image"),
        "Python": packages.get("python"),
        "Packages": f"{len(packages['packages'])} packages" if isinstance(packages.get("packages"), dict) else None,
        "Digest of the environment": f"sha256:{packages['digest']}" if packages.get("digest") else None,
        "Seed": run.get("seed"),
        "Began": run.get("started"),
        "Ended": run.get("ended"),
        "Hardware": ", ".join(str(machine[name]) for name in ("architecture", "system", "kernel") if machine.get(name)) or None,
        "Processors": machine.get("processors"),
        "Memory": f"{memory / 2**30:.1f} GiB" if isinstance(memory, int) and not isinstance(memory, bool) else None,
    }
    return {name: shortened(each) for name, each in found.items() if each not in (None, "")}


def shortened(value: Any) -> str:
    """A value as text of a bounded length."""
    text = value if isinstance(value, str) else codecs.encode(value).decode()
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def _dataset(entity: codecs.Json) -> dict[str, Any]:
    return {"Files": len(entity.get("artifacts") or [])}


def _evaluation(entity: codecs.Json) -> dict[str, Any]:
    client, session = _dict(entity.get("client")), _dict(entity.get("inferenceSession"))
    return {
        "Outputs": verified(entity),
        "Replications of each item": entity.get("replications"),
        "Sampling and other changes of requests": client.get("inputPipeline"),
        "Replicas": session.get("replicas"),
        "Accelerator": session.get("accelerator"),
        "Items without an output": client.get("missingOutputPolicy"),
        "Refused requests": client.get("badRequestPolicy"),
    }


def _service(entity: codecs.Json) -> dict[str, Any]:
    runner, interface = _dict(entity.get("runner")), _dict(entity.get("interface"))
    image, model = _dict(runner.get("image")), _dict(entity.get("model"))
    return {
        "Runner": runner.get("kind"),
        "Container image": f"{image.get('host')}/{image.get('name')}@{image.get('digest')}" if image else None,
        "Arguments": runner.get("args"),
        "Endpoint": interface.get("endpoint"),
        "Requests (sampling, model name of the provider)": interface.get("inputPipeline"),
        "Answers": interface.get("outputPipeline"),
        "Accelerator": runner.get("accelerator"),
        "Resources": runner.get("resources"),
        "Model": model.get("name"),
    }


def _model(entity: codecs.Json) -> dict[str, Any]:
    source = _dict(entity.get("source"))
    hub, git, cache = (
        _dict(source.get("huggingFaceHub")),
        _dict(source.get("gitLFS")),
        _dict(_dict(entity.get("artifact")).get("huggingFaceCache")),
    )
    where = f"{hub['repoID']} at revision {hub.get('revision')}" if hub.get("repoID") else git.get("url")
    return {
        "Source": source.get("kind"),
        "Fetched from": where or (f"{cache['repoID']} at revision {cache.get('revision')}" if cache else None),
    }


def _method(entity: codecs.Json) -> dict[str, Any]:
    implementation = _dict(entity.get("implementation"))
    code = next((each for name, each in implementation.items() if name != "kind" and isinstance(each, dict)), {})
    where = code.get("fullyQualifiedName") or code.get("notebookPath")
    scores = [str(each.get("name")) for each in entity.get("scores") or [] if isinstance(each, dict)]
    return {
        "Implementation": f"{implementation.get('kind')} {where or ''}".strip() if implementation.get("kind") else None,
        "Description": entity.get("description"),
        "Declares": ", ".join(scores),
    }


def _measurement(entity: codecs.Json) -> dict[str, Any]:
    arguments = {
        each["keyword"]: each.get("value") for each in entity.get("arguments") or [] if isinstance(each, dict) and "keyword" in each
    }
    run = _dict(_dict(entity.get("provenance")).get("run"))
    return {"Rows": entity.get("level"), "Arguments": arguments, "Seed": run.get("seed")}


def _module(entity: codecs.Json) -> dict[str, Any]:
    return {"Files": len(entity.get("artifacts") or [])}


def _dict(value: Any) -> codecs.Json:
    return value if isinstance(value, dict) else {}


_OF: Mapping[str, Callable[[codecs.Json], dict[str, Any]]] = {
    "Dataset": _dataset,
    "Evaluation": _evaluation,
    "InferenceService": _service,
    "Model": _model,
    "Method": _method,
    "Measurement": _measurement,
    "Module": _module,
}
