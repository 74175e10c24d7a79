"""Where the scores of an analysis, or the outputs of an evaluation, come from: one document in W3C PROV-JSON (ADR 43). Pure.

Terms with the prefix `dyff` are explained in docs/exports.md. Names with the prefix `api` are addresses of the API, or begin with one.
"""

from __future__ import annotations

from typing import Any

from dyff.entities import codecs, registry
from dyff.entities.exports import addresses, evidence

TERMS = "https://gitlab.com/dyff/packages/dyff-platform/-/blob/main/docs/exports.md#"
PROV = "http://www.w3.org/ns/prov#"
MAX_TEXT_CHARS = 65_536
"""Longer values are given as their SHA-256."""

MAX_PACKAGES = 1000
"""The packages of an environment that are listed. Its digest covers all of them."""

_MACHINE = ("system", "kernel", "architecture", "processors", "memory_bytes", "libc", "byteorder")
_STATED = "the run itself, which the platform does not verify"


def document(gathered: evidence.Gathered, *, base: str) -> codecs.Json:
    """The document. `base`: the URL of the API, without a final slash."""
    made = _Document(gathered, base)
    made.add(gathered.root)
    for each in gathered.named:
        made.add(gathered.visible(each.id) or {"kind": each.kind, "id": each.id})
    return made.whole()


def release(provenance: codecs.Json) -> str | None:
    """The release of the platform whose steps ran something, with its commit as far as that is known; None if it is not recorded.

    `provenance`: of an analysis, or an object that has its `platform` only.
    """
    platform = evidence.object_of(provenance, "platform")
    version, commit = platform.get("version"), platform.get("commit")
    return None if version is None else f"{platform.get('name')} {version}" + (f" ({commit})" if commit else "")


