"""The routes that all kinds share: get, query, labels, documentation, delete, progress, and the edits in the kind's row."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import msgspec

from dyff.accounts import grants
from dyff.api import auth, bodies, positions, publishing, queries
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.entities import answers, codecs, commands, custom_resource, kind, labels, registry, statuses
from dyff.kernel import errors
from dyff.objects import layout

_LABELS = msgspec.json.Decoder(labels.LabelsEditRequest)


def routes(context: Context) -> list[Route]:
    """Return the routes of all kinds."""
    return [route for row in registry.ROWS for route in Entities(context, row).routes()]


class Entities:
    """The common routes of one kind."""

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: that of the kind."""
        self._context = context
        self._row = row
        self._texts: type[Any] = labels.DocumentationEditRequest if row.page is None else labels.ClaimEditRequest
        self._texts_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._texts)

    def routes(self) -> list[Route]:
        """Return the routes."""
        one, row = f"/v0/{self._row.plural}/{{id:str}}", self._row
        common: dict[str, Any] = {"group": row.plural}
        edited: dict[str, Any] = {"gives_position": True, "takes_key": True, "conflict": "it was deleted", **common}
        documentation = answers.EntityDocumentation if row.documentation == "separate" else row.entity
        return [
            Route(
                method="GET", path=one, answer=self.get, operation="get", summary=f"Get one {row.name}", answers=row.entity,
                returns=f"the {row.name}", takes_position=True, **common,
            ),
            Route(
                method="GET", path=f"/v0/{row.plural}", answer=self.query, operation="query", summary=f"All {row.plural} that match",
                query=queries.parameters(row), answers=list[row.entity], returns=f"a list of {row.name}",  # type: ignore[name-defined]
                takes_position=True, **common,
            ),
            Route(
                method="PATCH", path=f"{one}/labels", answer=self.edit_labels, operation="label", summary="Set labels; null removes one",
                body=labels.LabelsEditRequest, answers=answers.Labels, returns="all labels", **edited,
            ),
            Route(
                method="GET", path=f"{one}/documentation", answer=self.documentation, operation="documentation",
                summary="Its documentation", answers=answers.EntityDocumentation, returns="the documentation", takes_position=True,
                **common,
            ),
            Route(
                method="PATCH", path=f"{one}/documentation", answer=self.edit_documentation, operation="edit_documentation",
                summary="Set texts; null removes one", body=self._texts, answers=documentation,
                returns="the documentation" if row.documentation == "separate" else f"the {row.name}", **edited,
            ),
            Route(
                method="PUT", path=f"{one}/delete", answer=self.delete, operation="delete", summary=f"Delete the {row.name}",
                answers=answers.Status, returns="its status", gives_position=True, **common,
            ),
            Route(
                method="GET", path=f"{one}/progress", answer=self.progress, operation="progress", summary="How far its run is",
                answers=answers.Progress, returns="stage, done, total, rate (items a second)", takes_position=True,
                **common,
            ),
            *(self._edit_route(edit) for edit in row.edits),
        ]  # fmt: skip

    def _edit_route(self, edit: kind.Edit) -> Route:
        """Return the route of an edit: PATCH on a part of the entity."""
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(edit.request)

        async def answer(call: Call) -> Reply:
            return await self._edit(edit, decoder, call)

        return Route(
            method="PATCH", path=f"/v0/{self._row.plural}/{{id:str}}/{edit.path.replace('}', ':str}')}", answer=answer,
            group=self._row.plural, operation=edit.operation, summary=edit.summary, body=edit.request,
            answers=self._row.entity, returns=f"the {self._row.name}", gives_position=True, takes_key=True, conflict="it was deleted",
        )  # fmt: skip

    async def get(self, call: Call) -> Reply:
        """Return the entity."""
        await self._follow(call)
        seen = functools.partial(self._context.documents.seen, call.principal, self._row, call.path["id"], "get")
        return await self._context.large.document(call, seen)

    async def query(self, call: Call) -> Reply:
        """Return all entities that match and that the caller may see, as a plain array."""
        auth.require_any(call.principal, self._row.plural, "query")
        find = queries.find(self._row, call.query(), grants.scope(call.principal.grants, self._row.plural))
        await self._follow(call)
        return await self._context.large.array(call, functools.partial(self._context.services.query.find, find))

    async def edit_labels(self, call: Call) -> Reply:
        """Change labels; returns all labels after the change."""
        request = bodies.decode(_LABELS, await call.body())
        entity = await self._entity(call, "edit")
        if problem := labels.problem(entity.get("labels") or {}, request.labels):
            raise errors.InvalidFields(errors.Problem(("body", "labels"), problem))
        key = publishing.idempotency_key(call)
        after, position = await self._context.publishing.edit_labels(call.principal, entity, dict(request.labels), key)
        return json({"labels": after.get("labels") or {}}, headers=[positions.header(position)])

    async def documentation(self, call: Call) -> Reply:
        """Return the documentation. Its texts are absent if none were written."""
        await self._follow(call)
        return json(_documentation(await self._entity(call, "get")))

    async def edit_documentation(self, call: Call) -> Reply:
        """Change the documentation; returns it, or the entity if the kind stores it there, after the change."""
        request = bodies.decode(self._texts_decoder, await call.body())
        entity = await self._entity(call, "edit")
        texts, key = msgspec.to_builtins(request.documentation), publishing.idempotency_key(call)
        after, position = await self._context.publishing.edit_documentation(call.principal, entity, texts, key)
        body = _documentation(after) if self._row.documentation == "separate" else after
        return json(body, headers=[positions.header(position)])

    async def _edit(self, edit: kind.Edit, decoder: msgspec.json.Decoder[Any], call: Call) -> Reply:
        """Edit a part of the entity; returns the entity after the edit."""
        request = bodies.decode(decoder, await call.body())
        entity = await self._entity(call, "edit")
        await self._context.references.resolve(call.principal, edit.references(request, entity))
        try:
            attributes = edit.attributes(request, entity, call.path, self._context.services.clock.now())
        except ValueError as error:
            raise errors.InvalidFields(errors.Problem(("body",), str(error))) from error
        key = publishing.idempotency_key(call)
        after, position = await self._context.publishing.edit(call.principal, entity, edit.command, attributes, key)
        return json(after, headers=[positions.header(position)])

    async def delete(self, call: Call) -> Reply:
        """Delete the entity. Deleting it again returns its status."""
        entity = await self._entity(call, "delete")
        if entity["status"] == statuses.DELETED:
            return json(status(entity))
        publishing = self._context.publishing
        after, position = await publishing.set_status(call.principal, entity, statuses.DELETED, statuses.DELETE_COMMAND)
        return json(status(after), headers=[positions.header(position)])

    async def progress(self, call: Call) -> Reply:
        """Return what the running step last wrote; of a run that has ended, how it ended. Without either, the stage is the status."""
        await self._follow(call)
        entity = await self._entity(call, "get")
        written: codecs.Json = {}
        with contextlib.suppress(errors.NotFound):
            written = codecs.decode_object(await self._context.services.objects.get(layout.progress(self._row.collection, entity["id"])))
        return json(progress_of(entity, written))

    async def _entity(self, call: Call, function: str) -> codecs.Json:
        return await self._context.documents.entity(call.principal, self._row, call.path["id"], function)

    async def _follow(self, call: Call) -> None:
        await follow(self._context, call)


