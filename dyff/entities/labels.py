"""What may be changed of any entity: its labels and its documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

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
ACCESS_VALUES = ("public", "internal")
"""`internal` is what clients call preview; no label means private."""

MAX_LABELS = 64
"""Of one entity."""

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
        """Refuse keys that belong to Dyff, but for those with a meaning that users may set."""
        for key, value in self.labels.items():
            if key == ACCESS:
                if value is not None and value not in ACCESS_VALUES:
                    raise ValueError(f"labels: {ACCESS} must be 'public', 'internal' (preview) or null (private)")
            elif _RESERVED.fullmatch(key) and not (_CONCERN.fullmatch(key) and value in (None, "1")):
                raise ValueError(f"labels: {key!r} is reserved, as all keys of dyff.io are; choose a prefix of your own")


def problem(before: Mapping[str, str], change: Mapping[str, str | None]) -> str | None:
    """What is wrong with `change` where the labels `before` are; None: nothing."""
    after = {**before, **change}
    count = sum(value is not None for value in after.values())
    if count <= max(MAX_LABELS, len(before)):
        return None
    return f"an entity can have at most {MAX_LABELS} labels; this would make {count}: remove some (null removes one)"


class DocumentationPatch(Part, frozen=True, omit_defaults=True):
    """Sets texts; null removes one, those not given stay."""

    title: Annotated[str, msgspec.Meta(max_length=140)] | UnsetType | None = UNSET
    summary: Annotated[str, msgspec.Meta(max_length=280)] | UnsetType | None = UNSET
    fullPage: Annotated[str, msgspec.Meta(max_length=2**20)] | UnsetType | None = UNSET


class DocumentationEditRequest(identity.Request, frozen=True):
    """Changes an entity's documentation."""

    example: ClassVar[codecs.Json] = {"documentation": {"title": "Toxic prompts", "summary": None}}

    documentation: DocumentationPatch
