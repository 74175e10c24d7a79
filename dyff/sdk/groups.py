"""What all groups of resources share: create, get, query, labels, documentation, deletion, waiting, files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from dyff.entities import statuses
from dyff.sdk import display, errors, models, transfers, transport

E = TypeVar("E", bound=models.Entity)
Request = Mapping[str, Any] | msgspec.Struct
"""A create request: a mapping in the API's own spelling."""

FIRST_POLL_S = 0.05
MAX_POLL_S = 1.0
PAGE = 500


class Group(Generic[E]):
    """The operations on one kind of resource. Made by the client; do not make one yourself."""

    def __init__(self, http: transport.Transport, plural: str, form: type[E]) -> None:
        """`plural`: the name in routes. `form`: what an answer is read as."""
        self._http, self._plural, self._form = http, plural, form

    def _path(self, entity_id: str | None = None, rest: str = "") -> str:
        """Of all entities, or of one, and what is below it. An empty ID would mean all of them."""
        if entity_id == "":
            raise ValueError("the ID is empty; it must be the ID of one entity")
        one = [] if entity_id is None else [entity_id]
        return transport.path(self._plural, *one, *(rest.split("/") if rest else []))

    def get(self, id: str) -> E:  # noqa: A002  published name
        """The entity as it is now; sees everything that this client has done.

        Raises:
            Missing: there is no such entity.

        Example:
            `client.datasets.get(dataset.id).status`
        """
        return models.read(self._http.call("GET", self._path(id)), self._form)

    def query(
        self,
        *,
        query: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        labels: Mapping[str, str] | None = None,
        order_by: str | None = None,
        order: str | None = None,
        limit: int | None = None,
        after: tuple[Any, str] | None = None,
        **keys: str | None,
    ) -> list[E]:
        """All entities that match; `keys`: `id`, `account`, `status`, `reason`, `name` and those of the kind.

        `query`: equalities by path, lists mean "one of". `order`: `ascending` or `descending`, with `order_by`.
        `after`: (value of the order field, ID): only what comes after it.

        Example:
            `client.evaluations.query(account="me", status="Complete", order_by="creationTime", order="descending", limit=10)`
        """
        params: dict[str, Any] = {
            **keys,
            "query": None if query is None else json.dumps(query),
            "labels": None if labels is None else json.dumps(labels),
            "orderBy": order_by,
            "order": order,
            "limit": limit,
            "after": None if after is None else json.dumps(after),
        }
        return self._find(params)

    def _find(self, params: Mapping[str, Any]) -> list[E]:
        return [models.read(each, self._form) for each in self._http.call("GET", self._path(), params=params)]

    def pages(self, *, page: int = PAGE, **keys: str | None) -> Iterator[E]:
        """All entities that match, oldest first, fetched `page` at a time.

        Example:
            `for evaluation in client.evaluations.pages(account="me"): ...`
        """
        after: tuple[Any, str] | None = None
        while True:
            place = None if after is None else json.dumps(after)
            found = self._find({**keys, "orderBy": "creationTime", "order": "ascending", "limit": page, "after": place})
            yield from found
            if len(found) < page:
                return
            after = (found[-1].creationTime, found[-1].id)

    def label(self, id: str, labels: Mapping[str, str | None]) -> None:  # noqa: A002
        """Set labels; None removes one.

        Example:
            `client.datasets.label(dataset.id, {"purpose": "red-team"})`
        """
        self._http.call("PATCH", self._path(id, "labels"), body={"labels": dict(labels)})

    def publish(self, id: str, access: str) -> None:  # noqa: A002
        """Let others see it: `public`, `preview` (those who may already), or `private`.

        Example:
            `client.evaluations.publish(evaluation.id, "preview")`
        """
        values: dict[str, str | None] = {"public": "public", "preview": "internal", "private": None}
        if access not in values:
            raise ValueError(f"access must be public, preview or private, not {access!r}")
        self.label(id, {"dyff.io/access": values[access]})

    def documentation(self, id: str) -> models.Documentation:  # noqa: A002
        """Its texts for people.

        Example:
            `client.datasets.documentation(dataset.id).title`
        """
        return models.read(self._http.call("GET", self._path(id, "documentation")), models.Documentation)

    def edit_documentation(self, id: str, edit: Mapping[str, str | None]) -> models.Documentation:  # noqa: A002
        """Set `title`, `summary` or `fullPage`; None removes one, what is not given stays.

        Example:
            `client.datasets.edit_documentation(dataset.id, {"title": "Prompts"})`
        """
        answer = self._http.call("PATCH", self._path(id, "documentation"), body={"documentation": dict(edit)})
        return models.read(answer, models.Documentation)

    def delete(self, id: str) -> models.Status:  # noqa: A002
        """Delete it, for good; returns its status.

        Example:
            `client.datasets.delete(dataset.id)`
        """
        return models.read(self._http.call("PUT", self._path(id, "delete")), models.Status)

    def progress(self, id: str) -> models.Progress | None:  # noqa: A002
        """How far its run is; None: nothing is known (yet).

        Example:
            `client.evaluations.progress(evaluation.id)`
        """
        try:
            answer = self._http.call("GET", self._path(id, "progress"))
        except errors.Missing:
            return None
        return models.read(answer, models.Progress) if answer else None

    def wait(self, id: str, *, timeout_s: float = 600.0, progress: bool = True) -> E:  # noqa: A002
        """Wait until it has ended well, showing how far it is (`progress=False`: silently); returns it.

        Raises:
            WorkflowFailed: it ended otherwise; the error says why.
            WaitTimeout: it has not ended within `timeout_s` seconds; it goes on.

        Example:
            `client.evaluations.wait(evaluation.id, timeout_s=1800)`
        """
        return self._wait(id, lambda entity: entity.status in statuses.SUCCESS, timeout_s, progress)

    def _wait(self, id: str, is_there: Callable[[E], bool], timeout_s: float, progress: bool) -> E:  # noqa: A002
        end, pause = time.monotonic() + timeout_s, FIRST_POLL_S
        with display.choose(progress) as shown:
            while True:
                entity = self.get(id)
                shown.show(entity, self.progress(id) if progress and not statuses.is_terminal(entity.status) else None)
                if is_there(entity):
                    return entity
                if statuses.is_terminal(entity.status):
                    raise errors.WorkflowFailed(entity)
                if time.monotonic() > end:
                    raise errors.WaitTimeout(entity, timeout_s)
                time.sleep(pause)
                pause = min(pause * 1.5, MAX_POLL_S)

    def workflow_logs(self, id: str, *, since: str | None = None, limit: int = 1000) -> list[models.LogEntry]:  # noqa: A002
        """What the workflow's pods wrote, oldest first; `since`: such as `30m`, `1h` or `2d`.

        Example:
            `for line in client.evaluations.workflow_logs(evaluation.id): print(line.message)`
        """
        answer = self._http.call("GET", self._path(id, "logs/workflow"), params={"since": since, "limit": limit})
        return models.read(answer["logs"], list[models.LogEntry])


