"""Finds the items on which systems differ, in the program that compares (`dyff.api.comparisons.program`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dyff.api.comparisons.tasks import Items
from dyff.entities.differing import STATES, DifferingItem, Page
from dyff.stats import columns, joins, samples
from dyff.stats.unfit import Unfit

_TEXT_CHARS = 200
_VERDICT, _ERROR, _NOT_SCORED, _MISSING = range(len(STATES))


class Rows(msgspec.Struct, frozen=True):
    """The rows of all systems, joined. `indices`, `numbers`: by item. `values`, `states`: by system and item.

    A state is its place in `STATES`. A value is undefined where there is no verdict.
    """

    indices: list[Any]
    numbers: list[int | None]
    values: NDArray[np.float64]
    states: NDArray[np.int8]


def joined(tables: Sequence[pa.Table], score: str, replications: Sequence[Sequence[str]]) -> Rows:
    """Join the rows of systems by item and replication. `replications`: the IDs of those of each evaluation, in order.

    Raises:
        Unfit: a column cannot be used.
    """
    places, are_numbers = _places(tables, replications)
    keys: dict[tuple[Any, int], int] = {}
    rows = []
    for table, known in zip(tables, places, strict=True):
        codes, labels = columns.labels(table[joins.INDEX], joins.INDEX)
        found = [
            keys.setdefault((labels[code], place), len(keys)) for code, place in zip(codes.tolist(), _of_rows(table, known), strict=True)
        ]
        if len(set(found)) < len(found):
            raise Unfit("it has several rows of one item and replication; there must be one row for each")
        rows.append(found)
    values = np.zeros((len(tables), len(keys)))
    states = np.full((len(tables), len(keys)), _MISSING, dtype=np.int8)
    for system, (table, at) in enumerate(zip(tables, rows, strict=True)):
        numbers, there = columns.numbers(table[score], score)
        error = table[joins.ERROR] if joins.ERROR in table.column_names else None
        failed = samples.failures(there, error, score, joins.ERROR)
        values[system, at] = numbers
        states[system, at] = np.where(there, _VERDICT, np.where(failed, _ERROR, _NOT_SCORED))
    order = sorted(range(len(keys)), key=_sorting(list(keys)).__getitem__)
    listed = list(keys)
    indices = [listed[place][0] for place in order]
    found_numbers = [listed[place][1] if are_numbers else None for place in order]
    return Rows(indices, found_numbers, values[:, order], states[:, order])


def page(rows: Rows, asked: Page, *, is_boolean: bool) -> Items:
    """The items that fit. `is_boolean`: whether values are written as booleans."""
    fitting = np.flatnonzero(_fit(rows, asked))
    chosen = fitting[asked.first : asked.first + asked.limit]
    items = [
        DifferingItem(
            index=_index(rows.indices[place]),
            number=rows.numbers[place],
            values=[_value(value, state, is_boolean) for value, state in zip(rows.values[:, place], rows.states[:, place], strict=True)],
            states=[STATES[state] for state in rows.states[:, place]],
        )
        for place in chosen.tolist()
    ]
    end = asked.first + len(items)
    return Items(items, int(fitting.size), end if end < fitting.size else None, _counts(rows))


def _places(tables: Sequence[pa.Table], replications: Sequence[Sequence[str]]) -> tuple[list[Mapping[Any, int] | None], bool]:
    """By system, the place of each label of a replication, as `joins` pairs them; None: it has no such column. And whether places are
    numbers of the evaluation's replications.
    """
    if any(joins.REPLICATION not in table.column_names for table in tables):
        return [None for _ in tables], False
    labels = [list(dict.fromkeys(table[joins.REPLICATION].to_pylist())) for table in tables]
    if all({*found} <= {*known} for found, known in zip(labels, replications, strict=True)):
        return [{each: place for place, each in enumerate(known)} for known in replications], True
    if all(len(found) == 1 for found in labels):
        return [{found[0]: 0} for found in labels], False
    together = {each: place for place, each in enumerate(dict.fromkeys(each for found in labels for each in found))}
    return [together for _ in tables], False


def _of_rows(table: pa.Table, places: Mapping[Any, int] | None) -> list[int]:
    if places is None:
        return [0] * table.num_rows
    codes, labels = columns.labels(table[joins.REPLICATION], joins.REPLICATION)
    return [places[labels[code]] for code in codes.tolist()]


def _sorting(keys: Sequence[tuple[Any, int]]) -> list[tuple[Any, ...]]:
    """What to sort keys by: indices of several types by the name of the type first."""
    return [(type(index).__name__, index if isinstance(index, int | float | str) else str(index), place) for index, place in keys]


def _fit(rows: Rows, asked: Page) -> NDArray[np.bool_]:
    chosen = list(range(len(rows.values))) if asked.between is None else list(asked.between)
    values, there = rows.values[chosen], rows.states[chosen] == _VERDICT
    if asked.show == "all":
        return np.ones(values.shape[1], dtype=np.bool_)
    if asked.show == "unpaired":
        some: NDArray[np.bool_] = there.any(axis=0) & ~there.all(axis=0)
        return some
    most, least = np.where(there, values, -np.inf).max(axis=0), np.where(there, values, np.inf).min(axis=0)
    found: NDArray[np.bool_] = (there.sum(axis=0) > 1) & (most > least)
    if asked.higher is not None:
        found &= values[chosen.index(asked.higher)] == most
    return found


def _counts(rows: Rows) -> list[tuple[int, int, int, int]]:
    """For each pair of systems in their order: a is higher, b is higher, equal, unpaired."""
    found, there = [], rows.states == _VERDICT
    for a in range(len(rows.values)):
        for b in range(a + 1, len(rows.values)):
            both = there[a] & there[b]
            first, second = rows.values[a][both], rows.values[b][both]
            higher, lower = int((first > second).sum()), int((second > first).sum())
            found.append((higher, lower, int(both.sum()) - higher - lower, int((there[a] != there[b]).sum())))
    return found


def _value(value: float, state: int, is_boolean: bool) -> bool | float | None:
    if state != _VERDICT:
        return None
    return bool(value) if is_boolean else float(value)


def _index(value: Any) -> int | str:
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)[:_TEXT_CHARS]
