"""Operations that groups of resources share: create, get, query, labels, documentation, deletion, waiting, logs, files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar, cast

from dyff.entities import statuses
from dyff.entities.kind import Kind
from dyff.sdk import (
    arguments,
    display,
    downloads,
    errors,
    interruptions,
    listing,
    models,
    relations,
    requests,
    rows,
    sent,
    transport,
    uploads,
)
from dyff.sdk.calls import Awaited, S, iteration, operation

E = TypeVar("E", bound=models.Entity)
R = TypeVar("R", bound=Mapping[str, Any])


FIRST_POLL_S = 0.05
MAX_POLL_S = 1.0
FINALIZE_S = 24 * 3600.0
"""How long an upload waits until the server has sealed its files, which takes time in proportion to their size."""
LOG_POLL_S = 1.0
LOG_LINES = 10_000
LOG_OVERLAP_S = 60.0
"""Lines of a pod can arrive this late. Lines from this period are fetched again, and each is reported once."""


class Group(rows.Listed[S], relations.Surrounded[S], Generic[S, E]):
    """The operations on one kind of resource. Created by the client; do not create one yourself."""

    def __init__(self, http: transport.Transport, row: Kind, *, is_blocking: bool) -> None:
        """`row`: the kind, whose `entity` is the type to which answers are decoded."""
        self._http, self._row, self._is_blocking = http, row, is_blocking
        self._plural, self._form = row.plural, cast("type[E]", row.entity)

    def _path(self, entity_id: str, rest: str = "") -> str:
        """The path of one entity, followed by `rest`.

        Raises:
            TypeError, ValueError: it is no ID. One that is empty would mean all entities.
        """
        return transport.path(self._plural, arguments.identifier(entity_id), *(rest.split("/") if rest else []))

    @property
    def _all(self) -> str:
        """The path of all entities."""
        return transport.path(self._plural)

    @operation
    async def get(self, id: str) -> E:  # noqa: A002  published name
        """Return the current state of the entity, including everything that this client has done.

        Raises:
            Missing: the entity does not exist.

        Example:
            `client.datasets.get(dataset.id).status`
        """
        return models.read(await self._http.call("GET", self._path(id)), self._form)

    @operation
    async def query(
        self,
        /,
        *,
        query: sent.Query | None = None,
        labels: Mapping[str, str] | None = None,
        order_by: str | None = None,
        order: Literal["ascending", "descending"] | None = None,
        limit: int | None = None,
        after: tuple[Any, str] | None = None,
        **keys: str | Sequence[str] | None,
    ) -> list[E]:
        """Return all entities that match. `keys`: `id`, `account`, `status`, `reason`, `name` and the keys of the kind.

        A key for which one of several values is enough takes a list, such as `inputs` of measurements.

        `query`: keys and the values that they must have; a list means "one of". `order`: `ascending` or `descending`, with
        `order_by`. `after`: (value of the order field, ID): only entities after that one.

        Raises:
            BadRequest: a key is unknown; the nearest known one is named.

        Example:
            `client.evaluations.query(account="me", status="Complete", order_by="creationTime", order="descending", limit=10)`
        """
        given: dict[str, Any] = {"query": query, "labels": labels, "order_by": order_by, "order": order, "limit": limit, "after": after}
        return listing.read(await self._http.call("GET", self._all, params=self._params(given, keys)), self._form)

    @iteration
    async def pages(self: Group[Awaited, E], /, *, page: int = rows.PAGE, **keys: Any) -> AsyncIterator[E]:
        """Iterate over all entities that match, oldest first, fetched `page` at a time. `keys`: the arguments of `query`.

        Example:
            `for evaluation in client.evaluations.pages(account="me"): ...`
        """
        after: tuple[Any, str] | None = None
        while True:
            found = await self.query(**keys, order_by="creationTime", order="ascending", limit=page, after=after)
            for each in found:
                yield each
            if len(found) < page:
                return
            after = (found[-1].creationTime, found[-1].id)

    @operation
    async def label(self, id: str, labels: Mapping[str, str | None]) -> None:  # noqa: A002
        """Set labels; a value of None removes the label.

        Example:
            `client.datasets.label(dataset.id, {"purpose": "red-team"})`
        """
        await self._http.call("PATCH", self._path(id, "labels"), body={"labels": arguments.mapping(labels, "labels")})

    @operation
    async def publish(self: Group[Awaited, E], id: str, access: Literal["public", "preview", "private"]) -> None:  # noqa: A002
        """Set who can see it: `public`, `preview` (those who already have access), or `private`.

        Example:
            `client.evaluations.publish(evaluation.id, "preview")`
        """
        values: dict[str, str | None] = {"public": "public", "preview": "internal", "private": None}
        await self.label(id, {"dyff.io/access": values[arguments.choice(access, "access", list(values))]})

    @operation
    async def documentation(self, id: str) -> models.Documentation:  # noqa: A002
        """Return its documentation.

        Example:
            `client.datasets.documentation(dataset.id).title`
        """
        return models.read(await self._http.call("GET", self._path(id, "documentation")), models.Documentation)

    @operation
    async def edit_documentation(
        self,
        id: str,  # noqa: A002
        edit_request: requests.DocumentationEditRequest
        | requests.DocumentationPatch
        | requests.ClaimEditRequest
        | requests.ClaimPatch
        | sent.Other,
    ) -> models.Documentation:
        """Set `title`, `summary` or `fullPage`, of a safety case also what it claims: `claim`, `scope`, `assumptions`, `limits`,
        `evaluators` and `relationship`. None removes a text; texts that are not given stay as they are.

        Example:
            `client.datasets.edit_documentation(dataset.id, {"title": "Prompts"})`
        """
        edit = sent.plain(edit_request, nulls=True, name="edit_request")
        body = edit if "documentation" in edit else {"documentation": edit}
        answer = await self._http.call("PATCH", self._path(id, "documentation"), body=body)
        texts = answer if self._row.documentation == "separate" else answer["metadata"]["documentation"]
        return models.read(texts, models.Documentation)

    @operation
    async def delete(self, id: str) -> models.Status:  # noqa: A002
        """Delete it for good; returns its status.

        Example:
            `client.datasets.delete(dataset.id)`
        """
        return models.read(await self._http.call("PUT", self._path(id, "delete")), models.Status)

    @operation
    async def progress(self, id: str) -> models.Progress | None:  # noqa: A002
        """Return the progress of its run; None if it is not known (yet).

        Example:
            `client.evaluations.progress(evaluation.id)`
        """
        try:
            answer = await self._http.call("GET", self._path(id, "progress"))
        except errors.Missing:
            return None
        return models.read(answer, models.Progress) if answer else None

    @operation
    async def wait(self: Group[Awaited, E], id: str, *, timeout_s: float = 600.0, progress: bool = True) -> E:  # noqa: A002
        """Wait until it has succeeded; returns the entity. Shows the progress unless `progress` is False.

        Ctrl-C stops the waiting, not the workflow.

        Raises:
            WorkflowFailed: it ended without success; the error says why.
            WaitTimeout: it has not ended within `timeout_s` seconds; it continues.

        Example:
            `client.evaluations.wait(evaluation.id, timeout_s=1800)`
        """
        return await self._wait(id, _has_succeeded, timeout_s, progress)

    async def _wait(
        self: Group[Awaited, E],
        id: str,  # noqa: A002
        is_there: Callable[[E], Awaitable[bool]],
        timeout_s: float,
        progress: bool,
    ) -> E:
        end, pause = time.monotonic() + timeout_s, FIRST_POLL_S
        line = f"  no longer waiting; {self._row.name} {id} continues: client.{self._plural}.wait({id!r}) waits again"
        with display.choose(progress) as shown, interruptions.Explained(line, shown.say if progress else None):
            while True:
                entity = await self.get(id)
                shown.show(entity, await self.progress(id) if progress and not statuses.is_terminal(entity.status) else None)
                if await is_there(entity):
                    return entity
                if statuses.is_terminal(entity.status):
                    raise errors.WorkflowFailed(entity)
                if time.monotonic() > end:
                    last = await self.progress(id)
                    raise errors.WaitTimeout(entity, timeout_s, last.message if last else None)
                await self._http.io.sleep(pause)
                pause = min(pause * 1.5, MAX_POLL_S)


class Creatable(Group[S, E], Generic[S, E, R]):
    """A group whose `create` returns the entity. `R`: the type of the request, from `dyff.sdk.requests`."""

    @operation
    async def create(self, request: R | sent.Other, *, idempotency_key: str | None = None) -> E:
        """Create an entity; returns it as created. A call without an answer is retried automatically, which is safe.

        `idempotency_key`: at most 255 characters. Another call with the same key and the same request returns the same entity. None for
        an entity of its own.

        Raises:
            BadRequest: some fields are wrong; each is named with the fix.
            Missing: the entity that was created with this key was deleted.

        Example:
            `client.inferenceservices.create({"account": "me", "name": "mine", "runner": runner, "interface": interface})`
        """
        return models.read(await self._http.call("POST", self._all, body=sent.plain(request), key=idempotency_key), self._form)


class Logged(Group[S, E]):
    """A group of entities that run pods."""

    @operation
    async def workflow_logs(self, id: str, *, since: str | None = None, limit: int = 1000) -> models.WorkflowLogs:  # noqa: A002
        """Return the last lines that the workflow's pods wrote, oldest first. `since`: a period such as `30m`, `1h` or `2d`, or a time.

        Example:
            `for line in client.evaluations.workflow_logs(evaluation.id).logs: print(line.message)`
        """
        answer = await self._http.call("GET", self._path(id, "logs/workflow"), params={"since": since, "limit": limit})
        return models.read(answer, models.WorkflowLogs)

    @iteration
    async def stream_workflow_logs(self: Logged[Awaited, E], /, id: str) -> AsyncIterator[models.LogEntry]:  # noqa: A002
        """Iterate over the lines that the workflow's pods write, as they come, until the workflow has ended.

        Example:
            `for line in client.evaluations.stream_workflow_logs(evaluation.id): print(line.message)`
        """
        reported: Counter[models.LogEntry] = Counter()
        asked: float | None = None
        while True:
            is_over = statuses.is_terminal((await self.get(id)).status)
            now = time.monotonic()
            since = None if asked is None else f"{int(now - asked + LOG_OVERLAP_S)}s"
            lines = (await self.workflow_logs(id, since=since, limit=LOG_LINES)).logs
            asked = now
            for line, count in Counter(lines).items():
                for _ in range(count - reported[line]):
                    yield line
            reported = Counter(lines)
            if is_over:
                return
            await self._http.io.sleep(LOG_POLL_S)


class Downloadable(Group[S, E]):
    """A group of entities with files to download."""

    @operation
    async def downlinks(self, id: str) -> list[models.Downlink]:  # noqa: A002
        """Return its artifacts, each with a URL that works for an hour without a token.

        Example:
            `client.evaluations.downlinks(evaluation.id)`
        """
        return listing.read(await self._http.call("GET", self._path(id, "downlinks")), models.Downlink)

    @operation
    async def download(self: Downloadable[Awaited, E], id: str, destination: Path | str, *, progress: bool = True) -> None:  # noqa: A002
        """Download all artifacts to a new directory, in parallel, each checked against its digest. Shows progress by default.

        The directory appears when everything has arrived. After an interruption, the same call continues the download.

        Raises:
            FileExistsError: the destination already exists.
            TransferFailed: the bytes are not the promised ones.

        Example:
            `client.evaluations.download(evaluation.id, "outputs")`
        """
        target = arguments.destination(destination, "destination")
        await downloads.download(self._http.io, lambda: self.downlinks(id), target, id, progress=progress)


class Uploadable(Creatable[S, E, R], Generic[S, E, R]):
    """A group of entities that accept uploads."""

    @operation
    async def uplink(self, id: str, path: str) -> models.SignedURL:  # noqa: A002
        """Return the URL for uploading one of the declared files with PUT.

        Example:
            `client.models.uplink(model.id, "weights/model.bin")`
        """
        return models.read(await self._http.call("GET", self._path(id, f"upload/{path}")), models.SignedURL)

    @operation
    async def finalize(self, id: str, *, timeout: float | None = None) -> models.Status:  # noqa: A002
        """Declare the upload complete; the server checks the files. `timeout`: in seconds; None for the client's.

        The answer can still be `WaitingForUpload` with the reason `Finalizing`: `wait` returns when the server has stored all files.

        Raises:
            BadRequest: files are missing; the error names them.
            Refused: a file is not the promised one.

        Example:
            `client.datasets.finalize(dataset.id)`
        """
        return models.read(await self._http.call("POST", self._path(id, "finalize"), timeout=timeout), models.Status)

    async def _upload(
        self: Uploadable[Awaited, E, R],
        id: str,  # noqa: A002
        folder: Path,
        paths: Sequence[str],
        progress: bool,
        places: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        """Upload the files, finalize, and wait until the entity has succeeded. `places`: of files that are elsewhere than at their path.

        Raises:
            FileNotFoundError: a file does not exist; nothing was sent.
            WorkflowFailed: the server found a file that is not as declared after it had accepted all of them.
        """

        async def uplink(path: str) -> uploads.Uplink:
            answer = await self._http.answer("GET", self._path(id, f"upload/{path}"))
            return uploads.Uplink(models.read(answer.json(), models.SignedURL), answer.headers.get("Dyff-Uploaded") == "true")

        await self._http.io.in_thread(arguments.have, folder, [path for path in paths if path not in places])
        files = {path: places.get(path, folder / path) for path in paths}
        line = f"  the upload of {self._row.name} {id} was interrupted; the same call continues it, and sends only the missing files"
        with interruptions.Explained(line, display.plain if progress else None):
            await uploads.upload(self._http.io, files, uplink, progress=progress)
        if (await self.finalize(id)).status not in statuses.SUCCESS:
            await self._wait(id, _has_succeeded, FINALIZE_S, progress)


async def _has_succeeded(entity: models.Entity) -> bool:
    return entity.status in statuses.SUCCESS
