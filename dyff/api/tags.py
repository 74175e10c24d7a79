"""Resolves references of the form `<ID of a family>@<tag>` in a create request.

A tag can be moved, so it is resolved when the view has everything that the log has about the family, and what it stood for then becomes
a part of the new entity, like an ID that the request had named. An annotation records what the request said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from dyff.accounts.authority import Principal
from dyff.api import auth
from dyff.api.documents import Documents
from dyff.api.positions import Positions
from dyff.entities import codecs, identity, kind, registry, statuses
from dyff.kernel import errors, ids, suggestions

R = TypeVar("R")

SEPARATOR = "@"
ANNOTATION = "references.dyff.io/"
"""Prefix of the annotations. The rest is the path of the field, with `-` between its steps."""

Given = Mapping[str, str]
"""What the request said, by the key of its annotation."""


class Tags:
    """Resolves tags."""

    def __init__(self, documents: Documents, positions: Positions) -> None:
        """`positions`: used to find out whether the view has caught up."""
        self._documents, self._positions = documents, positions

    async def resolved(self, principal: Principal, request: R, references: Sequence[identity.Reference]) -> tuple[R, Given]:
        """Return the request with IDs in place of tags, and what it said before; the same request if it has no tags.

        Raises:
            NotFound: a family or a tag does not exist.
            Forbidden: the token does not grant `consume` on a family.
            Conflict: a family was deleted.
            InvalidFields: a family has members of another kind.
            NotReady: the view is behind the log.
        """
        tagged = [each for each in references if SEPARATOR in each.id]
        if not tagged:
            return request, {}
        found = {each: await self._member(principal, each, references) for each in dict.fromkeys(each.id for each in tagged)}
        changed = codecs.decode(msgspec.json.encode(request))
        for each in tagged:
            _set(changed, each.loc[1:], found[each.id])
        given = {ANNOTATION + "-".join(map(str, each.loc[1:])): each.id for each in tagged}
        return msgspec.json.decode(msgspec.json.encode(changed), type=type(request)), given

    async def _member(self, principal: Principal, said: str, references: Iterable[identity.Reference]) -> str:
        """The ID of what `said` stands for."""
        reference = next(each for each in references if each.id == said)
        field = ".".join(map(str, reference.loc[1:]))
        family_id, _, tag = said.partition(SEPARATOR)
        row, members_field = _row(reference)
        auth.require_any(principal, row.plural, "consume")
        if ids.is_id(family_id) and not await self._positions.reaches_end(family_id):
            raise errors.NotReady(f"{field}: what {said} stands for is not known yet: the view is behind the log; try again")
        document = await self._documents.find(row, family_id)
        if document is None:
            raise errors.NotFound(f"{field}: {await self._documents.missing(principal, row, family_id)}")
        family = codecs.decode_object(document)
        auth.require(principal, row.plural, "consume", account=family["account"], entity=family_id)
        if family["status"] == statuses.DELETED:
            raise errors.Conflict(f"{field}: the {row.name} {family_id} cannot be used: it was deleted")
        members = family.get(members_field) or {}
        if tag not in members:
            has = f"it has the tags {', '.join(sorted(members)[:20])}" if members else "it has no tags"
            near = suggestions.nearest(tag, members)
            raise errors.NotFound(
                f"{field}: the {row.name} {family_id} has no tag {suggestions.shown(tag)!r}; "
                f"{has if near is None else f'did you mean {near!r}?'}"
            )
        member = members[tag]["entity"]
        if member["kind"] != reference.kind:
            text = f"must be a {reference.kind}, and the tag {tag!r} of the {row.name} {family_id} stands for a {member['kind']}"
            raise errors.InvalidFields(errors.Problem(reference.loc, text))
        return str(member["id"])


def annotated(entity: codecs.Json, given: Given) -> codecs.Json:
    """Return the new entity with the annotations."""
    return {**entity, "annotations": [*entity["annotations"], *({"key": key, "value": said} for key, said in given.items())]}


def _row(reference: identity.Reference) -> tuple[kind.Kind, str]:
    """The kind whose entities have tags, and the field with the tags."""
    for row in registry.ROWS:
        if row.members is not None:
            return row, row.members
    raise errors.InvalidFields(errors.Problem(reference.loc, "must be an ID: this server has no kind with tags"))


def _set(value: Any, at: Sequence[str | int], new: str) -> None:
    for step in at[:-1]:
        value = value[step]
    value[at[-1]] = new
