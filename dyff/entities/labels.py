"""What may be changed of any entity: its labels and its documentation."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from dyff.entities import identity
from dyff.entities.identity import Part

Key = Annotated[
    str,
    msgspec.Meta(
        max_length=317,
        pattern=r"^([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*/)?"
        r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$(?!\n)",
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

_RESERVED = re.compile(r"([^/]+\.)?dyff\.io/.*")
_CONCERN = re.compile(r"[a-z]+\.dyff\.io/[0-9a-f]{32}")


class LabelsEditRequest(identity.Request, frozen=True):
    """Sets labels; null removes one, those not named stay."""

    labels: dict[Key, Value | None] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse keys that belong to Dyff, but for those with a meaning that users may set."""
        for key, value in self.labels.items():
            if key == ACCESS:
                if value is not None and value not in ACCESS_VALUES:
                    raise ValueError(f"labels: {ACCESS} must be 'public', 'internal' (preview) or null (private)")
            elif _RESERVED.fullmatch(key) and not (_CONCERN.fullmatch(key) and value in (None, "1")):
                raise ValueError(f"labels: {key!r} is reserved, as all keys of dyff.io are; choose a prefix of your own")


class DocumentationPatch(Part, frozen=True, omit_defaults=True):
    """Sets texts; null removes one, those not given stay."""

    title: Annotated[str, msgspec.Meta(max_length=140)] | UnsetType | None = UNSET
    summary: Annotated[str, msgspec.Meta(max_length=280)] | UnsetType | None = UNSET
    fullPage: str | UnsetType | None = UNSET


class DocumentationEditRequest(identity.Request, frozen=True):
    """Changes an entity's documentation."""

    documentation: DocumentationPatch