class Creatable(Group[E]):
    """A group whose create answers with the entity."""

    def create(self, request: Request) -> E:
        """Make one; returns the whole entity at once. Repeating a call that broke off is safe and done by itself.

        Raises:
            BadRequest: some fields are wrong; each is named with the fix.

        Example:
            `client.inferenceservices.create({"account": "me", "name": "mine", ...})`
        """
        return models.read(self._http.call("POST", self._path(), body=plain(request)), self._form)


class Downloadable(Group[E]):
    """A group whose entities have files to fetch."""

    def downlinks(self, id: str) -> list[models.Downlink]:  # noqa: A002
        """Its artifacts, each with a URL that works for an hour without a token.

        Example:
            `client.evaluations.downlinks(evaluation.id)`
        """
        return models.read(self._http.call("GET", self._path(id, "downlinks")), list[models.Downlink])

    def download(self, id: str, destination: Path | str) -> None:  # noqa: A002
        """Fetch all artifacts into a new directory, in parallel, each checked against its digest.

        Raises:
            FileExistsError: the destination is there already.
            TransferFailed: bytes are not the promised ones.

        Example:
            `client.evaluations.download(evaluation.id, "outputs")`
        """
        transfers.download(self._http.plain(), self.downlinks(id), Path(destination))


class Uploadable(Creatable[E]):
    """A group whose entities wait for their files."""

    def uplink(self, id: str, path: str) -> models.SignedURL:  # noqa: A002
        """Where to PUT one of the declared files.

        Example:
            `client.models.uplink(model.id, "weights/model.bin")`
        """
        return models.read(self._http.call("GET", self._path(id, f"upload/{path}")), models.SignedURL)

    def finalize(self, id: str) -> None:  # noqa: A002
        """Say that all files are there; the server checks their digests.

        Raises:
            Refused: a file is missing or is not the promised one.

        Example:
            `client.datasets.finalize(dataset.id)`
        """
        self._http.call("POST", self._path(id, "finalize"))

    def _upload_all(self, id: str, folder: Path, paths: Sequence[str]) -> None:  # noqa: A002
        def one(path: str) -> None:
            transfers.upload(self._http.plain(), folder / path, self.uplink(id, path))

        transfers.in_parallel([lambda path=path: one(path) for path in paths])  # type: ignore[misc]
        self.finalize(id)


def plain(request: Request) -> Any:
    """A request as JSON values, without fields that are None: they mean "not given"."""
    value = request if isinstance(request, Mapping) else msgspec.to_builtins(request)
    return {key: each for key, each in value.items() if each is not None}