async def follow(context: Context, call: Call) -> None:
    """Wait until the view has reached the position in the header Dyff-Position, if there is one."""
    wanted = call.header(b"dyff-position")
    if wanted is not None:
        await context.positions.follow(wanted)


def progress_of(entity: codecs.Json, written: codecs.Json) -> codecs.Json:
    """Return the published Progress. `written`: what the last step wrote; empty if none did.

    A step that was killed, or that waits for a pod, writes nothing: the entity then says what the run waits for, or how it ended.
    A step that waits for its service only sees that it does not answer: why is known to the entity, and goes first.
    """
    counts = {key: written.get(key) for key in ("done", "total", "rate")}
    message = entity.get("message")
    if statuses.is_terminal(entity["status"]):
        found = {"stage": entity["status"], **counts, "rate": None}
    else:
        found = {"stage": written.get("stage") or entity["status"], **counts}
        said, halts = written.get("message"), not written.get("rate")
        unready = _unready(message or "") if halts and said else ""
        message = (f"{unready}; {said}" if unready else said) or (message if halts else None)
    return {**found, **({"message": message} if message else {})}


def _unready(message: str) -> str:
    """The part of a status's message that says why replicas of the session are not ready; empty if they are, or nothing is known."""
    _, says, session = message.partition(custom_resource.SESSION_SAYS)
    return f"{says}{session}" if " replicas ready (" in session else ""


def status(entity: codecs.Json) -> codecs.Json:
    """Return the published Status of an entity."""
    return {key: entity[key] for key in ("status", "reason", "message") if entity.get(key) is not None}


def _documentation(entity: codecs.Json) -> codecs.Json:
    texts = (entity.get("metadata") or {}).get("documentation") or {}
    return {**texts, "schemaVersion": commands.SCHEMA_VERSION, "entity": entity["id"]}
