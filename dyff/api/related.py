"""What an entity needs, and what needs it, as far as the caller may see that."""

from __future__ import annotations

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import queries
from dyff.api.services import Services
from dyff.entities import codecs, kind, registry, relations
from dyff.kernel import errors, ids
from dyff.query import filters, port

MAX_NEEDS = 64
"""Entities that are looked up for one answer. A method has at most 100 inputs and modules; few have more than five."""

_WRONG = errors.Problem(("query", "after"), "must be the value of 'next' in the page before")


def needs(row: kind.Kind, entity: codecs.Json) -> dict[str, bool]:
    """The IDs of what an entity needs, each with whether it must have succeeded first. One that does not fit its kind needs nothing."""
    try:
        required, used = row.dependencies(entity), row.uses(entity)
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}
    return {each: each in required for each in dict.fromkeys([*required, *used]) if ids.is_id(each)}


def references(to: kind.Kind, row: kind.Kind) -> list[filters.Path]:
    """Where entities of `row` can name one of the kind `to`: the paths of query parameters that are called like it."""
    name = to.name[0].lower() + to.name[1:]
    return [path for key, path in row.query.items() if key == name]


def described(entity: codecs.Json, *, required: bool) -> relations.Related:
    """An entity in short."""
    name = entity.get("name")
    return relations.Related(
        id=entity["id"], visible=True, required=required, kind=entity["kind"], account=entity["account"],
        name=name if isinstance(name, str) else None, status=entity["status"], reason=entity.get("reason"), message=entity.get("message"),
    )  # fmt: skip


class Relating:
    """Finds what is related in one server."""

    def __init__(self, services: Services) -> None:
        """It reads the view."""
        self._query = services.query

    async def needed(self, principal: Principal, row: kind.Kind, entity: codecs.Json) -> list[relations.Related]:
        """What an entity needs."""
        found = list(needs(row, entity).items())[:MAX_NEEDS]
        return [await self._one(principal, each, required) for each, required in found]

    async def _one(self, principal: Principal, entity_id: str, required: bool) -> relations.Related:
        for row in registry.ROWS:
            document = await self._query.get(row.plural, entity_id)
            if document is not None:
                entity = codecs.decode_object(document)
                if grants.allows(principal.grants, row.plural, "get", account=entity["account"], entity=entity_id):
                    return described(entity, required=required)
                break
        return relations.Related(id=entity_id, visible=False, required=required)

    async def dependents(
        self, principal: Principal, to: kind.Kind, entity_id: str, after: str | None, limit: int
    ) -> tuple[list[relations.Related], str | None]:
        """A page of the entities that name one in a field by which they can be queried; and where the next page begins."""
        plural, created, last = _parsed(after)
        found: list[relations.Related] = []
        is_passed = plural is not None
        for row in registry.ROWS:
            begin = None
            if is_passed:
                if row.plural != plural:
                    continue
                is_passed, begin = False, filters.After(created, last)
            for document in await self._page(principal, to, row, entity_id, begin, limit + 1 - len(found)):
                if len(found) == limit:
                    return found, f"{found[-1].kind}~{created}~{found[-1].id}"
                entity = codecs.decode_object(document)
                found.append(described(entity, required=entity_id in row_dependencies(row, entity)))
                created = entity["creationTime"]
        return found, None

    async def _page(
        self, principal: Principal, to: kind.Kind, row: kind.Kind, entity_id: str, after: filters.After | None, limit: int
    ) -> list[bytes]:
        where: list[filters.Predicate] = [filters.Equals(path, entity_id) for path in references(to, row)]
        where += [filters.AnyElement(each.path, each.key, (entity_id,)) for each in row.elements.values()]
        if not where:
            return []
        visible = queries.visible(grants.scope(principal.grants, row.plural, "get"))
        asked = filters.Find(
            collection=row.plural, where=filters.AllOf((visible, filters.AnyOf(tuple(where)))), order_by=("creationTime",), limit=limit,
            after=after,
        )  # fmt: skip
        return await port.found(self._query.find(asked))


def row_dependencies(row: kind.Kind, entity: codecs.Json) -> set[str]:
    """The IDs of what must have succeeded before an entity can run."""
    return {each for each, required in needs(row, entity).items() if required}


def _parsed(after: str | None) -> tuple[str | None, str, str]:
    """The plural, the time and the ID in a cursor."""
    if after is None:
        return None, "", ""
    parts = after.split("~")
    if len(parts) != 3 or parts[0] not in registry.BY_KIND or not ids.is_id(parts[2]) or len(parts[1]) > 40:
        raise errors.InvalidFields(_WRONG)
    return registry.BY_KIND[parts[0]].plural, parts[1], parts[2]
