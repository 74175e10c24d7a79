"""The order in which several workers take the tests (`pytest --numprocesses N --dist worksteal`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

WAITING = ("acceptance", "faults", "programs", "slow")
"""The markers of tests that mostly wait for the programs that they start, and take long."""


class Item(Protocol):
    """What is needed of a test."""

    nodeid: str

    def get_closest_marker(self, name: str) -> object:
        """The marker, or None."""


T = TypeVar("T", bound=Item)


def spread(items: list[T], workers: int) -> list[T]:
    """The same tests, so that each worker begins with files of tests that wait, and what it does at the end is short.

    xdist gives each worker one piece of the list, all of the same length. A worker that has finished takes half of what another one has
    left, from its end. Otherwise one worker would have all tests that wait, and the others would get them last. The tests of a file stay
    together: they share a server.
    """
    files: dict[str, list[T]] = {}
    for each in items:
        if _waits(each):
            files.setdefault(each.nodeid.partition("::")[0], []).append(each)
    lanes: list[list[T]] = [[] for _ in range(workers)]
    for _, tests in sorted(files.items(), key=lambda pair: (not any(map(_is_slow, pair[1])), -len(pair[1]), pair[0])):
        min(lanes, key=len).extend(tests)
    rest = [each for each in items if not _waits(each)]
    found: list[T] = []
    for number, lane in enumerate(lanes):
        size = (len(items) - len(found)) // (workers - number)
        more = max(size - len(lane), 0) if number < workers - 1 else len(rest)
        found += [*lane, *rest[:more]]
        rest = rest[more:]
    return found


def _waits(item: Item) -> bool:
    return _has(item, WAITING)


def _is_slow(item: Item) -> bool:
    return _has(item, ("slow",))


def _has(item: Item, names: Iterable[str]) -> bool:
    return any(item.get_closest_marker(name) for name in names)
