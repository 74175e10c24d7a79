"""By which measurements entities can be compared, and why others cannot be joined. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import msgspec

from dyff.api.comparisons import terms
from dyff.api.comparisons.terms import Source
from dyff.entities import analyses, comparables

MAX_CHOICES = 20
"""Limit of the ways to compare that one answer has."""

_REASONS = 3
"""Of one pair, that are said."""


class Measured(msgspec.Struct, frozen=True):
    """An entity, and its measurements that can be compared, the latest first."""

    entity: comparables.ComparableEntity
    sources: list[Source]


def shared(found: Sequence[Measured], most: int) -> list[Measured]:
    """The same with those measurements only whose method has measured two of the entities, and of each entity at most `most`."""
    methods = [{_method(each) for each in one.sources} for one in found]
    several = {method for method in set().union(*methods) if sum(method in each for each in methods) > 1}
    return [msgspec.structs.replace(one, sources=[each for each in one.sources if _method(each) in several][:most]) for one in found]


def choices(found: Sequence[Measured]) -> list[comparables.Choice]:
    """The ways to compare two or more of the entities: those with the most members first, then those of the latest measurements."""
    groups: dict[bytes, dict[str, Source]] = {}
    for one in found:
        for each in one.sources:
            members = groups.setdefault(terms.signature(each), {})
            if all(each.key != other.key for other in members.values()):  # a safety case can read that of an evaluation, too
                members.setdefault(one.entity.id, each)
    made = []
    for members in groups.values():
        scores = _scores(list(members.values()))
        if len(members) > 1 and scores:
            made.append((len(members), max(str(each.measurement.get("creationTime")) for each in members.values()), members, scores))
    made.sort(key=lambda each: each[:2], reverse=True)
    return [_choice(members, scores) for _, _, members, scores in made[:MAX_CHOICES]]


def not_comparable(
    found: Sequence[Measured], methods: Mapping[str, Mapping[str, Source]], made: Sequence[comparables.Choice]
) -> list[comparables.NotComparable]:
    """The pairs of entities that no choice compares, and why. `methods`: by entity, its latest measurement by each method."""
    together = {pair for each in made for pair in itertools.permutations((one.measurement for one in each.members), 2)}
    keys = [{each.key for each in one.sources} for one in found]
    return [
        comparables.NotComparable(a=a.entity.id, b=b.entity.id, why=_why(a.entity, b.entity, methods))
        for (a, first), (b, second) in itertools.combinations(zip(found, keys, strict=True), 2)
        if together.isdisjoint(itertools.product(first, second))
    ]


def _choice(members: Mapping[str, Source], scores: list[comparables.ComparableScore]) -> comparables.Choice:
    first = next(iter(members.values()))
    return comparables.Choice(
        method=_method(first), methodName=_name(first), dataset=first.dataset, scores=scores,
        members=[comparables.Member(entity=entity, measurement=each.key) for entity, each in members.items()],
    )  # fmt: skip


def _scores(sources: Sequence[Source]) -> list[comparables.ComparableScore]:
    """Those that all have, the primary one first."""
    declared = [each for each in sources[0].measurement.get(analyses.SCORES) or [] if each.get("quantity") is not None]
    everywhere = [each for each in declared if all(terms.score(one, each["name"]) is not None for one in sources)]
    first = terms.primary(sources[0])
    everywhere.sort(key=lambda each: each["name"] != first)
    return [
        comparables.ComparableScore(
            name=each["name"], title=str(each.get("title") or each["name"]), priority=each.get("priority") or "primary"
        )
        for each in everywhere
    ]


def _why(
    a: comparables.ComparableEntity, b: comparables.ComparableEntity, methods: Mapping[str, Mapping[str, Source]]
) -> list[str]:  # fmt: skip
    problems = [each.problem for each in (a, b) if each.problem is not None]
    if problems:
        return problems
    first, second = methods[a.id], methods[b.id]
    found = []
    for method in first.keys() & second.keys():
        one, other = first[method], second[method]
        text = "they lead to the same measurement" if one.key == other.key else "; ".join(terms.differences(one, other))
        found.append(f"by {_name(one)!r}: {text or 'the measurements have no score in common'}")
    if not found:
        by = [", ".join(sorted({repr(_name(each)) for each in known.values()})) for known in (first, second)]
        return [f"no method has measured both: the first was measured by {by[0]}, the second by {by[1]}"]
    return sorted(found)[:_REASONS]


def _method(source: Source) -> str:
    return str((source.measurement.get("method") or {}).get("id"))


def _name(source: Source) -> str:
    method = source.measurement.get("method") or {}
    return str(method.get("name") or method.get("id"))
