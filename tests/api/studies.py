"""A study for tests: several systems, measured by one method on one dataset, with the rows that a run would have stored."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from dyff.entities import specs
from dyff.objects import layout, manifests
from tests.entities import bodies
from tests.pages import cases

FIELDS: list[Any] = [
    ("_index_", pa.int64()), ("_replication_", pa.string()), ("right", pa.bool_()), ("_error_", pa.bool_()),
]  # fmt: skip
ROWS = pa.schema(FIELDS)
SCORES: list[dict[str, Any]] = [
    {
        "name": "right", "title": "Right answers", "summary": "Their share.", "valence": "positive", "minimum": 0.0, "maximum": 1.0,
        "format": "{quantity:.3f}",
    },
    {"name": "words", "title": "Words", "summary": "Mean words.", "priority": "secondary", "unit": "words"},
]  # fmt: skip


class Study:
    """`measured` adds a measurement of a system, `reported` a safety case that reads one."""

    def __init__(self, world: Any, api: Any) -> None:
        self.audit = cases.Audit(world, api)
        self.world, self.api = world, api
        self.dataset = self.method = ""

    async def prepare(self, **method: Any) -> Study:
        """`method`: changes of the method's body."""
        self.dataset = await self.datasets()
        self.audit.module = (await self.audit.post("modules", bodies.MODULE_FULL))["id"]
        self.method = await self.methods(**method)
        return self

    async def datasets(self, content: bytes = b"rows", name: str = "prompts") -> str:
        """A ready dataset with one file."""
        found = await self.world.dataset(name=name)
        await self.stored("datasets", found, "part.parquet", content)
        await self.world.set_status(found, "Ready")
        return found

    async def methods(self, level: str = "Instance", **changes: Any) -> str:
        schema = {"arrowSchema": bodies.arrow(ROWS)}
        output = {"kind": "Measurement", "measurement": {"name": "m", "level": level, "schema": schema}}
        inputs = [{"kind": "Evaluation", "keyword": "outputs"}, {"kind": "Dataset", "keyword": "items"}]
        body = {**bodies.METHOD, "modules": [self.audit.module], "inputs": inputs, "scores": SCORES, "output": output, **changes}
        found = (await self.audit.post("methods", body))["id"]
        await self.world.set_status(found, "Ready")
        return found

    async def system(self, name: str) -> str:
        return await self.world.ready_service(account=self.audit.account, name=name)

    async def evaluation(self, service: str, dataset: str | None = None, **changes: Any) -> str:
        body = {"dataset": dataset or self.dataset, "inferenceSession": {"inferenceService": service}, **changes}
        found = (await self.audit.post("evaluations", body))["id"]
        await self.world.set_status(found, "Complete")
        return found

    async def measured(self, name: str, values: Any, **given: Any) -> str:
        """A complete measurement of a new system. `values`: of its rows, see `rows`. For `given`, see `measurement`."""
        return await self.measurement(await self.system(name), values, **given)

    async def measurement(
        self, service: str, values: Any, *, dataset: str | None = None, method: str | None = None, quantity: float | None = None,
        arguments: dict[str, str] | None = None, evaluation: dict[str, Any] | None = None, table: pa.Table | None = None,
        status: str = "Complete", scope: dict[str, str] | None = None,
    ) -> str:  # fmt: skip
        """A complete measurement.

        `scope`: if it is not that of what is read. `evaluation`: changes of its request. `table`: the rows, if they are not those of
        `values`.
        """
        dataset = dataset or self.dataset
        evaluated = await self.evaluation(service, dataset, **(evaluation or {}))
        scope = scope or {"dataset": dataset, "inferenceService": service, "evaluation": evaluated}
        inputs = [{"keyword": "outputs", "entity": evaluated}, {"keyword": "items", "entity": dataset}]
        written = [{"keyword": keyword, "value": value} for keyword, value in (arguments or {}).items()]
        body = {"method": method or self.method, "scope": scope, "inputs": inputs, "arguments": written}
        found = (await self.audit.post("measurements", body))["id"]
        known = [each for each in values if each is not None]
        mean = sum(known) / len(known) if known else 0.0
        shown = {**SCORES[0], "quantity": mean if quantity is None else quantity, "analysis": found}
        await self.world.record(found, {"scores": [scored(shown, len(known))], "curves": [], "provenance": None})
        stored = io.BytesIO()
        pa.parquet.write_table(rows(evaluated, values, (evaluation or {}).get("replications", 1)) if table is None else table, stored)
        await self.stored("measurements", found, "part-0.parquet", stored.getvalue())
        await self.world.set_status(found, status)
        return found

    async def reporting(self) -> str:
        """A method for safety cases that read a measurement."""
        code = {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": self.audit.module, "notebookPath": "report.ipynb"}}
        inputs = [{"kind": "Measurement", "keyword": "measured"}]
        report = {**bodies.METHOD_NOTEBOOK, "name": "report", "implementation": code, "modules": [self.audit.module], "inputs": inputs}
        found = (await self.audit.post("methods", {**report, "scores": SCORES}))["id"]
        await self.world.set_status(found, "Ready")
        return found

    async def reported(self, measurement: str, method: str) -> str:
        """A complete safety case that reads a measurement."""
        service = (await self.api.get(f"/v0/measurements/{measurement}")).json()["scope"]["inferenceService"]
        inputs = [{"keyword": "measured", "entity": measurement}]
        found = (await self.audit.post("safetycases", {"method": method, "scope": {"inferenceService": service}, "inputs": inputs}))["id"]
        await self.world.record(found, {"scores": [], "curves": [], "provenance": None})
        await self.world.set_status(found, "Complete")
        return found

    async def stored(self, collection: str, entity: str, path: str, content: bytes) -> None:
        """As a run, or an upload, stores a file."""
        objects, root = self.world.services.objects, layout.root(collection, entity)
        info = await objects.put(f"{root}data/0/{path}", content)
        listed = manifests.Artifact(path=path, key=info.key, size=info.size_bytes, digest={"md5": info.md5})
        assert await manifests.write(objects, root, manifests.Manifest(artifacts=(listed,)))

    async def compare(self, status: int = 200, **query: str) -> Any:
        """The answer of the route; of an error, its sentence."""
        response = await self.api.get("/v0/comparisons", params=query)
        assert response.status_code == status, response.text
        return response.json() if status == 200 else response.json()["detail"]


def rows(evaluation: str, values: Any, replications: int = 1) -> pa.Table:
    """A row for each value in each replication. None is an error."""
    names = [specs.replication_id(evaluation, place) for place in range(replications)]
    listed = [
        {"_index_": n, "_replication_": name, "right": each, "_error_": each is None} for n, each in enumerate(values) for name in names
    ]
    return pa.Table.from_pylist(listed, ROWS)


def scored(score: dict[str, Any], n: int) -> dict[str, Any]:
    """A score as a run records it."""
    outcomes = {"items": n, "verdicts": n, "errors": 0, "notScored": 0}
    near = (max(0.0, score["quantity"] - 0.1), min(1.0, score["quantity"] + 0.1))
    estimate = {"low": near[0], "high": near[1], "level": 0.95, "n": n, "clusters": None, "method": "Wilson", "outcomes": outcomes}
    common = {"id": "0" * 32, "kind": "Score", "text": "Of all.", "quantityString": f"{score['quantity']:.3f}", "priority": "primary"}
    return {**common, **score, "metadata": {"refs": {}, "estimate": {**estimate, "notes": []}}}
