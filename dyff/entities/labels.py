"""Labels and documentation, which can be edited on any entity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from dyff.entities import codecs, identity
from dyff.entities.identity import Part

MAX_KEY_CHARS = 317
KEY_PATTERN = (
    r"^([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*/)?"
    r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$(?!\n)"
)
Key = Annotated[
    str,
    msgspec.Meta(
        max_length=MAX_KEY_CHARS,
        pattern=KEY_PATTERN,
        description="a name of at most 63 letters, digits and '-', with an optional DNS name and '/' before it",
    ),
]
Value = Annotated[
    str,
    msgspec.Meta(
        max_length=63,
        pattern=r"^([a-z0-9A-Z]([-_.a-z0-9A-Z]{0,61}[a-z0-9A-Z])?)?$(?!\n)",
        description="at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends",
    ),
]

ACCESS = "dyff.io/access"
PUBLIC, INTERNAL = "public", "internal"
ACCESS_VALUES = (PUBLIC, INTERNAL)
"""`internal` is what clients call preview; without the label an entity is private."""

MAX_LABELS = 64
"""The limit for one entity."""

_RESERVED = re.compile(r"([^/]+\.)?dyff\.io/.*")
_CONCERN = re.compile(r"[a-z]+\.dyff\.io/[0-9a-f]{32}")


class LabelsEditRequest(identity.Request, frozen=True):
    """Sets labels; null removes one, those not named stay. All of the old may give way to as many new ones.

    Keys of dyff.io are reserved, but for `dyff.io/access` (public, internal, or null for private) and those of concerns.
    """

    rules: ClassVar[codecs.Json] = {
        "properties": {
            "labels": {
                "propertyNames": {
                    "anyOf": [
                        {"not": {"pattern": f"^{_RESERVED.pattern}$"}},
                        {"const": ACCESS},
                        {"pattern": f"^{_CONCERN.pattern}$"},
                    ]
                },
                "patternProperties": {f"^{_CONCERN.pattern}$": {"enum": ["1", None]}},
                "if": {"required": [ACCESS]},
                "then": {"properties": {ACCESS: {"enum": [*ACCESS_VALUES, None]}}},
            }
        }
    }
    example: ClassVar[codecs.Json] = {"labels": {"purpose": "test", "example.org/team": None}}

    labels: Annotated[dict[Key, Value | None], msgspec.Meta(max_length=2 * MAX_LABELS)] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse keys that are reserved for Dyff, except for those that users may set."""
        for key, value in self.labels.items():
            if key == ACCESS:
                if value is not None and value not in ACCESS_VALUES:
                    raise ValueError(f"labels: {ACCESS} must be 'public', 'internal' (preview) or null (private)")
            elif _RESERVED.fullmatch(key) and not (_CONCERN.fullmatch(key) and value in (None, "1")):
                raise ValueError(f"labels: {key!r} is reserved, as all keys of dyff.io are; choose a prefix of your own")


def problem(before: Mapping[str, str], change: Mapping[str, str | None]) -> str | None:
    """What is wrong with applying `change` to the labels `before`; None if nothing is."""
    after = {**before, **change}
    count = sum(value is not None for value in after.values())
    if count <= max(MAX_LABELS, len(before)):
        return None
    return f"an entity can have at most {MAX_LABELS} labels; this would make {count}: remove some (null removes one)"


def access(entity: codecs.Json) -> str:
    """Who can see an entity: `public`, `internal` or `private`."""
    value = (entity.get("labels") or {}).get(ACCESS)
    return value if value in ACCESS_VALUES else "private"


MAX_STATEMENT_CHARS = 10_000
"""Limit of each text of a claim."""


class DocumentationPatch(Part, frozen=True, omit_defaults=True):
    """Sets texts. Null removes a text; texts that are not given stay."""

    title: Annotated[str, msgspec.Meta(max_length=140)] | UnsetType | None = UNSET
    summary: Annotated[str, msgspec.Meta(max_length=280)] | UnsetType | None = UNSET
    fullPage: Annotated[str, msgspec.Meta(max_length=2**20)] | UnsetType | None = UNSET


Statement = Annotated[str, msgspec.Meta(max_length=MAX_STATEMENT_CHARS)]


class ClaimPatch(DocumentationPatch, frozen=True, omit_defaults=True):
    """Sets texts, among them what the case claims. Null removes a text; texts that are not given stay.

    `claim`: what the case shows, in a sentence or two. `scope`: for which uses, versions and languages. `assumptions`: what must hold for
    it. `limits`: what it does not show, as far as that is known. `evaluators`: who made it. `relationship`: theirs to the system.
    """

    claim: Statement | UnsetType | None = UNSET
    scope: Statement | UnsetType | None = UNSET
    assumptions: Statement | UnsetType | None = UNSET
    limits: Statement | UnsetType | None = UNSET
    evaluators: Statement | UnsetType | None = UNSET
    relationship: Literal["first_party", "third_party", "collaborative", "other"] | UnsetType | None = UNSET


class ClaimEditRequest(identity.Request, frozen=True):
    """Changes the documentation of a kind that has a page: its texts, and what it claims."""

    example: ClassVar[codecs.Json] = {
        "documentation": {"claim": "Rarely continues toxic prompts toxically.", "relationship": "third_party"}
    }

    documentation: ClaimPatch


class DocumentationEditRequest(identity.Request, frozen=True):
    """Changes an entity's documentation."""

    example: ClassVar[codecs.Json] = {"documentation": {"title": "Toxic prompts", "summary": None}}

    documentation: DocumentationPatch
