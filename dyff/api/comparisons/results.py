"""What a comparison has found, in the form of its answer. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from dyff.api.comparisons.tasks import Answer, Found, Pairs
from dyff.api.comparisons.terms import Source, score
from dyff.api.dossiers import precision
from dyff.entities import analyses, comparisons, differing
from dyff.kernel import errors

_PROBLEMS = 3
"""That are reported."""


def refuse(problems: Sequence[str]) -> None:
    """Raise Conflict if there are problems."""
    if problems:
        more = f". {len(problems) - _PROBLEMS} more such problems" if len(problems) > _PROBLEMS else ""
        raise errors.Conflict(". ".join(problems[:_PROBLEMS]) + more)


def items_of(sources: Sequence[Source], name: str, answer: Answer) -> differing.DifferingItems:
    """The whole answer about items, without problems. `name`: of the score."""
    assert answer.items is not None
    found, keys = answer.items, [each.id for each in sources]
    pairs = [
        differing.PairCounts(a=a, b=b, aHigher=counts[0], bHigher=counts[1], equal=counts[2], unpaired=counts[3])
        for (a, b), counts in zip(itertools.combinations(keys, 2), found.pairs, strict=True)
    ]
    return differing.DifferingItems(
        score=name, systems=keys, measurements=[each.key for each in sources], evaluations=[each.evaluation.get("id") for each in sources],
        items=found.items, pairs=pairs, count=found.count, next=None if found.next is None else str(found.next),
        valence=(score(sources[0], name) or {}).get("valence") or "neutral",
    )  # fmt: skip


def problems(sources: Sequence[Source], pairs: Pairs, answer: Answer) -> list[str]:
    """Why rows could not be compared, as sentences."""
    found = [
        f"the measurement {source.key} cannot be compared: {each.problem}"
        for source, each in zip(sources, answer.systems, strict=True)
        if each.problem is not None
    ]
    return found or [
        f"the measurements {sources[a].key} and {sources[b].key} cannot be compared: {each.problem}"
        for (a, b), each in zip(pairs, answer.pairs, strict=True)
        if each.problem is not None
    ]


def comparisons_of(sources: Sequence[Source], names: Sequence[str], name: str, pairs: Pairs, answer: Answer) -> comparisons.Comparisons:
    """The whole answer, without problems. `names`: of the systems. `name`: of the score."""
    method, declared = sources[0].measurement["method"], score(sources[0], name) or {}
    systems = zip(sources, names, answer.systems, strict=True)
    return comparisons.Comparisons(
        score=name, title=str(declared.get("title") or name), method=method["id"], methodName=str(method.get("name") or method["id"]),
        systems=[system(source, called, name, each) for source, called, each in systems],
        pairs=[pair(sources[a].id, sources[b].id, each.result or {}) for (a, b), each in zip(pairs, answer.pairs, strict=True)],
        valence=declared.get("valence") or "neutral", unit=declared.get("unit"), dataset=sources[0].dataset,
    )  # fmt: skip


def system(source: Source, name: str, score_name: str, found: Found) -> comparisons.ComparedSystem:
    """A system. `name`: of it."""
    shown = precision.shown(score(source, score_name) or {})
    assert shown is not None  # a score that has no quantity is not stored
    return comparisons.ComparedSystem(
        id=source.id, measurement=source.key, name=name, quantity=shown.quantity, quantityString=shown.quantityString,
        inferenceService=source.service, evaluation=source.evaluation.get("id"), uncertainty=shown.uncertainty,
        outcomes=None if found.result is None else _outcomes(found.result),
    )  # fmt: skip


def pair(a: str, b: str, found: dict[str, Any]) -> comparisons.ComparedPair:
    """A pair. `found`: `dyff.stats.Comparison.document`."""
    ids = {"a": a, "b": b, None: None}
    difference, test = found["difference"], found["test"]
    return comparisons.ComparedPair(
        a=a, b=b, verdict=found["verdict"], better=ids[found["better"]], higher=ids[found["higher"]], difference=difference["value"],
        estimate=analyses.Estimate(
            level=difference["level"], n=difference["n"], method=difference["method"], outcomes=_outcomes(difference["outcomes"]),
            low=difference["low"], high=difference["high"], clusters=difference["clusters"],
            standardError=difference.get("standardError"), degreesOfFreedom=difference.get("degreesOfFreedom"),
            notes=difference["notes"], by=difference["by"],
        ),
        test=comparisons.DifferenceTest(
            p=test["p"], pCorrected=found["pCorrected"], comparisons=found["comparisons"], method=test["method"],
            smallest=test["smallest"], exact=test["exact"], seed=test.get("seed"), draws=test.get("draws"), notes=test["notes"],
        ),
        ofA=_side(found["a"]), ofB=_side(found["b"]), power=found["power"], detectable=found["detectable"], notes=found["notes"],
    )  # fmt: skip


def _side(found: dict[str, Any]) -> comparisons.ComparedSide:
    return comparisons.ComparedSide(mean=found["mean"], outcomes=_outcomes(found["outcomes"]), missing=found["missing"])


def _outcomes(found: dict[str, int]) -> analyses.Outcomes:
    return analyses.Outcomes(**found)
