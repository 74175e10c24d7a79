"""Families: versions or variants of one thing, each with a tag. Requests can refer to one as `<ID of the family>@<tag>`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from dyff.entities import codecs, concerns, identity, kind, stored
from dyff.kernel import clock

MAX_MEMBERS = 1000
"""The limit for one family."""

MemberKind = Literal["Dataset", "InferenceService", "Method", "Model", "Module"]

Tag = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,126}$(?!\n)",
        max_length=127,
        description="at most 127 letters, digits, '_', '.' or '-', the first of which is no '.' or '-' (a tag of an OCI image)",
    ),
]


class FamilyCreateRequest(identity.CreateRequest, frozen=True):
    """Creates a family without members. `memberKind`: the kind that all of them have."""

    example: ClassVar[codecs.Json] = {"account": "example", "memberKind": "Dataset"}

    memberKind: MemberKind


class FamilyMemberBase(identity.Part, frozen=True):
    """What a tag stands for. `description`: how this version differs from others."""

    entity: identity.EntityIdentifier
    description: concerns.Summary | None = None


class FamilyMembersEditRequest(identity.Request, frozen=True):
    """Sets tags; null removes one, those not named stay. A tag can be moved to another entity."""

    example: ClassVar[codecs.Json] = {
        "members": {"v1": {"entity": {"kind": "Dataset", "id": "00000000000040008000000000000001"}}, "old": None}
    }

    members: Annotated[dict[Tag, FamilyMemberBase | None], msgspec.Meta(max_length=MAX_MEMBERS)]


class StoredIdentifier(stored.Part, frozen=True):
    """Identifies one entity."""

    kind: str
    id: str


class FamilyMember(stored.Part, frozen=True):
    """What a tag stands for. `family`: the ID of the family. `creationTime`: when the tag was set to this entity."""

    name: str
    family: str
    entity: StoredIdentifier
    creationTime: stored.Time
    description: str | None = None


class Family(identity.Entity, kw_only=True, frozen=True):
    """Versions or variants of one thing, by tag."""

    memberKind: str
    members: dict[str, FamilyMember] = msgspec.field(default_factory=dict)


def _references(request: FamilyMembersEditRequest, _: codecs.Json) -> list[identity.Reference]:
    """The members that are set: each must exist, and be usable by the one who sets it."""
    return [
        identity.Reference(member.entity.kind, member.entity.id, ("body", "members", tag, "entity", "id"))
        for tag, member in request.members.items()
        if member is not None
    ]


def _attributes(request: FamilyMembersEditRequest, entity: codecs.Json, _: Mapping[str, str], now: datetime) -> codecs.Json:
    wanted = entity["memberKind"]
    for tag, member in request.members.items():
        if member is not None and member.entity.kind != wanted:
            raise ValueError(
                f"members.{tag}.entity.kind must be {wanted}, which all members of this family are; it is {member.entity.kind}"
            )
    before = entity.get("members") or {}
    after = {**before, **request.members}
    count = sum(member is not None for member in after.values())
    if count > max(MAX_MEMBERS, len(before)):
        raise ValueError(f"members: a family can have at most {MAX_MEMBERS}; this would make {count}: remove some (null removes one)")
    return {"members": {tag: member and _member(tag, member, entity["id"], now) for tag, member in request.members.items()}}


def _member(tag: str, member: FamilyMemberBase, family: str, now: datetime) -> codecs.Json:
    """The whole member: what the tag had before and this one has not is null, since objects are merged."""
    return {
        "name": tag,
        "family": family,
        "entity": identity.filled(member.entity),
        "description": member.description,
        "creationTime": clock.iso(now),
    }


KIND = kind.Kind(
    name="Family",
    plural="families",
    entity=Family,
    creation=kind.Creation(request=FamilyCreateRequest, spec=lambda request, _: {**identity.spec_of(request), "members": {}}),
    edits=(
        kind.Edit(
            path="members",
            summary="Set tags; null removes one",
            request=FamilyMembersEditRequest,
            command="EditFamilyMembers",
            fields=("members",),
            references=_references,
            attributes=_attributes,
        ),
    ),
    documentation="entity",
    members="members",
)
