"""Makes the leaderboard of a method on a dataset, as far as a token may read the measurements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from dyff.accounts.authority import Principal
from dyff.api.comparisons import ranks, results, terms
from dyff.api.comparisons.calculating import Calculating
from dyff.api.comparisons.finding import Finding
from dyff.api.comparisons.reading import Reading
from dyff.api.comparisons.tasks import Answer, Found, Pairs
from dyff.api.comparisons.terms import Source
from dyff.api.dossiers import precision
from dyff.entities import comparisons
from dyff.entities.leaderboards import Leaderboard, NotRanked, RankedSystem
from dyff.kernel import errors


class Ranking:
    """Ranks for one server."""

    def __init__(self, finding: Finding, reads: Reading, calculating: Calculating) -> None:
        """They find, read and compare for it."""
        self._finding, self._reads, self._calculating = finding, reads, calculating

    async def of(self, principal: Principal, method: str, dataset: str, name: str | None, reference: str | None) -> Leaderboard:
        """The leaderboard. `name`: of the score; None for the primary one. `reference`: the ID of a measurement; None for the best one.

        Raises:
            Conflict: the reference is none of its measurements, or takes part in no comparison.
            Unavailable: nothing can be compared now.
        """
        found, left_out = await self._finding.of_method(principal, method, dataset)
        if not found:
            return Leaderboard(method=method, dataset=dataset, score=name or "", title=name or "")
        name = name or next((primary for each in found if (primary := terms.primary(each)) is not None), "")
        # One order for every reference, so that choosing another one calculates nothing again.
        found.sort(key=lambda each: each.key)
        called = dict(zip((each.key for each in found), await self._reads.names(found, principal), strict=True))
        group, why = _group(found, name, reference)
        pairs: Pairs = tuple(itertools.combinations(range(len(group)), 2))
        answer = await self._calculating.answer(group, name, pairs) if pairs else Answer([], [])
        for source, each in zip(group, answer.systems, strict=bool(pairs)):
            if each.problem is not None:
                why[source.key] = each.problem
        if reference is not None and reference in why:
            raise errors.Conflict(f"the measurement {reference} cannot be the reference: {why[reference]}")
        not_ranked = [NotRanked(name=called[key], measurement=key, why=text) for key, text in why.items()]
        made = [
            results.pair(group[a].key, group[b].key, each.result)
            for (a, b), each in zip(pairs, answer.pairs, strict=True)
            if each.result is not None
        ]
        ranked = [each for each in group if each.key not in why]
        outcomes = {source.key: each for source, each in zip(group, answer.systems, strict=bool(pairs))}
        systems = [results.system(each, called[each.key], name, outcomes.get(each.key, Found())) for each in ranked]
        return _leaderboard(method, dataset, name, ranked, systems, made, reference, not_ranked, left_out)


def _leaderboard(
    method: str, dataset: str, name: str, sources: Sequence[Source], systems: Sequence[comparisons.ComparedSystem],
    pairs: Sequence[comparisons.ComparedPair], reference: str | None, not_ranked: list[NotRanked], left_out: int,
) -> Leaderboard:  # fmt: skip
    declared = (terms.score(sources[0], name) if sources else None) or {}
    shown = precision.shown(declared)
    valence = declared.get("valence") or "neutral"
    chosen = reference or _best(systems, valence)
    known = ranks.ranks([each.id for each in systems], pairs) if valence != "neutral" else {}
    listed = [
        RankedSystem(
            **{field: getattr(each, field) for field in each.__struct_fields__}, ranks=known.get(each.id),
            against=None if chosen in (None, each.id) else ranks.against(str(chosen), each.id, pairs),
        )
        for each in systems
    ]  # fmt: skip
    listed.sort(key=lambda each: ((each.ranks.first, each.ranks.last) if each.ranks else (0, 0), each.name.casefold(), each.id))
    return Leaderboard(
        method=method, dataset=dataset, score=name, title=str(declared.get("title") or name),
        methodName=str((sources[0].measurement["method"].get("name") or method) if sources else ""), systems=listed, valence=valence,
        unit=declared.get("unit"), minimum=shown.minimum if shown else None, maximum=shown.maximum if shown else None, reference=chosen,
        comparisons=len(pairs), notRanked=not_ranked, leftOut=left_out, notes=ranks.notes(pairs, comparisons.LEVEL),
    )  # fmt: skip


def _best(systems: Sequence[comparisons.ComparedSystem], valence: str) -> str | None:
    """The ID of the one with the best score, or of a neutral score with the highest; None without a system."""
    if not systems:
        return None
    sign = -1 if valence == "negative" else 1
    return max(systems, key=lambda each: (sign * each.quantity, each.id)).id


def _group(found: Sequence[Source], name: str, reference: str | None) -> tuple[list[Source], dict[str, str]]:
    """Those that can be joined with each other, the most or those of the reference; and why others cannot, by their IDs.

    Raises:
        Conflict: the reference is none of them.
    """
    why = {each.key: problem for each in found if (problem := terms.unusable(each, name)) is not None}
    by_terms: dict[bytes, list[Source]] = {}
    for each in found:
        if each.key not in why:
            by_terms.setdefault(terms.signature(each), []).append(each)
    groups = sorted(by_terms.values(), key=lambda group: (any(each.key == reference for each in group), len(group)), reverse=True)
    if reference is not None and all(each.key != reference for each in found):
        raise errors.Conflict(f"{reference} is no measurement of this leaderboard: give the ID of one of its measurements as the reference")
    if not groups:
        return [], why
    group, *others = groups
    for each in (one for other in others for one in other):
        why[each.key] = "; ".join(part.partition(":")[0] for part in terms.differences(group[0], each))
    return group, why
