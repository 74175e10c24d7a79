"""The order of samples: by index, then by replication; and where a page begins and ends in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import msgspec

Keys = Iterable[tuple[int, str]]
"""Indices in order, each with its replication."""


class Key(msgspec.Struct, frozen=True, gc=False):
    """A sample. `place`: among those of its index, from 0. `twin`: how many samples before it have the same index and replication.

    `has_error`: an error is recorded for it.
    """

    index: int
    replication: str
    place: int
    twin: int
    has_error: bool


def merged(outputs: Keys, errors: Keys, replications: Iterable[str]) -> Iterator[Key]:
    """Yield all samples: outputs, and errors of items that have none. `replications`: in their order; others come after them."""
    ranks = {each: number for number, each in enumerate(replications)}
    by_output, by_error = groupby(outputs, itemgetter(0)), groupby(errors, itemgetter(0))
    output, error = _next(by_output), _next(by_error)
    while output is not None or error is not None:
        index = min(each[0] for each in (output, error) if each is not None)
        found, failed = list[str](), list[str]()
        if output is not None and output[0] == index:
            found, output = output[1], _next(by_output)
        if error is not None and error[0] == index:
            failed, error = error[1], _next(by_error)
        yield from _of_index(index, found, failed, ranks)


def _of_index(index: int, found: list[str], failed: list[str], ranks: dict[str, int]) -> Iterator[Key]:
    if not failed and len(found) == 1:  # nearly always
        yield Key(index, found[0], 0, 0, False)
        return
    has_error = set(failed)
    every = [*found, *sorted(has_error.difference(found))]
    every.sort(key=lambda each: ranks.get(each, len(ranks)))
    seen: dict[str, int] = {}
    for place, each in enumerate(every):
        yield Key(index, each, place, seen.get(each, 0), each in has_error)
        seen[each] = seen.get(each, 0) + 1


def _next(groups: Iterator[tuple[int, Iterator[tuple[int, str]]]]) -> tuple[int, list[str]] | None:
    for index, members in groups:
        return index, [replication for _, replication in members]
    return None
