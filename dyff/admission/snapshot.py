"""The input of an admission cycle: everything that it needs, taken at one moment and immutable."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from dyff.entities import codecs, costs, registry
from dyff.kernel import quantities, settings

Amounts = Mapping[str, Decimal]
"""Quota resource to amount. Units: `costs.SLOT` in slots, `cpu` in cores, `memory` in bytes, a GPU type in devices."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An entity in `Created` that is not waiting for an upload.

    `created`: as stored; its text order is the time order. `cost`: what it would use while admitted. `runs`: whether it
    needs a custom resource; if not, it costs nothing. `dependencies`: IDs of entities that must be in a success status first.
    `success`, `failure`: the statuses of its kind. `reason`, `message`: the present values of the entity.
    """

    id: str
    account: str
    created: str
    cost: Amounts = {}
    runs: bool = True
    dependencies: tuple[str, ...] = ()
    success: str
    failure: str
    reason: str | None = None
    message: str | None = None


class Dependency(msgspec.Struct, frozen=True):
    """State of an entity that another entity needs. Both fields are None if the entity does not exist."""

    kind: str | None
    status: str | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting`: in any order. `dependencies`: by ID; a missing one is not known yet, but can become known later.

    `reserved`: amounts in use or promised, by account. `limits`: of each account; a resource without a limit is unlimited.
    `suspended`: accounts for which nothing new can run.
    """

    waiting: tuple[Waiting, ...]
    dependencies: Mapping[str, Dependency] = {}
    reserved: Mapping[str, Amounts] = {}
    limits: Amounts = {}
    suspended: frozenset[str] = frozenset()


def waiting(entity: codecs.Json) -> Waiting:
    """The part of an entity that admission needs.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: the entity does not have the form of its kind.
    """
    row = registry.BY_KIND[entity["kind"]]
    runs = row.runs(entity)
    return Waiting(
        id=entity["id"],
        account=entity["account"],
        created=entity["creationTime"],
        cost=amounts(row.cost(entity)) if runs else {},
        runs=runs,
        dependencies=tuple(dict.fromkeys(row.dependencies(entity))),
        success=row.success,
        failure=row.failure,
        reason=entity.get("reason"),
        message=entity.get("message"),
    )


def amounts(cost: Mapping[str, str]) -> dict[str, Decimal]:
    """Parse quantities into numbers.

    Raises:
        ValueError: an amount is not a quantity.
    """
    return {resource: _parse(text) for resource, text in cost.items()}


_parse = functools.lru_cache(maxsize=1024)(quantities.parse)
"""Cached because thousands of entities request the same few quantities."""


def limits(quotas: settings.Quotas) -> dict[str, Decimal]:
    """The limits that apply to each account.

    Raises:
        ValueError: a setting is not a quantity.
    """
    devices = {hardware: str(count) for hardware, count in quotas.accelerators.items()}
    given = {**devices, costs.SLOT: str(quotas.admitted), "cpu": quotas.cpu, "memory": quotas.memory}
    return amounts({resource: text for resource, text in given.items() if text is not None})
