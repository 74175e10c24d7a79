"""The client's group for families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyff.entities import registry
from dyff.sdk import groups, models, requests, sent, transport
from dyff.sdk.calls import Awaited, S, operation


class Families(groups.Creatable[S, models.Family, requests.FamilyCreateRequest]):
    """Families."""

    @operation
    async def edit_members(
        self: Families[Awaited],
        id: str,  # noqa: A002
        members: Mapping[str, requests.FamilyMemberBase | sent.Other | None],
    ) -> models.Family:
        """Set tags; None removes one, those not named stay.

        Example:
            `client.families.edit_members(family.id, {"v1": {"entity": {"kind": "Dataset", "id": dataset.id}}})`
        """
        plain = {tag: None if each is None else sent.plain(each, name=f"members[{tag!r}]") for tag, each in members.items()}
        return models.read(await self._http.call("PATCH", self._path(id, "members"), body={"members": plain}), models.Family)

    @operation
    async def get_member(self: Families[Awaited], id: str, tag: str) -> Any:  # noqa: A002
        """Fetch the entity that a tag stands for; None if the family has no such tag.

        Example:
            `dataset = client.families.get_member(family.id, "v1")`
        """
        member = (await self.get(id)).members.get(tag)
        if member is None:
            return None
        row = registry.BY_KIND[member.entity.kind]
        return models.read(await self._http.call("GET", transport.path(row.plural, member.entity.id)), row.entity)


GROUP = Families