class _Document:
    """The parts so far."""

    def __init__(self, gathered: evidence.Gathered, base: str) -> None:
        self._gathered, self._base = gathered, base
        self._parts: dict[str, dict[str, codecs.Json]] = {}

    def whole(self) -> codecs.Json:
        """All of it. A part that has nothing is left out."""
        return {"prefix": {"prov": PROV, "dyff": TERMS, "api": f"{self._base}/v0/"}, **self._parts}

    def add(self, entity: codecs.Json) -> None:
        """Add an entity, what made it, and its files. One that only has `kind` and `id` is not visible."""
        kind, name, is_root = entity["kind"], self._name(entity["kind"], entity["id"]), entity["id"] == self._gathered.root["id"]
        used = evidence.as_used(self._gathered, kind, entity["id"])
        known = used or (entity if "status" in entity else None)
        attributes: codecs.Json = {
            "prov:type": _qualified(f"dyff:{kind}"),
            "dyff:id": entity["id"],
            **self._digest(kind, entity["id"]),
        }
        if known is None:
            self._put("entity", name, {**attributes, "dyff:visible": False})
            return
        attributes |= {"prov:label": known.get("name"), "dyff:status": entity.get("status"), "dyff:created": entity.get("creationTime")}
        attributes |= _OF.get(kind, _nothing)(known)
        if is_root and not self._gathered.is_all:
            attributes["dyff:incomplete"] = f"more than {evidence.MAX_ENTITIES} entities, or more than {evidence.MAX_DEPTH} steps"
        self._put("entity", name, attributes)
        if entity.get("account"):
            agent = f"api:accounts/{entity['account']}"
            self._put("agent", agent, {"prov:type": _qualified("dyff:Account"), "dyff:id": entity["account"]})
            self._relate("wasAttributedTo", {"prov:entity": name, "prov:agent": agent})
        for file in self._gathered.files.get(entity["id"], ()):
            self._file(entity, name, file)
        if kind in evidence.ANALYSES and entity.get("provenance"):
            self._analysis(entity, name)
        elif kind == "Evaluation":
            self._evaluation(entity, name)
        elif kind == "InferenceService" and (model := evidence.object_of(known, "model").get("id")):
            self._relate("wasDerivedFrom", {"prov:generatedEntity": name, "prov:usedEntity": self._name("Model", model)})

    def _digest(self, kind: str, entity_id: str) -> codecs.Json:
        row = registry.BY_KIND[kind]
        if row.download is not None:
            found = {"dyff:manifest": _uri(addresses.manifest(self._base, row.plural, entity_id))}
            sha256 = self._gathered.digests.get(entity_id)
            return {"dyff:sha256": sha256, "dyff:digestOf": evidence.MANIFEST, **found} if sha256 else {}
        used = evidence.as_used(self._gathered, kind, entity_id, hidden=True)
        return {} if used is None else {"dyff:sha256": evidence.fields_digest(used), "dyff:digestOf": evidence.FIELDS}

    def _file(self, entity: codecs.Json, name: str, file: evidence.File) -> None:
        plural = registry.BY_KIND[entity["kind"]].plural
        address = addresses.file(self._base, plural, entity["id"], file.path)
        member = f"api:{address.removeprefix(f'{self._base}/v0/')}"
        attributes = {"prov:label": file.path, "dyff:bytes": file.size, "dyff:sha256": file.sha256, "prov:location": _uri(address)}
        self._put("entity", member, {"prov:type": _qualified("dyff:File"), **attributes})
        self._relate("hadMember", {"prov:collection": name, "prov:entity": member})

    def _analysis(self, entity: codecs.Json, name: str) -> None:
        provenance, run = evidence.object_of(entity, "provenance"), evidence.object_of(evidence.object_of(entity, "provenance"), "run")
        activity, outputs = f"{name}#run", evidence.object_of(provenance, "outputs")
        arguments = {each["keyword"]: each["value"] for each in evidence.list_of(entity, "arguments")}
        machine = evidence.object_of(run, "machine")
        self._put("activity", activity, {
            "prov:type": _qualified("dyff:Run"), "prov:startTime": run.get("started"), "prov:endTime": run.get("ended"),
            "dyff:arguments": arguments or None, "dyff:seed": run.get("seed"), "dyff:attempt": run.get("attempt"),
            "dyff:reproduces": entity.get("reproduces"),
            "dyff:image": provenance.get("image"), "dyff:statedBy": _STATED,
            "dyff:release": release(provenance), **{f"dyff:machine_{each}": machine.get(each) for each in _MACHINE},
        })  # fmt: skip
        self._put("entity", name, {"dyff:outputsSha256": outputs.get("sha256"), "dyff:outputsBytes": outputs.get("bytes")})
        self._generated(name, activity)
        method = evidence.object_of(entity, "method")
        self._used(activity, "Method", method.get("id"), "method")
        for each in evidence.list_of(method, "modules"):
            self._used(activity, "Module", each, "module")
        for each in evidence.inputs(entity):
            self._used(activity, each["kind"], each["entity"], f"input {each['keyword']}")
        self._environment(name, activity, evidence.object_of(run, "environment"))
        self._results(entity, name, activity)

    def _environment(self, name: str, activity: str, environment: codecs.Json) -> None:
        if not environment:
            return
        packages = evidence.object_of(environment, "packages")
        listed = [f"{each}=={version}" for each, version in sorted(packages.items())]
        self._put("entity", f"{name}#environment", {
            "prov:type": _qualified("dyff:Environment"), "dyff:sha256": environment.get("digest"), "dyff:python": environment.get("python"),
            "dyff:digestOf": "Python, and the name, the version and the list of files of each package",
            "dyff:packages": listed[:MAX_PACKAGES] or None, "dyff:packageCount": len(packages), "dyff:statedBy": _STATED,
        })  # fmt: skip
        self._relate("used", {"prov:activity": activity, "prov:entity": f"{name}#environment", "prov:role": "environment"})

    def _results(self, entity: codecs.Json, name: str, activity: str) -> None:
        for each in evidence.list_of(entity, "scores"):
            score = f"{name}/scores#{each['name']}"
            metadata = {key: value for key, value in evidence.object_of(each, "metadata").items() if key != "refs"}
            self._put("entity", score, {
                "prov:type": _qualified("dyff:Score"), "prov:label": each.get("title"), "prov:value": each.get("quantity"),
                "dyff:id": each.get("id"), "dyff:name": each["name"], "dyff:text": each.get("text"), "dyff:unit": each.get("unit"),
                "dyff:quantityString": each.get("quantityString"),
                "dyff:metadata": metadata or None,
            })  # fmt: skip
            self._generated(score, activity)
        for each in evidence.list_of(entity, "curves"):
            curve = f"{name}/curves#{each['name']}"
            digest = evidence.digest_of(codecs.encode(each.get("points")))
            self._put("entity", curve, {
                "prov:type": _qualified("dyff:Curve"), "prov:label": each.get("title"), "dyff:id": each.get("id"),
                "dyff:name": each["name"], "dyff:sha256": digest, "dyff:digestOf": "its points, as JSON with sorted keys",
            })  # fmt: skip
            self._generated(curve, activity)

    def _evaluation(self, entity: codecs.Json, name: str) -> None:
        activity, session = f"{name}#run", evidence.object_of(entity, "inferenceSession")
        self._put("activity", activity, {
            "prov:type": _qualified("dyff:Run"), "dyff:created": entity.get("creationTime"),
            "dyff:replications": entity.get("replications"),
            "dyff:ended": entity.get("lastTransitionTime") if entity.get("status") == "Complete" else None,
            "dyff:client": entity.get("client") or None, "dyff:session": entity.get("inferenceSessionReference"),
            "dyff:replicas": session.get("replicas"), "dyff:accelerator": session.get("accelerator"),
            "dyff:release": release({"platform": self._gathered.platforms.get(entity["id"])}),
        })  # fmt: skip
        self._generated(name, activity)
        self._used(activity, "Dataset", entity.get("dataset"), "items")
        self._used(activity, "InferenceService", evidence.service_of(entity).get("id"), "system")

    def _used(self, activity: str, kind: str, entity_id: Any, role: str) -> None:
        if isinstance(entity_id, str) and any(each.id == entity_id for each in self._gathered.named):
            self._relate("used", {"prov:activity": activity, "prov:entity": self._name(kind, entity_id), "prov:role": role})

    def _generated(self, name: str, activity: str) -> None:
        self._relate("wasGeneratedBy", {"prov:entity": name, "prov:activity": activity})

    def _name(self, kind: str, entity_id: str) -> str:
        return f"api:{registry.BY_KIND[kind].plural}/{entity_id}"

    def _put(self, part: str, name: str, attributes: codecs.Json) -> None:
        known = self._parts.setdefault(part, {}).setdefault(name, {})
        known.update({key: _value(each) for key, each in attributes.items() if each is not None})

    def _relate(self, relation: str, ends: codecs.Json) -> None:
        several = self._parts.setdefault(relation, {})
        several[f"_:{relation}{len(several) + 1}"] = ends


