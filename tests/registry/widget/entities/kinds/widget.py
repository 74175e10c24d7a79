"""Widgets: painted by a run, or painted elsewhere and uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from dyff.entities import codecs, costs, custom_resource, data, identity, kind, statuses, stored

PartName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{1,30}$(?!\n)", description="1 to 30 lower-case letters")]


class WidgetCreateRequest(identity.CreateRequest, frozen=True):
    """Describes a widget. `files`: those of one that was painted elsewhere; none: it is painted here. `like`: the ID of another one."""

    name: identity.Short
    color: Literal["blue", "red"] = "red"
    files: identity.Few[data.Artifact] = ()
    like: identity.Short | None = None


class PartsEditRequest(identity.Request, frozen=True):
    """Sets parts; null removes one."""

    parts: Annotated[dict[PartName, identity.Short | None], msgspec.Meta(max_length=10)]


class Widget(identity.Entity, kw_only=True, frozen=True):
    """A thing with a color. `like`: the widget that it was made after."""

    name: str
    color: str
    files: list[stored.Artifact] = msgspec.field(default_factory=list)
    parts: dict[str, str] = msgspec.field(default_factory=dict)
    like: dict[str, Any] | None = None


class WidgetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A Widget: it is painted."""

    id: str
    account: str
    color: Annotated[str, msgspec.Meta(max_length=30, description="What it is painted with")]


def _references(request: WidgetCreateRequest) -> list[identity.Reference]:
    return [] if request.like is None else [identity.Reference("Widget", request.like, ("body", "like"))]


def _own(request: WidgetCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    like = {} if request.like is None else {"like": embedded[request.like]}
    return {**identity.spec_of(request), **like, "parts": {}}


def _parts(request: PartsEditRequest, entity: codecs.Json, _: Mapping[str, str], now: datetime) -> codecs.Json:
    if entity["color"] == "blue" and request.parts:
        raise ValueError("parts: a blue widget has no parts; create a red one")
    return {"parts": dict(request.parts)}


def _files(entity: codecs.Json) -> list[kind.DeclaredFile]:
    return [kind.DeclaredFile(each["path"], each["digest"]["md5"]) for each in entity["files"]]


RESOURCE = custom_resource.CustomResource(
    kind="Widget",
    plural="widgets",
    short="widget",
    spec=WidgetSpec,
    columns=(
        custom_resource.COMPLETE,
        custom_resource.FAILED,
        custom_resource.Column("Color", ".spec.color", "What it is painted with"),
        *custom_resource.END,
    ),
)

KIND = kind.Kind(
    name="Widget",
    plural="widgets",
    entity=Widget,
    creation=kind.Creation(
        request=WidgetCreateRequest, references=_references, spec=_own, checks=(kind.Check("paths", ("files", "*", "path")),)
    ),
    embedded=("id", "account", "name", "color"),
    first=lambda entity: statuses.WAITING_FOR_UPLOAD if entity["files"] else statuses.CREATED,
    dependencies=lambda entity: [*([entity["like"]["id"]] if entity.get("like") else []), *kind.preconditions(entity)],
    query={"name": ("name",), "color": ("color",), "like": ("like", "id")},
    edits=(
        kind.Edit(
            path="parts",
            summary="Set parts; null removes one",
            request=PartsEditRequest,
            command="EditWidgetParts",
            fields=("parts",),
            attributes=_parts,
        ),
    ),
    upload=kind.Upload(files=_files),
    download=kind.Download("widgets"),
    logs=kind.Logs(stored=True),
    run=kind.Run(
        resource=RESOURCE,
        spec=lambda entity: {"color": entity["color"]},
        ended={"Failed": statuses.ERROR, "Complete": statuses.READY},
        cost=costs.fetch,
        needed=lambda entity: not entity["files"],
    ),
    documentation="entity",
    own_routes=True,
)
