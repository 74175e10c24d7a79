"""The routes to data: upload and finalize (datasets, models), downlinks (those and evaluations)."""

from __future__ import annotations

import msgspec

from dyff.api import artifacts, contents, positions
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.api.routes.entities import follow, status
from dyff.entities import codecs, kinds, statuses
from dyff.kernel import errors
from dyff.objects import layout, manifests

_UPLOADED = ("Dataset", "Model")


def routes(context: Context) -> list[Route]:
    """For the kinds that have data."""
    found = []
    for kind in _UPLOADED:
        group = Artifacts(context, kinds.BY_KIND[kind])
        found += [*group.upload_routes(), group.downlinks_route()]
    return [*found, Artifacts(context, kinds.BY_KIND["Evaluation"], outputs=True).downlinks_route()]


class Artifacts:
    """One kind's data."""

    def __init__(self, context: Context, row: kinds.EntityKind, *, outputs: bool = False) -> None:
        """`outputs`: the data is what its run made, not what its owner uploads."""
        self._context = context
        self._row = row
        self._collection = "outputs" if outputs else row.plural
        self._contents = contents.Contents(context.services.objects)

    def upload_routes(self) -> list[Route]:
        """Upload and finalize."""
        one = f"/v0/{self._row.plural}/{{id:str}}"
        return [
            Route(
                method="GET", path=f"{one}/upload/{{path:path}}", answer=self.upload, group=self._row.plural,
                summary="A URL to which one declared file can be put", returns="url, method, headers (all must be sent)",
            ),
            Route(
                method="POST", path=f"{one}/finalize", answer=self.finalize, group=self._row.plural,
                summary="Say that all declared files are uploaded; checks their digests, and a dataset's schema and rows", returns="Status",
            ),
        ]  # fmt: skip

    def downlinks_route(self) -> Route:
        """Downlinks."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/downlinks", answer=self.downlinks, group=self._row.plural,
            summary="URLs from which its files can be fetched", returns="list of artifact and signedURL",
        )  # fmt: skip

    async def upload(self, call: Call) -> Reply:
        """A signed URL that takes exactly the declared bytes. `Dyff-Uploaded: true`: they have arrived already."""
        entity = await self._entity(call, "create")
        artifacts.require_uploading(entity)
        wanted = artifacts.the_declared(entity, call.path["path"].lstrip("/"))
        limit = artifacts.MAX_UPLOAD_BYTES if wanted.size is None else wanted.size
        objects, key = self._context.services.objects, self._root(entity) + wanted.path
        url = await objects.sign("PUT", key, expires_s=artifacts.URL_LIFE_S, md5=wanted.md5, limit_bytes=limit)
        info = await objects.head(key)
        is_there = info is not None and info.md5 == wanted.md5
        return json(msgspec.to_builtins(url), headers=[("dyff-uploaded", "true")] if is_there else [])

    async def finalize(self, call: Call) -> Reply:
        """Repeating it tells the status that there is."""
        entity = await self._entity(call, "create")
        if entity["status"] == statuses.READY and artifacts.declared(entity):
            return json(status(entity))
        artifacts.require_uploading(entity)
        services, root = self._context.services, self._root(entity)
        manifest = await artifacts.collect(services, root, artifacts.declared(entity))
        if self._row.kind == "Dataset":
            await self._contents.check(entity, manifest)
        await manifests.write(services.objects, root, manifest)
        after, position = await self._context.publishing.set_status(call.principal, entity, statuses.READY, None)
        return json(status(after), headers=[positions.header(position)])

    async def downlinks(self, call: Call) -> Reply:
        """Only what a manifest names: what was uploaded and checked, or verified."""
        await follow(self._context, call)
        entity = await self._entity(call, "data")
        services = self._context.services
        manifest = None if entity["status"] == statuses.DELETED else await manifests.read(services.objects, self._root(entity))
        if manifest is None:
            raise errors.WrongStatus(f"the {self._row.kind} {entity['id']} has no data to fetch: its status is {entity['status']}")
        return json(await artifacts.links(services, manifest))

    async def _entity(self, call: Call, function: str) -> codecs.Json:
        return await self._context.documents.entity(call.principal, self._row, call.path["id"], function)

    def _root(self, entity: codecs.Json) -> str:
        return layout.root(self._collection, entity["id"])
