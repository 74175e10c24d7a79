"""The routes that create entities: POST on the plural of a kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from dyff.accounts.authority import Principal
from dyff.api import auth, bodies, checks, documents, positions, publishing, references, tags
from dyff.api.calls import Call, Reply
from dyff.api.context import Context
from dyff.api.route import Other, Route
from dyff.entities import answers, codecs, identity, kind, registry, statuses
from dyff.kernel import errors, ids
from dyff.kernel.positions import Position

DIGEST = "dyff.io/request-digest"
"""The annotation that distinguishes a repetition with the same Idempotency-Key from a different request."""


def routes(context: Context) -> list[Route]:
    """Return the routes of all kinds that users can create."""
    return [Creating(context, row, row.creation).route() for row in registry.ROWS if row.creation is not None]


class Creating:
    """Creates entities of one kind."""

    def __init__(
        self,
        context: Context,
        row: kind.Kind,
        creation: kind.Creation,
        complete: Callable[[Any, datetime], Any] = lambda request, _: request,
    ) -> None:
        """`creation`: that of `row`. `complete(request, now)`: fills in what the server decides where the request leaves it open."""
        self._context = context
        self._row, self._creation = row, creation
        self._complete = complete
        self._resource = row.plural
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(creation.request)

    def route(self) -> Route:
        """POST on the plural."""
        refers = self._creation.references is not kind.no_references
        return Route(
            method="POST", path=f"/v0/{self._resource}", answer=self.answer, group=self._resource, operation="create",
            summary=f"Create: {self._creation.request.__doc__}", body=self._creation.request, answers=self._row.entity,
            returns=f"the new {self._row.name}", status=201, express=True, gives_position=True, takes_key=True,
            conflict="something that it refers to has failed, or was terminated or deleted" if refers else None,
            others={
                **({404: Other("something that it refers to does not exist", answers.Problem)} if refers else {}),
                410: Other("what was created with the idempotency key was deleted", answers.Problem),
            },
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the whole new entity, once the command that creates it is durable."""
        body, headers = await self.create(call)
        return Reply(201, body, headers)

    async def create(self, call: Call) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """Create the entity; returns it as JSON, and the headers of the answer."""
        auth.require_any(call.principal, self._resource, "create")
        body = await call.body()
        large = len(body) > bodies.IN_A_THREAD_BYTES
        request: Any = await self._context.threads.run(bodies.decode, self._decoder, body, apart=large)
        auth.require(call.principal, self._resource, "create", account=request.account)
        call.about.account = request.account
        now, rules = self._context.services.clock.now(), self._creation.checks
        facts = checks.Facts(now, await self._context.schemas.verdicts(checks.schemas(request, rules)))
        await self._context.threads.run(checks.check, request, rules, facts, apart=large or checks.has_pipelines(request, rules))
        request = self._complete(checks.with_reduced(request, rules, facts.schemas), now)
        key = publishing.idempotency_key(call)
        if key is None:
            names = self._context.services.ids
            entity, position = await self._publish(call, request, names.new(), names.new(), now, None, large=large)
            return entity, (positions.header(position),)
        return await self._create_once(call, request, key, hashlib.sha256(body).hexdigest(), now, large=large)

    async def _publish(
        self, call: Call, request: Any, entity_id: str, command_id: str, now: datetime, digest: str | None, *, large: bool
    ) -> tuple[bytes, Position]:
        call.entity = entity_id
        request, given, embedded = await self._resolved(call.principal, request)

        def build() -> tuple[codecs.Json, bytes]:
            entity = tags.annotated(self._row.create(request, embedded, entity_id, now), given)
            if digest is not None:
                entity["annotations"].append({"key": DIGEST, "value": digest})
            return entity, codecs.encode(entity)

        apart = large or references.size_bytes(embedded) > bodies.IN_A_THREAD_BYTES
        entity, encoded = await self._context.threads.run(build, apart=apart)
        publishing = self._context.publishing
        return encoded, await publishing.create(call.principal, entity, encoded, command_id, repeatable=digest is not None)

    async def _resolved(self, principal: Principal, request: Any) -> tuple[Any, tags.Given, identity.Embedded]:
        """The request with IDs in place of tags, what it said before, and what it refers to."""
        given: dict[str, str] = {}
        embedded: identity.Embedded = {}
        known, resolve = self._context.tags.resolved, self._context.references.resolve
        for found in (lambda asked, _: self._creation.references(asked), self._creation.further):
            request, said = await known(principal, request, found(request, embedded))
            given |= said
            embedded |= await resolve(principal, found(request, embedded))
        embedded |= await self._context.references.wholes(principal, self._creation.wholes(request, embedded))
        return request, given, embedded

    async def _create_once(
        self, call: Call, request: Any, key: str, digest: str, now: datetime, *, large: bool
    ) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """Create with IDs that are derived from the key: the log then has at most one creation, however often the request is repeated.

        Raises:
            InvalidFields: the key was used with another body.
            Gone: the entity that was created with the key was deleted.
        """
        parts = (call.principal.claims.subject, self._resource, key)
        call.entity = entity_id = ids.derived("entity", *parts)
        known = await self._known(entity_id, digest)
        if known is not None:
            return known, ()
        if await self._context.documents.is_forgotten(self._row, entity_id):
            raise self._gone(entity_id)
        entity, position = await self._publish(call, request, entity_id, ids.derived("create", *parts), now, digest, large=large)
        # Another request with this key may have come first in the meantime. The fold keeps that one, so it is the answer.
        folded = await self._known(entity_id, digest) if await self._context.positions.reaches(position) else None
        return folded or entity, (positions.header(position),)

    async def _known(self, entity_id: str, digest: str) -> bytes | None:
        document = await self._context.documents.find(self._row, entity_id)
        if document is None:
            return None
        if documents.summary(document).status == statuses.DELETED:
            raise self._gone(entity_id)
        annotations = codecs.decode_object(document).get("annotations") or []
        if {"key": DIGEST, "value": digest} not in annotations:
            fix = f"the key was used for another request, which created {entity_id}; use a new key for a new request"
            raise errors.InvalidFields(errors.Problem(("header", "Idempotency-Key"), fix))
        return document

    def _gone(self, entity_id: str) -> errors.Gone:
        made = f"the {self._row.name} {entity_id}, which was created with this Idempotency-Key, was deleted"
        return errors.Gone(f"{made}; use a new key to create another one")
