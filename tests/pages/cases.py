"""An audit for tests: one system on one dataset, evaluated as often as a test wants, each time with a measurement and a safety case."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.objects import layout, manifests
from tests.entities import bodies

NOTEBOOK = b"<!DOCTYPE html><html><head><title>d</title></head><body><h1>Findings</h1><p>The author's own words.</p></body></html>"
OUTCOMES = {"items": 403, "verdicts": 400, "errors": 3, "notScored": 0}
ESTIMATE = {
    "low": 0.08, "high": 0.17, "level": 0.95, "n": 400, "clusters": 50, "method": "t, by cluster", "outcomes": OUTCOMES, "notes": [],
}  # fmt: skip
SCORES: list[dict[str, Any]] = [
    {
        "name": "toxic_rate", "title": "Toxic continuations", "summary": "The share of prompts that were continued toxically.",
        "valence": "negative", "minimum": 0.0, "maximum": 1.0, "format": "{quantity:.3f}",
    },
    {"name": "latency", "title": "Latency", "summary": "Median seconds for an answer.", "priority": "secondary", "unit": "s"},
]  # fmt: skip
CLAIM = {
    "title": "Toxicity of the mock model", "summary": "How often it continues harmless and toxic prompts toxically.",
    "claim": "The system continues fewer than one in five prompts of RealToxicityPrompts with toxic text.",
    "scope": "English prompts of at most 128 tokens, without a system prompt, at temperature 0.7.",
    "assumptions": "The classifier's threshold of 0.5 separates toxic from harmless text as people would.",
    "limits": "No other language and no dialogue was tested. The classifier misses irony.",
    "evaluators": "The audit team of Example University. Funded by a public grant.", "relationship": "third_party",
}  # fmt: skip


class Audit:
    """What all runs share. `run` adds one."""

    def __init__(self, world: Any, api: Any, account: str = "test") -> None:
        self.world, self.api, self.account = world, api, account
        self.service = self.dataset = self.measuring = self.reporting = self.module = ""

    async def post(self, plural: str, body: dict[str, Any], account: str | None = None) -> dict[str, Any]:
        """Create something; it can be read when this returns."""
        response = await self.api.post(f"/v0/{plural}", json={**body, "account": account or self.account})
        assert response.status_code == 201, response.text
        seen = await self.api.get(f"/v0/{plural}/{response.json()['id']}", headers={"Dyff-Position": response.headers["dyff-position"]})
        assert seen.status_code == 200, seen.text
        return response.json()

    async def prepare(self, *, method_first: bool = True, **names: str) -> Audit:
        """`method_first`: whether the methods are ready before anything is evaluated. `names`: of `service` and `dataset`."""
        self.service = await self.world.ready_service(account=self.account, name=names.get("service", "mock completion"))
        self.dataset = await self.world.dataset(account=self.account, name=names.get("dataset", "prompts"))
        await self.world.set_status(self.dataset, "Ready")
        if method_first:
            await self.methods()
        return self

    async def methods(self) -> None:
        self.module = (await self.post("modules", bodies.MODULE_FULL))["id"]
        inputs = [{"kind": "Evaluation", "keyword": "outputs"}, {"kind": "Dataset", "keyword": "prompts"}]
        made = await self.post("methods", {**bodies.METHOD, "modules": [self.module], "inputs": inputs})
        code = {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": self.module, "notebookPath": "report.ipynb"}}
        inputs = [{"kind": "Measurement", "keyword": "lengths"}]
        report = {**bodies.METHOD_NOTEBOOK, "name": "report", "implementation": code, "modules": [self.module], "inputs": inputs}
        reporting = await self.post("methods", {**report, "scores": SCORES})
        self.measuring, self.reporting = made["id"], reporting["id"]
        for each in (self.module, self.measuring, self.reporting):
            await self.world.set_status(each, "Ready")

    async def evaluation(self, status: str = "Complete") -> str:
        found = await self.post("evaluations", {"dataset": self.dataset, "inferenceSession": {"inferenceService": self.service}})
        await self.world.set_status(found["id"], status)
        return found["id"]

    async def measurement(self, evaluation: str) -> str:
        scope = {"dataset": self.dataset, "inferenceService": self.service, "evaluation": evaluation}
        inputs = [{"keyword": "outputs", "entity": evaluation}, {"keyword": "prompts", "entity": self.dataset}]
        found = await self.post("measurements", {"method": self.measuring, "scope": scope, "inputs": inputs})
        read = [{"keyword": "outputs", "kind": "Evaluation", "id": evaluation, "sha256": "e" * 64}]
        read.append({"keyword": "prompts", "kind": "Dataset", "id": self.dataset, "sha256": "d" * 64})
        await self.world.record(found["id"], {"scores": [], "curves": [], "provenance": {"inputs": read, "modules": []}})
        await self.world.set_status(found["id"], "Complete")
        return found["id"]

    async def case(self, measurement: str, quantity: float = 0.12, document: bytes | None = NOTEBOOK, **estimate: Any) -> str:
        """A complete safety case. `document`: its author's; None for none. `estimate`: what differs in that of its first score."""
        inputs = [{"keyword": "lengths", "entity": measurement}]
        found = await self.post("safetycases", {"method": self.reporting, "scope": {"inferenceService": self.service}, "inputs": inputs})
        scores = [_score(found["id"], SCORES[0], quantity, {**ESTIMATE, **estimate}), _score(found["id"], SCORES[1], 1.5, None)]
        run = {
            "environment": {"python": "3.11.7", "packages": {"numpy": "2.3"}, "digest": "a" * 64},
            "seed": 12345, "started": "2026-01-01T00:00:00Z",
            "machine": {"architecture": "x86_64", "system": "Linux", "kernel": "6.18", "processors": 2, "memory_bytes": 8 * 2**30},
        }  # fmt: skip
        read = [{"keyword": "lengths", "kind": "Measurement", "id": measurement, "sha256": "b" * 64}]
        provenance = {"image": None, "run": run, "inputs": read, "modules": [{"kind": "Module", "id": self.module, "sha256": "c" * 64}]}
        await self.world.record(found["id"], {"scores": scores, "curves": [], "provenance": provenance})
        if document is not None:
            await self.store(found["id"], document)
        await self.world.set_status(found["id"], "Complete")
        return found["id"]

    async def store(self, case: str, document: bytes) -> None:
        """Store the document of a case as its run does."""
        objects, root = self.world.services.objects, layout.root("safetycases", case)
        info = await objects.put(f"{root}data/0/index.html", document)
        listed = manifests.Artifact(path="index.html", key=info.key, size=info.size_bytes, digest={"md5": info.md5})
        assert await manifests.write(objects, root, manifests.Manifest(artifacts=(listed,)))

    async def run(self, quantity: float = 0.12) -> tuple[str, str, str]:
        """An evaluation, its measurement, and a safety case about that."""
        evaluation = await self.evaluation()
        measurement = await self.measurement(evaluation)
        return evaluation, measurement, await self.case(measurement, quantity)

    async def describe(self, case: str, **texts: Any) -> None:
        body = {"documentation": {**CLAIM, **texts}}
        response = await self.api.patch(f"/v0/safetycases/{case}/documentation", json=body)
        assert response.status_code == 200, response.text

    async def publish(self, plural: str, entity: str, access: str | None = "public") -> None:
        response = await self.api.patch(f"/v0/{plural}/{entity}/labels", json={"labels": {"dyff.io/access": access}})
        assert response.status_code == 200, response.text

    async def dossier(self, case: str) -> dict[str, Any]:
        response = await self.api.get(f"/v0/safetycases/{case}/dossier")
        assert response.status_code == 200, response.text
        return response.json()


def _score(analysis: str, declared: dict[str, Any], quantity: float, estimate: dict[str, Any] | None) -> dict[str, Any]:
    common = {"id": f"{declared['name']:0>32}", "kind": "Score", "analysis": analysis, "text": "Of those that were answered."}
    written = declared.get("format", "{quantity:.1f}").format(quantity=quantity)
    defaults = {"valence": "neutral", "priority": "primary", "format": "{quantity:.1f}"}
    known = {"quantity": quantity, "quantityString": written, "metadata": {"refs": {}, "estimate": estimate}}
    return {**defaults, **declared, **common, **known}


def shares(dossier: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """By kind of run: how many the case rests on, of how many."""
    return {each["kind"]: (each["shown"], each["total"]) for each in dossier["notShown"]["runs"]}


def outcomes(dossier: dict[str, Any], kind: str) -> dict[str, int]:
    (found,) = (each["outcomes"] for each in dossier["notShown"]["runs"] if each["kind"] == kind)
    return msgspec.convert(found, dict[str, int])
