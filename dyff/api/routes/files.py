"""Stable addresses of stored data: the manifest of an entity, and each of its files. What other documents name leads here."""

from __future__ import annotations

from typing import Any

from dyff.api import artifacts
from dyff.api.calls import JSON, Call, Reply
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.api.routes.entities import follow
from dyff.entities import codecs, kind, registry, statuses
from dyff.kernel import errors, suggestions
from dyff.objects import layout, manifests


def routes(context: Context) -> list[Route]:
    """Return the routes of the kinds that provide files."""
    return [route for row in registry.ROWS if row.download is not None for route in Files(context, row).routes()]


class Files:
    """The files of entities of one kind."""

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: of a kind with downloads."""
        self._context, self._row = context, row

    def routes(self) -> list[Route]:
        """Return the routes to the manifest and to a file."""
        one, row = f"/v0/{self._row.plural}/{{id:str}}", self._row
        common: dict[str, Any] = {
            "method": "GET", "group": row.plural, "takes_position": True, "basic": True, "conflict": "it has no data (yet, or any more)",
        }  # fmt: skip
        return [
            Route(
                path=f"{one}/manifest", answer=self.manifest, operation="manifest",
                summary="What is stored of it, byte for byte: each file with its size and its SHA-256", answers=dict[str, Any],
                returns="the manifest, whose own SHA-256 identifies all of the data", **common,
            ),
            Route(
                path=f"{one}/files/{{path:path}}", answer=self.file, operation="file", status=307,
                summary="The stable address of one of its files", returns="where the file is now",
                headers={"Location": "a signed URL that works for an hour", "Cache-Control": "no-store"}, **common,
            ),
        ]  # fmt: skip

    async def manifest(self, call: Call) -> Reply:
        """Return the bytes of the manifest, of which runs record the digest."""
        entity = await self._entity(call)
        objects, key = self._context.services.objects, layout.root(self._row.collection, entity["id"]) + layout.ARTIFACTS
        info = await objects.head(key)
        if info is None:
            raise self._no_data(entity)
        return Reply(200, objects.stream(key), (("content-length", str(info.size_bytes)),), JSON)

    async def file(self, call: Call) -> Reply:
        """Redirect to a signed URL of one file, which needs no token."""
        entity = await self._entity(call)
        manifest = await stored(self._context, self._row, entity)
        if manifest is None:
            raise self._no_data(entity)
        wanted = call.path["path"].lstrip("/")
        found = next((each for each in manifest.artifacts if each.path == wanted), None)
        if found is None:
            near = suggestions.nearest(wanted, (each.path for each in manifest.artifacts))
            meant = "" if near is None else f"; did you mean {near!r}?"
            raise errors.NotFound(f"the {self._row.name} {entity['id']} has no file {wanted[:200]!r}{meant}")
        services = self._context.services
        url = await services.objects.sign("GET", found.key, expires_s=artifacts.URL_LIFE_S, md5=found.digest.get("md5"))
        return Reply(307, b"", (("location", services.reachable(url, call.base).url), ("cache-control", "no-store")))

    async def _entity(self, call: Call) -> codecs.Json:
        await follow(self._context, call)
        entity = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        if entity["status"] == statuses.DELETED:
            raise self._no_data(entity)
        return entity

    def _no_data(self, entity: codecs.Json) -> errors.DyffError:
        return errors.WrongStatus(f"the {self._row.name} {entity['id']} has no data to fetch: its status is {entity['status']}")


async def stored(context: Context, row: kind.Kind, entity: codecs.Json) -> manifests.Manifest | None:
    """The manifest of an entity's data; None if there is none (yet, or any more).

    Raises:
        Damaged: it cannot be read.
    """
    if entity["status"] == statuses.DELETED:
        return None
    try:
        return await manifests.read(context.services.objects, layout.root(row.collection, entity["id"]))
    except errors.Misconfigured as error:  # it was checked before it was stored
        raise errors.Damaged(f"{error.message}; restore it from a backup") from error
