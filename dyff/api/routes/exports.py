"""The routes that give entities in forms that others have defined (docs/exports.md)."""

from __future__ import annotations

from typing import Any

from dyff.api import evidence as reading
from dyff.api import tagged
from dyff.api.calls import Call, Reply
from dyff.api.context import Context
from dyff.api.documents import is_whole
from dyff.api.exports import columns
from dyff.api.route import Other, Route
from dyff.api.routes import files
from dyff.api.routes.entities import follow
from dyff.entities import codecs, kind, registry
from dyff.entities.exports import croissant, every_eval_ever, evidence, prov
from dyff.kernel import errors, ids

_THREAD_FILES = 200
"""The document of a dataset with more files is made in a thread."""

_SHOWN: dict[str, Any] = {
    "takes_position": True, "anonymous": True, "headers": tagged.TAGGED,
    "others": {
        status: Other(words, headers=tagged.TAGGED)
        for status, words in (
            (304, "what the header If-None-Match names is still right"), (412, "the header If-Match names another content"),
        )
    },
}  # fmt: skip
"""What the routes of documents have in common that everybody may read of what is public."""


def routes(context: Context) -> list[Route]:
    """Return all of them."""
    found = [Croissant(context).route()]
    for row in registry.ROWS:
        found += [Provenance(context, row).route()] if row.name in evidence.KINDS else []
        found += [EveryEvalEver(context, row).route()] if row.name in evidence.ANALYSES else []
    return found


class Croissant:
    """Datasets as Croissant."""

    def __init__(self, context: Context) -> None:
        """No schema has been read yet."""
        self._context, self._row = context, registry.BY_KIND["Dataset"]
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
        digest = None if manifest is None else await self._context.evidence.manifest_digest(self._row, dataset["id"])
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

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: of a kind whose entities a run made."""
        self._context, self._row = context, row

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/provenance", answer=self.answer, group=self._row.plural,
            operation="provenance", summary="What it was made of, and how: inputs, code and environment with digests (W3C PROV-JSON)",
            answers=dict[str, Any], returns="the document; of what is public, without a token", **_SHOWN,
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the document, with what the caller may see; of the rest it has IDs and digests."""
        found = await _gathered(self._context, self._row, call)
        base = self._context.services.base(call.base)
        return tagged.reply(call, await self._context.threads.run(lambda: codecs.encode(prov.document(found, base=base)), apart=True))


class EveryEvalEver:
    """Scores in the form of Every Eval Ever."""

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: of a kind with scores."""
        self._context, self._row = context, row

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/eee", answer=self.answer, group=self._row.plural,
            operation="eee", summary="Its scores in the form of Every Eval Ever 0.3.0, about one system", answers=dict[str, Any],
            returns="the document; of what is public, without a token", **_SHOWN,
            conflict="it is not complete, or its scores are not about one system",
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the document of a complete analysis."""
        found = await _gathered(self._context, self._row, call)
        name = f"the {self._row.name} {found.root['id']}"
        if found.root["status"] != self._row.success:
            raise errors.WrongStatus(f"{name} has no scores to export: its status is {found.root['status']}")
        services = self._context.services
        base, now = services.base(call.base), int(services.clock.now().timestamp())
        try:
            document = every_eval_ever.document(found, base=base, plural=self._row.plural, retrieved_s=now)
        except ValueError as error:
            raise errors.WrongStatus(f"{name} cannot be exported as one document: {error}") from error
        return tagged.reply(call, codecs.encode(document))


async def _gathered(context: Context, row: kind.Kind, call: Call) -> evidence.Gathered:
    """What the entity in the path rests on. Everybody sees that of what is public; others need a token that may read the entity.

    Raises:
        NotFound: there is no token, and no such entity that is public. Whether there is one that is not, the answer does not say.
        Forbidden, NotReady, Unavailable: see `Documents.entity`.
    """
    await follow(context, call)
    principal, entity_id = call.principal_or_none, call.path["id"]
    document = await context.services.query.get(row.plural, entity_id) if ids.is_id(entity_id) else None
    entity = None if document is None else codecs.decode_object(document)
    if entity is None or not is_whole(entity) or not reading.is_public(entity):
        if principal is None:
            raise errors.NotFound(f"there is no {row.name} with the ID {entity_id[:64]} that you may see; a token may be needed")
        entity = await context.documents.entity(principal, row, entity_id, "get")
    return await context.evidence.gathered(entity, principal)
