"""The routes for files: upload and finalize for the kinds that accept files, downlinks for those that provide files."""

from __future__ import annotations

import anyio
import msgspec

from dyff.api import artifacts, contents, positions
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Other, Parameter, Route
from dyff.api.routes.entities import follow, status
from dyff.entities import answers, codecs, kind, registry, statuses
from dyff.kernel import backoff, errors
from dyff.objects import layout, manifests

INCOMPLETE = "incomplete"
_INCOMPLETE = Parameter(
    "true: also what a failed run has completed; the answer is then what there is, and not all that was requested",
    {"type": "boolean", "default": False},
)
_NOT_WAITING = "it does not wait for uploads"
_FIRST_LOOK_S, _LOOK_S = 0.02, 0.5
"""The pauses between looks at an entity whose files are being sealed, the first and the longest."""


def routes(context: Context) -> list[Route]:
    """Return the routes of the kinds that accept or provide files."""
    found = []
    for row in registry.ROWS:
        if row.upload is not None:
            found += Uploads(context, row, row.upload).routes()
        if row.download is not None:
            found.append(Downloads(context, row, row.download).route())
    return found


class Uploads:
    """Uploads to entities of one kind."""

    def __init__(self, context: Context, row: kind.Kind, upload: kind.Upload) -> None:
        """`upload`: that of `row`."""
        self._context, self._row, self._accepted = context, row, upload
        self._contents = contents.Contents(context.services.objects)

    def routes(self) -> list[Route]:
        """Return the routes to upload and to finalize."""
        one = f"/v0/{self._row.plural}/{{id:str}}"
        return [
            Route(
                method="GET", path=f"{one}/upload/{{path:path}}", answer=self.upload, group=self._row.plural, operation="upload",
                summary="A URL to which one declared file can be put", answers=answers.SignedURL,
                returns="url, method, headers (all must be sent)", headers={"Dyff-Uploaded": "true: the file has arrived already"},
                others={400: Other("no such file was declared", answers.Problem)}, conflict=_NOT_WAITING,
            ),
            Route(
                method="POST", path=f"{one}/finalize", answer=self.finalize, group=self._row.plural, operation="finalize",
                summary="Say that all declared files are uploaded; checks them, and a dataset's schema and rows, and closes the upload",
                answers=answers.Status, returns="its status", gives_position=True, conflict=f"{_NOT_WAITING}, or a file is another one",
                others={
                    400: Other("some files were not uploaded", answers.Problem),
                    422: Other("what was uploaded does not fit the schema", answers.FieldProblems),
                },
            ),
        ]  # fmt: skip

    async def upload(self, call: Call) -> Reply:
        """Return a signed URL that accepts exactly the declared bytes. `Dyff-Uploaded: true` says that the store has them already."""
        entity = await self._entity(call, "create")
        artifacts.require_uploading(entity)
        wanted = artifacts.the_declared(entity, self._accepted.files(entity), call.path["path"].lstrip("/"))
        if wanted.size is None:
            await self._context.quotas.require_room(entity["account"])
        limit = artifacts.MAX_UPLOAD_BYTES if wanted.size is None else wanted.size
        objects, key = self._context.services.objects, self._staging(entity) + wanted.path
        url = await objects.sign("PUT", key, expires_s=artifacts.URL_LIFE_S, md5=wanted.md5, limit_bytes=limit)
        info = await objects.head(key)
        is_there = info is not None and info.md5 == wanted.md5
        url = self._context.services.reachable(url, call.base)
        return json(msgspec.to_builtins(url), headers=[("dyff-uploaded", "true")] if is_there else [])

    async def finalize(self, call: Call) -> Reply:
        """Check the uploaded files and close the upload. Repeating it returns the current status.

        The rest is sealing, which the orchestrator does (ADR 18). The answer waits for its end, but not longer than the setting
        `api.finalize_wait_s`.
        """
        entity = await self._entity(call, "create")
        files = self._accepted.files(entity)
        if files and entity["status"] == self._row.success:
            return json(status(entity))
        headers = []
        if not (files and _is_finalizing(entity)):
            artifacts.require_uploading(entity)
            # Releases before ADR 18 took files to where readers read. An upload can have begun under one of them.
            prefixes = (self._staging(entity), layout.root(self._row.collection, entity["id"]))
            found = await artifacts.collect(self._context.services, prefixes, files)
            await self._context.quotas.upload(entity, {each.path: each.size for each in found.artifacts})
            if self._accepted.contents == "arrow":
                await self._contents.check(entity, found)
            publishing = self._context.publishing
            entity, position = await publishing.set_status(call.principal, entity, statuses.WAITING_FOR_UPLOAD, statuses.FINALIZING)
            headers.append(positions.header(position))
        return json(status(await self._sealed(entity)), headers=headers)

    async def _sealed(self, entity: codecs.Json) -> codecs.Json:
        """Return the entity when its files are sealed, or as it is after the setting `api.finalize_wait_s`."""
        pauses = backoff.delays(_FIRST_LOOK_S, factor=1.5, ceiling_s=_LOOK_S)
        with anyio.move_on_after(self._context.services.settings.finalize_wait_s):
            while _is_finalizing(entity):
                await anyio.sleep(next(pauses))
                document = await self._context.services.query.get(self._row.plural, entity["id"])
                if document is None:
                    break
                entity = codecs.decode_object(document)
        return entity

    async def _entity(self, call: Call, function: str) -> codecs.Json:
        return await self._context.documents.entity(call.principal, self._row, call.path["id"], function)

    def _staging(self, entity: codecs.Json) -> str:
        return layout.staging(self._row.plural, entity["id"])


