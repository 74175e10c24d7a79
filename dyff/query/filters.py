"""Queries as values, which every adapter must be able to answer."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Path = tuple[str, ...]
"""The path to a field in a document, e.g. `("inferenceSession", "inferenceService", "id")`."""

Scalar = str | int | float | bool | None


class Equals(msgspec.Struct, frozen=True, tag=True):
    """The field exists and equals `value`; None also matches an absent field. Label keys are single path steps."""

    path: Path
    value: Scalar


class OneOf(msgspec.Struct, frozen=True, tag=True):
    """The field is one of `values`. Without values it matches nothing."""

    path: Path
    values: tuple[Scalar, ...]


class AnyElement(msgspec.Struct, frozen=True, tag=True):
    """The field is an array with an element whose `key` is one of `values`."""

    path: Path
    key: str
    values: tuple[Scalar, ...]


class AllOf(msgspec.Struct, frozen=True, tag=True):
    """All terms match. Without terms it matches everything."""

    terms: tuple[Any, ...] = ()


class AnyOf(msgspec.Struct, frozen=True, tag=True):
    """At least one term matches. Without terms it matches nothing."""

    terms: tuple[Any, ...] = ()


Predicate = Equals | OneOf | AnyElement | AllOf | AnyOf


class After(msgspec.Struct, frozen=True):
    """Keyset pagination: only documents that come after (value of the order field, ID) in the requested order."""

    value: Scalar
    id: str


class Find(msgspec.Struct, frozen=True, kw_only=True):
    """A query: filter, then sort, then limit.

    `order_by` None: an unspecified but stable order. Ties are ordered by ID in the same direction. `limit` None: no limit.
    `fields` None: whole documents. Otherwise each has only these fields, nested as in the whole, and none that is absent there.
    """

    collection: str
    where: Predicate = AllOf()
    order_by: Path | None = None
    order: Literal["ascending", "descending"] = "ascending"
    limit: int | None = None
    after: After | None = None
    fields: tuple[Path, ...] | None = None