def _service(service: codecs.Json) -> codecs.Json:
    """Without variables of the program: the document may be passed on."""
    runner, interface = evidence.object_of(service, "runner"), evidence.object_of(service, "interface")
    image = evidence.object_of(runner, "image")
    return {
        "dyff:runner": runner.get("kind"), "dyff:arguments": runner.get("args"), "dyff:command": runner.get("command"),
        "dyff:image": f"{image.get('host')}/{image.get('name')}@{image.get('digest')}" if image else None,
        "dyff:endpoint": interface.get("endpoint"), "dyff:requests": interface.get("inputPipeline"),
        "dyff:answers": interface.get("outputPipeline"), "dyff:resources": runner.get("resources"),
        "dyff:accelerator": runner.get("accelerator"),
    }  # fmt: skip


def _model(model: codecs.Json) -> codecs.Json:
    return {"dyff:source": evidence.object_of(model, "source") or evidence.object_of(model, "artifact") or None}


def _method(method: codecs.Json) -> codecs.Json:
    return {"dyff:implementation": method.get("implementation"), "dyff:description": method.get("description")}


def _nothing(_: codecs.Json) -> codecs.Json:
    return {}


_OF = {"InferenceService": _service, "Model": _model, "Method": _method}
"""What is said about an entity of a kind besides what all have. For other kinds, other parts of the document say it."""


def _qualified(name: str) -> codecs.Json:
    return {"$": name, "type": "prov:QUALIFIED_NAME"}


def _uri(address: str) -> codecs.Json:
    return {"$": address, "type": "xsd:anyURI"}


def _value(value: Any) -> Any:
    """A value that PROV-JSON can have: objects as the text of their JSON, and what is too long as its digest."""
    if isinstance(value, dict) and set(value) == {"$", "type"}:
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value if sum(map(len, value)) <= MAX_TEXT_CHARS else _text(codecs.encode(value).decode())
    if isinstance(value, dict | list):
        return _text(codecs.encode(value).decode())
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else f"sha256:{evidence.digest_of(text.encode())}"
