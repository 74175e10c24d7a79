"""What an admission cycle decides on: everything it needs, taken at one moment, never changed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from dyff.entities import codecs, costs, registry
from dyff.kernel import quantities, settings

Amounts = Mapping[str, Decimal]
"""Quota resource to amount: pieces of `costs.SLOT`, cores of `cpu`, bytes of `memory`, devices of a GPU type."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An entity in `Created` that is not waiting for an upload.

    `created`: as stored, so that text order is time order. `cost`: what it would use while admitted. `runs`: whether it
    needs a custom resource; if not, it costs nothing. `dependencies`: IDs that must be in a success status first.
    `success`, `failure`: the statuses of its kind. `reason`, `message`: what it says at present.
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
    """What is known of an entity that another one needs. Both None: there is no such entity."""

    kind: str | None
    status: str | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting`: in any order. `dependencies`: by ID; one that is missing here is not known yet, which may pass.

    `reserved`: what is in use or promised, by account. `limits`: of each account; a resource without one is unlimited.
    `suspended`: accounts of which nothing new may run.
    """

    waiting: tuple[Waiting, ...]
    dependencies: Mapping[str, Dependency] = {}
    reserved: Mapping[str, Amounts] = {}
    limits: Amounts = {}
    suspended: frozenset[str] = frozenset()


def waiting(entity: codecs.Json) -> Waiting:
    """An entity as admission sees it.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: the entity is not as its kind must be.
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
    """Quantities as numbers.

    Raises:
        ValueError: one is no quantity.
    """
    return {resource: _parse(text) for resource, text in cost.items()}


_parse = functools.lru_cache(maxsize=1024)(quantities.parse)
"""Thousands of entities ask for the same few quantities."""


def limits(quotas: settings.Quotas) -> dict[str, Decimal]:
    """The limits of every account.

    Raises:
        ValueError: a setting is no quantity.
    """
    devices = {hardware: str(count) for hardware, count in quotas.accelerators.items()}
    given = {**devices, costs.SLOT: str(quotas.admitted), "cpu": quotas.cpu, "memory": quotas.memory}
    return amounts({resource: text for resource, text in given.items() if text is not None})
