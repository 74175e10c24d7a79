"""What a token allows. Pure.

Grants are additive: a call is allowed if one grant covers resource, function and (account or entity). `*` covers
everything. A grant with neither accounts nor entities grants nothing.

The owner of an entity is not known here. Where it matters, it is passed as `owners`, which maps known entities to their accounts.
An entity never changes its owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

ANY = "*"

Owners = Mapping[str, str]
NO_OWNERS: Owners = MappingProxyType({})


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """`resources`: plural names or `*`. `functions`: as in `entities.account.Function`. `accounts`, `entities`: IDs or `*`."""

    resources: tuple[str, ...]
    functions: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()


ADMIN = (Grant((ANY,), (ANY,), (ANY,), (ANY,)),)
"""The grants of the role `Admin`."""


def allows(grants: Iterable[Grant], resource: str, function: str, *, account: str | None = None, entity: str | None = None) -> bool:
    """Whether `function` is granted on the `resource` that belongs to `account` and has the ID `entity`."""
    for grant in grants:
        owned = _covers(grant.accounts, account) or _covers(grant.entities, entity)
        if owned and _covers(grant.resources, resource) and _covers(grant.functions, function):
            return True
    return False


def allows_entity(grants: Iterable[Grant], resource: str, function: str, entity: str) -> bool:
    """Like `allows`, but only by a grant that names the entity itself: running inference requires that, as published."""
    return any(_covers(g.resources, resource) and _covers(g.functions, function) and entity in g.entities for g in grants)


def allows_some(grants: Iterable[Grant], resource: str, function: str) -> bool:
    """Whether `function` is granted on any object of a resource."""
    for grant in grants:
        if (grant.accounts or grant.entities) and _covers(grant.resources, resource) and _covers(grant.functions, function):
            return True
    return False


class Scope(msgspec.Struct, frozen=True):
    """The visible results of a query: everything, or what is owned by `accounts` or is one of `entities`."""

    everything: bool
    accounts: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()


def scope(grants: Iterable[Grant], resource: str, function: str = "query") -> Scope:
    """The union of all grants for (resource, function)."""
    fitting = [grant for grant in grants if _covers(grant.resources, resource) and _covers(grant.functions, function)]
    accounts = {account for grant in fitting for account in grant.accounts}
    entities = {entity for grant in fitting for entity in grant.entities}
    return Scope(ANY in accounts | entities, tuple(sorted(accounts)), tuple(sorted(entities)))


def is_covered(wanted: Grant, permissions: Iterable[Grant], owners: Owners = NO_OWNERS) -> bool:
    """Whether one of `permissions` contains all of `wanted` (a token must not grant more than its account has).

    An entity is also contained if its owner is among the permission's accounts.
    """
    entities = frozenset(wanted.entities)
    owned_by = {owners[entity] for entity in entities if entity in owners}
    return any(
        _contains(have.resources, wanted.resources)
        and _contains(have.functions, wanted.functions)
        and _contains(have.accounts, wanted.accounts)
        and _has_all(have, entities, owned_by, owners)
        for have in permissions
    )


def _has_all(have: Grant, entities: frozenset[str], owned_by: set[str], owners: Owners) -> bool:
    """Whether a permission names each of `entities` or its owner. `owned_by`: the known owners of all of them."""
    if ANY in have.entities or not entities:
        return True
    if owned_by.isdisjoint(have.accounts) and ANY not in have.accounts:
        return entities.issubset(have.entities)
    return all(_is_owned(have, entity, owners) for entity in entities.difference(have.entities))


def narrowed(grants: Iterable[Grant], permissions: Sequence[Grant], owners: Owners = NO_OWNERS) -> tuple[Grant, ...]:
    """The part of `grants` that `permissions` allow: never more than either.

    A grant that one permission covers stays whole; any other is reduced to what it has in common with each permission.
    """
    found: dict[Grant, None] = {}
    for grant in grants:
        parts = [grant] if is_covered(grant, permissions, owners) else [_common(grant, each, owners) for each in permissions]
        found |= dict.fromkeys(part for part in parts if part.resources and part.functions and (part.accounts or part.entities))
    return tuple(found)


def _common(grant: Grant, have: Grant, owners: Owners) -> Grant:
    plain = ANY in grant.entities or ANY in have.entities
    return Grant(
        _both(grant.resources, have.resources),
        _both(grant.functions, have.functions),
        _both(grant.accounts, have.accounts),
        _both(grant.entities, have.entities) if plain else _entities(grant, have, owners),
    )


def _entities(grant: Grant, have: Grant, owners: Owners) -> tuple[str, ...]:
    """The entities of `grant` that the permission names, or whose owner it names."""
    named = frozenset(have.entities)
    return tuple(each for each in grant.entities if each in named or _is_owned(have, each, owners))


def _is_owned(have: Grant, entity: str, owners: Owners) -> bool:
    """Whether a permission names the owner of an entity."""
    return entity in owners and _covers(have.accounts, owners[entity])


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if ANY in one:
        return other
    if ANY in other:
        return one
    common = frozenset(other)
    return tuple(each for each in one if each in common)


def _covers(granted: tuple[str, ...], wanted: str | None) -> bool:
    return ANY in granted or (wanted is not None and wanted in granted)


def _contains(granted: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return ANY in granted or set(wanted) <= set(granted)
