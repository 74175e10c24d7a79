"""The routes that give entities in forms that others have defined (docs/exports.md)."""

from __future__ import annotations

from typing import Any

from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.exports import columns, gathering
from dyff.api.route import Route
from dyff.api.routes import files
from dyff.api.routes.entities import follow
from dyff.entities import codecs, kind, registry
from dyff.entities.exports import croissant, every_eval_ever, evidence, prov
from dyff.kernel import errors

_THREAD_FILES = 200
"""The document of a dataset with more files is made in a thread."""


def routes(context: Context) -> list[Route]:
    """Return all of them."""
    reads = gathering.Gathering(context)
    found = [Croissant(context, reads).route()]
    for row in registry.ROWS:
        found += [Provenance(context, row, reads).route()] if row.name in evidence.KINDS else []
        found += [EveryEvalEver(context, row, reads).route()] if row.name in evidence.ANALYSES else []
    return found


class Croissant:
    """Datasets as Croissant."""

    def __init__(self, context: Context, reads: gathering.Gathering) -> None:
        """No schema has been read yet."""
        self._context, self._row, self._reads = context, registry.BY_KIND["Dataset"], reads
        self._columns = columns.Columns()

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/croissant", answer=self.answer, group=self._row.plural,
            operation="croissant", summary="It in the form of Croissant 1.1 (JSON-LD of MLCommons)", answers=dict[str, Any],
            returns="the JSON-LD", takes_position=True, conflict="it has no data (yet, or any more)",
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the document of a dataset that has data."""
        await follow(self._context, call)
        dataset = await self._context.documents.entity(call.principal, self._row, call.path["id"], "get")
        manifest = await files.stored(self._context, self._row, dataset)
        digest = None if manifest is None else await self._reads.manifest_digest(self._row, dataset["id"])
        if manifest is None:
            raise errors.WrongStatus(f"the Dataset {dataset['id']} has no data to describe: its status is {dataset['status']}")
        described = await self._columns.of((dataset.get("schema") or {}).get("arrowSchema"))
        listed = [croissant.File(each.path, each.size, each.digest) for each in manifest.artifacts]
        base = self._context.services.base(call.base)

        def made() -> bytes:
            return codecs.encode(croissant.document(dataset, listed, described, base=base, digest=digest))

        return Reply(200, await self._context.threads.run(made, apart=len(listed) > _THREAD_FILES))


class Provenance:
    """Where something comes from, as W3C PROV-JSON."""

    def __init__(self, context: Context, row: kind.Kind, reads: gathering.Gathering) -> None:
        """`row`: of a kind whose entities a run made."""
        self._context, self._row, self._reads = context, row, reads

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/provenance", answer=self.answer, group=self._row.plural,
            operation="provenance", summary="What it was made of, and how: inputs, code and environment with digests (W3C PROV-JSON)",
            answers=dict[str, Any], returns="the document", takes_position=True,
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the document, with what the caller may see; of the rest it has IDs and digests."""
        found = await _gathered(self._context, self._row, self._reads, call)
        base = self._context.services.base(call.base)
        return Reply(200, await self._context.threads.run(lambda: codecs.encode(prov.document(found, base=base)), apart=True))


class EveryEvalEver:
    """Scores in the form of Every Eval Ever."""

    def __init__(self, context: Context, row: kind.Kind, reads: gathering.Gathering) -> None:
        """`row`: of a kind with scores."""
        self._context, self._row, self._reads = context, row, reads

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/eee", answer=self.answer, group=self._row.plural,
            operation="eee", summary="Its scores in the form of Every Eval Ever 0.3.0, about one system", answers=dict[str, Any],
            returns="the document", takes_position=True, conflict="it is not complete, or its scores are not about one system",
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the document of a complete analysis."""
        found = await _gathered(self._context, self._row, self._reads, call)
        name = f"the {self._row.name} {found.root['id']}"
        if found.root["status"] != self._row.success:
            raise errors.WrongStatus(f"{name} has no scores to export: its status is {found.root['status']}")
        services = self._context.services
        base, now = services.base(call.base), int(services.clock.now().timestamp())
        try:
            document = every_eval_ever.document(found, base=base, plural=self._row.plural, retrieved_s=now)
        except ValueError as error:
            raise errors.WrongStatus(f"{name} cannot be exported as one document: {error}") from error
        return json(document)


async def _gathered(context: Context, row: kind.Kind, reads: gathering.Gathering, call: Call) -> evidence.Gathered:
    await follow(context, call)
    entity = await context.documents.entity(call.principal, row, call.path["id"], "get")
    return await reads.gathered(entity, call.principal)
