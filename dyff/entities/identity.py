"""What all entities and requests share: the strict base structs, the constraints on names, and the common fields.

Request structs are strict (an unknown field is an error) and their fields have the published names. `filled` converts one
into the plain JSON that is stored: all defaults filled in and, as in the published models' serialisation, no null
fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from dyff.entities import answers, codecs, commands, described, showing, stored
from dyff.kernel import clock

MAX_COUNT = 2**31 - 1
"""Kubernetes uses 32-bit integers for counts such as replicas."""

Account = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$(?!\n)",
        description="1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends (a Kubernetes label value)",
    ),
]
"""The owner of an entity. It need not be the ID of an account object, but it becomes a label of pods."""

T = TypeVar("T")

Short = Annotated[str, msgspec.Meta(max_length=255)]
"""A name, an ID or a kind. The published schema bounds few strings and lists; here all of them are bounded."""

Text = Annotated[str, msgspec.Meta(max_length=32_768)]
"""A text without a special form."""

Word = Annotated[str, msgspec.Meta(max_length=32_768, pattern=r"^[^\x00]*$", description="any text without a NUL character")]
"""An argument, a path or a value, which a program is started with."""

Few = Annotated[tuple[T, ...], msgspec.Meta(max_length=100)]
Many = Annotated[tuple[T, ...], msgspec.Meta(max_length=10_000)]
"""A list of files."""

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT, description="a whole number of at least 1")]

EXAMPLE_TIME = "2099-01-01T00:00:00Z"
Expiry = Annotated[
    datetime, described.says(format="date-time", description="a time in the future; without a zone it is UTC", examples=[EXAMPLE_TIME])
]

REFERABLE = Literal[
    "Account", "Analysis", "Audit", "AuditProcedure", "Challenge", "Curve", "DataSource", "Dataset", "Evaluation", "Family", "Hazard",
    "History", "InferenceService", "InferenceSession", "Measurement", "Method", "Model", "Module", "OCIArtifact", "Pipeline",
    "PipelineRun", "Quota", "Report", "Revision", "SafetyCase", "Submission", "Team", "UseCase",
]  # fmt: skip
"""The published kinds that can be referenced."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a request: unknown fields are errors. `rules`: what its JSON schema says besides (`dyff.entities.described`).

    `hints`: by field, what an error says about the right value, in addition to its type.
    """

    rules: ClassVar[codecs.Json] = {}
    hints: ClassVar[Mapping[str, str]] = {}


class Request(Part, frozen=True, kw_only=True):
    """A request's body. `example`: one that the API accepts, given that what it refers to exists; empty: there is none."""

    example: ClassVar[codecs.Json] = {}

    schemaVersion: Literal["0.1"] = "0.1"


class CreateRequest(Request, frozen=True, kw_only=True):
    """Requests a new entity."""

    hints: ClassVar[Mapping[str, str]] = {"account": "it is the ID of an account, which `dyff account create` prints"}

    account: Account


class Entity(showing.Shown, msgspec.Struct, frozen=True, kw_only=True):
    """The fields that all entities have, for readers. Tolerant: unknown fields are ignored.

    `status`: the current stage of its life cycle. `reason` and `message` explain it; None if there is nothing to explain.
    Times are ISO 8601 in UTC. `metadata.documentation`: its texts for people.
    """

    id: str
    account: str
    kind: str
    status: stored.EntityStatus
    reason: str | None = None
    message: str | None = None
    creationTime: stored.Time | None = None
    lastTransitionTime: stored.Time | None = None
    labels: dict[str, str | None] = {}
    annotations: list[Annotated[dict[str, str], described.like(answers.Annotation)]] = []
    metadata: Annotated[dict[str, Any], described.like(answers.Metadata)] = {}
    schemaVersion: str = "0.1"


class EntityIdentifier(Part, frozen=True):
    """Identifies one entity."""

    id: Short
    kind: REFERABLE


class Reference(msgspec.Struct, frozen=True):
    """An entity that a request refers to. `loc`: where in the body, for errors. `otherwise`: what to do if there is no such kind."""

    kind: str
    id: str
    loc: tuple[str | int, ...]
    otherwise: str = ""


Embedded = dict[str, Any]
"""Referenced entities in embedded form: a JSON object by ID, or `msgspec.Raw` with the bytes of one. Whole entities are at `whole(ID)`."""


def whole(entity_id: str) -> str:
    """The key in `Embedded` of a whole entity, which is there if `Creation.wholes` asks for it and the caller may get it."""
    return f"whole:{entity_id}"


def entity(kind: str, entity_id: str, request: CreateRequest, created: datetime, spec: codecs.Json) -> codecs.Json:
    """The whole entity except for its status. `spec`: the fields specific to its kind; a `documentation` among them is its first one."""
    return {
        **spec,
        "id": entity_id,
        "account": request.account,
        "kind": kind,
        "schemaVersion": commands.SCHEMA_VERSION,
        "labels": {},
        "annotations": [],
        "metadata": {"documentation": spec.get("documentation") or {}, "preconditions": []},
        "creationTime": clock.iso(created),
    }


def security_context() -> codecs.Json:
    """The published default: trusted, and not exempt from any quota."""
    return {"trusted": True, "ignoreQuotas": []}


def spec_of(request: CreateRequest) -> codecs.Json:
    """The request's own fields, with defaults filled in."""
    spec = filled(request)
    del spec["account"], spec["schemaVersion"]
    return spec


def filled(part: msgspec.Struct) -> codecs.Json:
    """`part` as JSON: defaults included, null fields omitted, times in UTC. Free-form JSON inside is kept unchanged."""
    names, others = _fields(type(part))
    values = zip(names, msgspec.structs.astuple(part), strict=True)
    whole: codecs.Json = {name: value for name, value in values if value is not None}
    for name in others:
        if name in whole:
            whole[name] = _plain(whole[name])
    return whole


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of all fields, and of those whose values are not plain JSON."""
    others = tuple(field.encode_name for field in msgspec.structs.fields(struct) if not _is_plain(field.type))
    return struct.__struct_encode_fields__, others


def _is_plain(type_: Any) -> bool:
    if get_origin(type_) in (Annotated, Union, UnionType):
        arguments = get_args(type_)[:1] if get_origin(type_) is Annotated else get_args(type_)
        return all(_is_plain(each) for each in arguments)
    return get_origin(type_) in (Literal, dict) or type_ in (str, int, float, bool, type(None))


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return filled(value)
    if isinstance(value, datetime):
        return clock.iso(utc(value))
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def utc(moment: datetime) -> datetime:
    """`moment` with a time zone: without one it is taken to be in UTC, as published."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