def _is_finalizing(entity: codecs.Json) -> bool:
    return entity["status"] == statuses.WAITING_FOR_UPLOAD and entity.get("reason") == statuses.FINALIZING


class Downloads:
    """Downloads from entities of one kind."""

    def __init__(self, context: Context, row: kind.Kind, download: kind.Download) -> None:
        """`download`: that of `row`."""
        self._context, self._row, self._provided = context, row, download

    def route(self) -> Route:
        """Return the route for download links."""
        return Route(
            method="GET", path=f"/v0/{self._row.plural}/{{id:str}}/downlinks", answer=self.downlinks, group=self._row.plural,
            operation="downlinks", summary="URLs from which its files can be fetched", answers=list[answers.Downlink],
            returns="a list of artifact and signedURL", takes_position=True, conflict="it has no data (yet, or any more)",
            query={INCOMPLETE: _INCOMPLETE} if self._provided.incomplete else {},
        )  # fmt: skip

    async def downlinks(self, call: Call) -> Reply:
        """Return links only to files that a manifest names: those that were uploaded and checked, or verified.

        With `incomplete=true`: those that a failed run completed, unless all are there.
        """
        wants_incomplete = self._provided.incomplete and _flag(call, INCOMPLETE)
        await follow(self._context, call)
        entity = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        services, root = self._context.services, layout.root(self._row.collection, entity["id"])
        manifest = None
        try:
            if entity["status"] != statuses.DELETED:
                manifest = await manifests.read(services.objects, root)
                if manifest is None and wants_incomplete:
                    manifest = await manifests.read(services.objects, root, layout.INCOMPLETE)
        except errors.Misconfigured as error:  # it was checked before it was stored
            raise errors.Damaged(f"{error.message}; restore it from a backup") from error
        if manifest is None:
            hint = f"; what a failed run completed is served with ?{INCOMPLETE}=true" if self._offers(entity, wants_incomplete) else ""
            raise errors.WrongStatus(f"the {self._row.name} {entity['id']} has no data to fetch: its status is {entity['status']}{hint}")
        return json(await artifacts.links(services, manifest, call.base))

    def _offers(self, entity: codecs.Json, wants_incomplete: bool) -> bool:
        return self._provided.incomplete and not wants_incomplete and entity["status"] == statuses.FAILED


def _flag(call: Call, name: str) -> bool:
    """Return the value of a query parameter that is `true` or `false`; absent means false. Others are ignored, as they always were."""
    values = [value for key, value in call.query() if key == name]
    if any(value not in ("true", "false") for value in values):
        raise errors.InvalidFields(errors.Problem(("query", name), "must be true or false"))
    return "true" in values
