"""Joins the rows of two systems by item and replication, so that each pair is about the same question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dyff.stats import columns, samples
from dyff.stats.estimates import Outcomes
from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from dyff.stats.columns import Codes, Column, Floats, Mask

    Table: TypeAlias = "pa.Table | Mapping[str, Column]"

INDEX, REPLICATION, CLUSTER, ERROR = "_index_", "_replication_", "_cluster_", "_error_"
"""The columns of a table of items besides those that are named like its scores. Only the first one is needed."""


@dataclass(frozen=True)
class Joined:
    """The rows of two systems, one for each item and replication that either has.

    `a`, `b`: the numbers, masked where there is no verdict. `error_a`, `error_b`: where the system or the method failed. `cluster`: by row;
    None if rows are independent. `outcomes_a`, `outcomes_b`: of the rows that each has. `only_a`, `only_b`: the rows that the other lacks.
    """

    a: NDArray[Any]
    b: NDArray[Any]
    error_a: Mask
    error_b: Mask
    cluster: Codes | None
    outcomes_a: Outcomes
    outcomes_b: Outcomes
    only_a: int
    only_b: int

    @property
    def paired(self) -> Mask:
        """Which rows have a verdict on both sides."""
        import numpy as np

        paired: Mask = ~(np.ma.getmaskarray(self.a) | np.ma.getmaskarray(self.b))
        return paired


@dataclass(frozen=True)
class _Side:
    """The rows of one system. `items`, `replications`, `clusters`: numbers, which mean the same on both sides."""

    items: Codes
    replications: Codes
    clusters: Codes | None
    values: Floats
    there: Mask
    failed: Mask
    outcomes: Outcomes


class _Numbers:
    """Numbers for labels, the same for both sides."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, column: Column, name: str, places: Mapping[Any, int] | None = None) -> Codes:
        """The number of each row. `places`: another label for each label.

        Raises:
            Unfit: a row has no label, or none of `places`.
        """
        import numpy as np

        codes, labels = columns.labels(column, name)
        missing = [] if places is None else [each for each in labels if each not in places]
        if missing:
            raise Unfit(f"{name} has {missing[0]!r}, which is none of the replications that were given; give all of them in their order")
        meant = labels if places is None else [places[each] for each in labels]
        return np.array([self._known.setdefault(each, len(self._known)) for each in meant] or [0], dtype=np.int64)[codes]


