"""What surrounds an entity of any kind: its history, what it needs, and what needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dyff.sdk import arguments, calls, listing, models, paging, transport
from dyff.sdk.calls import Awaited, S, iteration, operation

PAGE = 100


class Surrounded(calls.Bound[S]):
    """Operations on one kind of resource, whose `_plural` is the name in paths."""

    _http: transport.Transport
    _plural: str

    def _around(self, entity_id: str, what: str) -> str:
        return transport.path(self._plural, arguments.identifier(entity_id), what)

    @iteration
    async def history(self: Surrounded[Awaited], /, id: str) -> AsyncIterator[models.Transition]:  # noqa: A002
        """Iterate over the statuses that the entity has had, the oldest first: each with its reason, and who asked for it.

        Example:
            `for each in client.evaluations.history(evaluation.id): print(each.time, each.status, each.reason)`
        """

        async def page(after: str | None) -> models.History:
            return models.read(await self._http.call("GET", self._around(id, "history"), params={"after": after}), models.History)

        async for each in paging.every(page, lambda found: found.history):
            yield each

    @operation
    async def dependencies(self, id: str) -> list[models.Related]:  # noqa: A002
        """Return what the entity needs. What the token may not see has only its ID.

        Example:
            `[each.status for each in client.evaluations.dependencies(evaluation.id) if each.required]`
        """
        found = await self._http.call("GET", self._around(id, "dependencies"))
        return listing.read(models.read(found, dict)["needs"], models.Related)

    @iteration
    async def dependents(self: Surrounded[Awaited], /, id: str) -> AsyncIterator[models.Related]:  # noqa: A002
        """Iterate over what needs the entity, as far as the token may see it.

        Example:
            `for each in client.datasets.dependents(dataset.id): print(each.kind, each.id)`
        """

        async def page(after: str | None) -> models.Dependents:
            params = {"after": after, "limit": PAGE}
            return models.read(await self._http.call("GET", self._around(id, "dependents"), params=params), models.Dependents)

        async for each in paging.every(page, lambda found: found.dependents):
            yield each
