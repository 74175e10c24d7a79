"""The page of a safety case, the same content as JSON, and its author's document apart from both (ADR 42).

Everybody sees what is published, others what their token grants. All others get the answer for a case that does not exist.
"""

from __future__ import annotations

from typing import Any

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import evidence, preconditions, tagged
from dyff.api.calls import Call, Reply
from dyff.api.comparisons.others import Others
from dyff.api.context import Context
from dyff.api.documents import check_whole
from dyff.api.dossiers import counting, dossier
from dyff.api.pages import documents, rendering
from dyff.api.route import Other, Route
from dyff.api.routes.entities import follow
from dyff.entities import codecs, dossiers, kind, registry
from dyff.kernel import errors, ids, web_addresses
from dyff.objects import layout, manifests

HTML = "text/html"
_GUARDED = {
    "Content-Security-Policy": "what a browser may do with it",
    **{name: "for browsers" for name, _ in (*rendering.COMMON, rendering.OPENER)},
}


def _others(headers: dict[str, str]) -> dict[int, Other]:
    return {
        304: Other("what the header If-None-Match names is still right", headers={**headers, **tagged.TAGGED}),
        412: Other("the header If-Match names another content", headers={**headers, **tagged.TAGGED}),
    }


def routes(context: Context) -> list[Route]:
    """Return the routes of the kinds that have a page."""
    return [route for row in registry.ROWS if row.page is not None for route in Pages(context, row, row.page).routes()]


class Pages:
    """The pages of one kind."""

    def __init__(self, context: Context, row: kind.Kind, document: str) -> None:
        """`document`: the path of the author's document in the data of an entity."""
        self._context, self._row, self._document = context, row, document
        self._counting = counting.Counting(context)
        self._others = Others(context.services.query, context.compared, context.comparing)
        self._headers = (("content-security-policy", rendering.policy()), *rendering.COMMON, rendering.OPENER)

    def routes(self) -> list[Route]:
        """Return the routes: the page, the document, the content as JSON."""
        row = self._row
        common: dict[str, Any] = {"method": "GET", "group": row.plural, "anonymous": True, "takes_position": True}
        missing = Other("there is no such page, or the caller may not see it", media_type=HTML, headers={**_GUARDED, **tagged.CACHED})
        pages: dict[str, Any] = {
            **common, "media_type": HTML, "returns": "a page", "headers": {**_GUARDED, **tagged.TAGGED},
            "others": {404: missing, **_others(_GUARDED)},
        }  # fmt: skip
        return [
            Route(
                path=f"/v0/{row.plural}/{{id:str}}/dossier", answer=self.dossier, operation="dossier", answers=dossiers.Dossier,
                summary="What its page shows: the claim, the scores, what they rest on, and what is not shown",
                returns="the dossier; of what is public, without a token", headers=tagged.TAGGED, others=_others({}), **common,
            ),
            Route(
                path=f"/{row.plural}/{{id:str}}", answer=self.page, operation="page",
                summary="Its page, for people; of what is public, without a token", **pages,
            ),
            Route(
                path=f"/{row.plural}/{{id:str}}/document", answer=self.document, operation="document",
                summary="The document of its author, in a sandbox", **pages,
            ),
        ]  # fmt: skip

    async def dossier(self, call: Call) -> Reply:
        """Return the dossier."""
        found = await self._dossier(call, await self._entity(call))
        return tagged.reply(call, codecs.encode(found))

    async def page(self, call: Call) -> Reply:
        """Return the page; one for people also if there is nothing to see."""
        try:
            entity = await self._entity(call)
        except errors.NotFound:
            return await self._missing(call)
        found = await self._dossier(call, entity)
        body = await self._context.threads.run(lambda: rendering.case(found, root=self._root()), apart=True)
        return tagged.reply(call, body, self._headers, HTML)

    async def document(self, call: Call) -> Reply:
        """Return the author's document in a sandbox that gives it nothing."""
        try:
            artifact = await self._artifact(await self._entity(call))
        except errors.NotFound:
            artifact = None
        if artifact is None:
            return await self._missing(call)
        tag = f'"{artifact.digest.get("sha256") or artifact.digest.get("md5")}"'
        headers = (("content-security-policy", rendering.DOCUMENT_POLICY), *rendering.COMMON, ("etag", tag), *tagged.caching(call))
        status = preconditions.status(tag, call.joined(b"if-match"), call.joined(b"if-none-match"))
        if status is not None:
            return Reply(status, b"", headers, HTML)
        body = documents.served(self._context.services.objects.stream(artifact.key))
        return Reply(200, body, headers, f"{HTML}; charset=utf-8")

    async def _missing(self, call: Call) -> Reply:
        body = await self._context.threads.run(rendering.missing, apart=True)
        return Reply(404, body, (*self._headers, *tagged.caching(call)), f"{HTML}; charset=utf-8")

    async def _dossier(self, call: Call, entity: codecs.Json) -> dossiers.Dossier:
        gathered = await self._context.evidence.gathered(entity, call.principal_or_none, files=False)
        counted = await self._counting.of(gathered)
        page, data = f"{self._root()}{self._row.plural}/{entity['id']}", f"{self._root()}v0/{self._row.plural}/{entity['id']}"
        document = f"{page}/document" if await self._artifact(entity) is not None else None
        others = await self._others.of(entity, call.principal_or_none) if entity["status"] == self._row.success else None
        return dossier.of(gathered, counted, dossier.Places(page=page, data=data, notebook=document), others)

    async def _artifact(self, entity: codecs.Json) -> manifests.Artifact | None:
        """The author's document; None if there is none, or its data is deleted."""
        if entity["status"] != self._row.success:
            return None
        manifest = await manifests.read(self._context.services.objects, layout.root(self._row.collection, entity["id"]))
        return next((each for each in manifest.artifacts if each.path == self._document), None) if manifest is not None else None

    async def _entity(self, call: Call) -> codecs.Json:
        """The entity, if the caller may see its page.

        Raises:
            NotFound: there is none, or the caller may not see it; the answer is the same.
            NotReady: it is not known yet whether there is one.
            Unavailable: the view has only a part of it.
        """
        await follow(self._context, call)
        entity_id, principal, row = call.path["id"], call.principal_or_none, self._row
        entity = await self._readable(entity_id, principal)
        if entity is None and principal is not None and grants.allows_some(principal.grants, row.plural, "get"):
            if not await self._context.positions.reaches_end(entity_id):  # also if there is one that is not for this caller
                raise errors.NotReady("whether there is such a page is not known yet: the view is behind the log; try again")
            entity = await self._readable(entity_id, principal)
        if entity is None:
            raise errors.NotFound(f"there is no {row.name} with the ID {entity_id[:64]} that you may see; a token may be needed")
        check_whole(entity)
        return entity

    async def _readable(self, entity_id: str, principal: Principal | None) -> codecs.Json | None:
        document = await self._context.services.query.get(self._row.plural, entity_id) if ids.is_id(entity_id) else None
        entity = None if document is None else codecs.decode_object(document)
        return entity if entity is not None and evidence.may_read(principal, entity) else None

    def _root(self) -> str:
        return "/" + web_addresses.prefix(self._context.services.settings.public_url).lstrip("/")
