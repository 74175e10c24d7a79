"""Which sorts of runs a safety case is one of. Pure.

The runs that are counted decide which others are: measurements are found by the evaluations that they read, and safety cases by the
measurements. So `steps` asks for one sort after the other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

import msgspec

from dyff.api.dossiers import runs
from dyff.api.dossiers.runs import Sort, Tally
from dyff.entities import codecs, scopes
from dyff.entities.exports import evidence
from dyff.entities.exports.evidence import Gathered

MAX_SORTS = 8
"""Limit of the sorts of evaluations, and of measurements, that are counted for one case. What is left out is said."""

EVALUATIONS = "evaluations of this system on this dataset"
OF_THE_MODEL = "evaluations of the same model on this dataset, by any service"
MEASUREMENTS = "measurements of this system on this dataset by this method"
ANY_MEASUREMENTS = "measurements that read the same runs, by any method"
CASES, CASES_ON_DATA = "safety cases about this system by this method", "safety cases about this system on this dataset by this method"
ANY_CASES = "safety cases that read the same runs, by any method"

Steps = Generator[Sort, Tally, runs.Counted]
_T = TypeVar("_T")


def steps(gathered: Gathered) -> Steps:
    """Yields sorts, is sent the tally of each, and returns all of them.

    A row that is wider than the others is left out if it has no further runs.
    """
    return (yield from _Counting(gathered).steps())


class _Counting:
    """What was counted so far. `_ids`: of runs, by the service that they are about. `_wide`: of runs that another row has in addition."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._entities = gathered.entities
        self._rows: list[Tally] = []
        self._ids: dict[str, list[str]] = {}
        self._wide: list[str] = []
        self._is_all, self._left_out = True, 0

    def steps(self) -> Steps:
        yield from self._evaluations()
        yield from self._measurements()
        yield from self._cases()
        return runs.Counted(tuple(self._rows), self._left_out)

    def _evaluations(self) -> Generator[Sort, Tally, None]:
        found = list(dict.fromkeys(_evaluated(self._gathered)))
        for service, dataset, _ in self._bounded(list(dict.fromkeys((service, dataset, None) for service, dataset, _ in found))):
            terms = (("dataset", dataset), ("inferenceService", service))
            self._keep((yield Sort("Evaluation", EVALUATIONS, terms)), [service])
        for dataset, model in list(dict.fromkeys((dataset, model) for _, dataset, model in found if model is not None))[:MAX_SORTS]:
            yield from self._further(Sort("Evaluation", OF_THE_MODEL, (("dataset", dataset), ("model", model))))

    def _measurements(self) -> Generator[Sort, Tally, None]:
        known = self._gathered.read("Measurement")[::-1]  # what one was made of comes before it
        sorts: dict[tuple[str, tuple[tuple[str, str], ...], frozenset[str]], None] = {}
        for each in known:
            method = evidence.object_of(each, "method").get("id")
            if isinstance(method, str):
                sorts[method, _scope(each, "inferenceService", "dataset"), scopes.systems(each, self._entities)] = None
        for method, scope, systems in self._bounded(list(sorts)):
            yield from self._narrow("Measurement", MEASUREMENTS, method, scope, systems)
        yield from self._further(Sort("Measurement", ANY_MEASUREMENTS, read=self._all_ids()))

    def _cases(self) -> Generator[Sort, Tally, None]:
        case = self._gathered.root
        method, systems = evidence.object_of(case, "method").get("id"), scopes.systems(case, self._entities)
        on_data = evidence.object_of(case, "scope").get("dataset") is not None
        scope = _scope(case, "inferenceService", *(["dataset"] if on_data else []))
        if isinstance(method, str):
            yield from self._narrow("SafetyCase", CASES_ON_DATA if on_data else CASES, method, scope, systems)
        yield from self._further(Sort("SafetyCase", ANY_CASES, read=self._all_ids()))

    def _narrow(
        self, kind: str, what: str, method: str, scope: tuple[tuple[str, str], ...], systems: frozenset[str]
    ) -> Generator[Sort, Tally, None]:
        """The runs by one method about a system, by what they say, and by what they read."""
        read = self._cut(each for system in sorted(systems) for each in self._ids.get(system, []))
        if scope or read:
            self._keep((yield Sort(kind, what, (("method", method),), scope, read)), sorted(systems))

    def _further(self, sort: Sort) -> Generator[Sort, Tally, None]:
        """A wider sort, if there is something by which to find it."""
        if not sort.terms and not sort.read:
            return
        tally = yield sort
        known = {each.id for row in self._rows if row.sort.kind == sort.kind for each in row.seen}
        if more := [each.id for each in tally.seen if each.id not in known]:
            self._rows.append(msgspec.structs.replace(tally, is_all=tally.is_all and self._is_all))
            self._wide += more

    def _keep(self, tally: Tally, systems: Iterable[str]) -> None:
        self._rows.append(msgspec.structs.replace(tally, is_all=tally.is_all and self._is_all))
        self._is_all = self._is_all and tally.is_all
        for system in systems:
            self._ids.setdefault(system, []).extend(each.id for each in tally.seen)

    def _all_ids(self) -> tuple[str, ...]:
        return self._cut([*(each for ids in self._ids.values() for each in ids), *self._wide])

    def _cut(self, ids: Iterable[str]) -> tuple[str, ...]:
        found = list(dict.fromkeys(ids))
        self._is_all = self._is_all and len(found) <= runs.MAX_READ
        return tuple(found[: runs.MAX_READ])

    def _bounded(self, sorts: list[_T]) -> list[_T]:
        self._left_out += max(0, len(sorts) - MAX_SORTS)
        return sorts[:MAX_SORTS]


def _evaluated(gathered: Gathered) -> Iterable[tuple[str, str, str | None]]:
    """Services with datasets on which they were evaluated, and their models, as evaluations and the scope of the case name them."""
    scope = evidence.object_of(gathered.root, "scope")
    for each in [*map(scopes.about, gathered.read("Evaluation")), scope]:
        service, dataset, model = (each.get(name) for name in ("inferenceService", "dataset", "model"))
        if isinstance(service, str) and isinstance(dataset, str):
            yield service, dataset, model if isinstance(model, str) and each is not scope else None


def _scope(analysis: codecs.Json, *names: str) -> tuple[tuple[str, str], ...]:
    """Fields of a scope with their values; empty if one is not given."""
    scope = evidence.object_of(analysis, "scope")
    found = tuple((name, scope[name]) for name in sorted(names) if isinstance(scope.get(name), str))
    return found if len(found) == len(names) else ()