def joined(a: Table, b: Table, score: str, *, replications: tuple[Sequence[Any], Sequence[Any]] | None = None) -> Joined:
    """Join two tables of items; see `dyff.stats.compare` for them.

    Raises:
        Unfit: a column is missing or cannot be used, a key is there twice, or no key is on both sides.
    """
    import numpy as np

    items, clusters, times = _Numbers(), _Numbers(), _Numbers()
    places = _places(a, b, replications)
    first = _side(a, "a", score, items, times, clusters, places[0])
    second = _side(b, "b", score, items, times, clusters, places[1])
    keys_a, keys_b = (each.items * len(times) + each.replications for each in (first, second))
    _refuse_repetitions(keys_a, first, "a")
    _refuse_repetitions(keys_b, second, "b")
    keys = np.union1d(keys_a, keys_b)
    at_a, at_b = np.searchsorted(keys, keys_a), np.searchsorted(keys, keys_b)
    common = keys_a.size + keys_b.size - keys.size
    if not common:
        raise Unfit(f"a and b have no item in common: {INDEX} and {REPLICATION} of their {keys_a.size} and {keys_b.size} rows differ")
    return Joined(
        _spread(first, at_a, keys.size), _spread(second, at_b, keys.size), _flags(first, at_a, keys.size), _flags(second, at_b, keys.size),
        _units(first, second, at_a, at_b, keys // len(times)),
        first.outcomes, second.outcomes, int(keys_a.size - common), int(keys_b.size - common),
    )  # fmt: skip


def _names(table: Table) -> list[str]:
    return list(table.column_names if hasattr(table, "column_names") else table)


def _places(
    a: Table, b: Table, replications: tuple[Sequence[Any], Sequence[Any]] | None
) -> tuple[Mapping[Any, int] | None, Mapping[Any, int] | None]:
    """By side, the number of each replication; None if its label means the same on both sides.

    Raises:
        Unfit: the labels of both sides differ, and there are several.
    """
    if REPLICATION not in _names(a) or REPLICATION not in _names(b):
        return None, None
    if replications is not None:
        first, second = ({each: place for place, each in enumerate(known)} for known in replications)
        return first, second
    labels = [set(columns.labels(each[REPLICATION], f"{REPLICATION} of {name}")[1]) for each, name in ((a, "a"), (b, "b"))]
    if not labels[0].isdisjoint(labels[1]):
        return None, None
    if max(map(len, labels)) > 1:
        raise Unfit(f"{REPLICATION} has other values in a than in b; give replications=, the values of each side in their order")
    return dict.fromkeys(labels[0], 0), dict.fromkeys(labels[1], 0)


def _side(
    table: Table, side: str, score: str, items: _Numbers, times: _Numbers, clusters: _Numbers, places: Mapping[Any, int] | None
) -> _Side:
    """Raises Unfit if a column is missing or cannot be used."""
    import numpy as np

    known = _names(table)
    for name in (INDEX, score):
        if name not in known:
            raise Unfit(f"{side} has no column {name}; it has {', '.join(known)}")
    values, there = columns.numbers(table[score], f"{score} of {side}")
    failed = samples.failures(there, table[ERROR] if ERROR in known else None, f"{score} of {side}", ERROR)
    verdicts, errors = int(there.sum()), int(failed.sum())
    found = items.of(table[INDEX], f"{INDEX} of {side}")
    if REPLICATION in known:
        replication = times.of(table[REPLICATION], f"{REPLICATION} of {side}", places)
    else:
        replication = times.of([0] * int(found.size), REPLICATION)
    cluster = clusters.of(table[CLUSTER], f"{CLUSTER} of {side}") if CLUSTER in known else None
    columns.same_length(**{score: int(values.size), INDEX: int(found.size), REPLICATION: int(replication.size)})
    outcomes = Outcomes(verdicts, errors, int(there.size) - verdicts - errors)
    return _Side(found, replication, cluster, np.asarray(values), there, failed, outcomes)


def _refuse_repetitions(keys: Codes, side: _Side, name: str) -> None:
    import numpy as np

    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if twice.size:
        row = int(first[twice[0]])
        raise Unfit(f"{name} has {int(counts[twice[0]])} rows of one item and replication, such as row {row}; give one row for each")


def _spread(side: _Side, at: Codes, size: int) -> NDArray[Any]:
    import numpy as np

    values, mask = np.zeros(size), np.ones(size, dtype=np.bool_)
    values[at], mask[at] = side.values, ~side.there
    return np.ma.masked_array(values, mask)


def _flags(side: _Side, at: Codes, size: int) -> Mask:
    import numpy as np

    found = np.zeros(size, dtype=np.bool_)
    found[at] = side.failed
    return found


def _units(a: _Side, b: _Side, at_a: Codes, at_b: Codes, items: Codes) -> Codes | None:
    """The cluster of each row: as the tables say, otherwise its item if one has several rows; None if all rows are independent.

    Raises:
        Unfit: the tables disagree.
    """
    import numpy as np

    if (a.clusters is None) != (b.clusters is None):
        having, lacking = ("a", "b") if b.clusters is None else ("b", "a")
        raise Unfit(f"{having} has the column {CLUSTER} and {lacking} has not; give it to both, or to none")
    if a.clusters is None or b.clusters is None:
        return items if np.unique(items).size < items.size else None
    found = np.full(items.size, -1, dtype=np.int64)
    found[at_a] = a.clusters
    differing = np.flatnonzero((found[at_b] != -1) & (found[at_b] != b.clusters))
    if differing.size:
        raise Unfit(f"{CLUSTER} of an item differs between a and b ({differing.size} rows, such as row {int(differing[0])} of b)")
    found[at_b] = b.clusters
    return found
