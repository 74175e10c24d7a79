"""The items on which systems differ that the same method has measured on the same dataset."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dyff.entities import described, stored

MAX_LIMIT = 200
"""Limit of the items in one answer."""

State = Literal["verdict", "error", "notScored", "missing"]
STATES: tuple[State, ...] = ("verdict", "error", "notScored", "missing")
"""What became of an item: it has a verdict; the system or the method failed; neither; the measurement has no such row."""

Show = Literal["differing", "unpaired", "all"]
SHOWN: tuple[Show, ...] = ("differing", "unpaired", "all")


class DifferingItem(stored.Part, frozen=True):
    """An item in one replication.

    `index`: of the item. `number`: of the replication, from 0; None if the rows do not say which one it is. `values`: by system, in their
    order, what its row has in the column of the score; None where it is no verdict. `states`: by system.
    """

    index: int | str
    values: list[bool | float | None]
    states: list[Annotated[str, described.says(enum=list(STATES))]]
    number: int | None = None


class PairCounts(stored.Part, frozen=True):
    """How often two systems differ. `a`, `b`: their IDs, as in `systems`.

    `aHigher`, `bHigher`, `equal`: the pairs of verdicts where the value of a is higher, that of b is higher, and where they are equal.
    `unpaired`: where only one of them has a verdict.
    """

    a: str
    b: str
    aHigher: int
    bHigher: int
    equal: int
    unpaired: int


class DifferingItems(stored.Part, frozen=True):
    """A page of the items that fit, by index and replication.

    `score`: its name. `systems`: IDs as they were asked for, in the order of `values`. `measurements`, `evaluations`: of these systems;
    an evaluation is None if it is not known. `count`: how many items fit. `next`: where the next page begins; None: there is none.
    """

    score: str
    systems: list[str]
    measurements: list[str]
    evaluations: list[str | None]
    items: list[DifferingItem]
    pairs: list[PairCounts]
    count: int
    next: str | None = None
    valence: Annotated[str, described.says(enum=["positive", "negative", "neutral"])] = "neutral"


class Page(msgspec.Struct, frozen=True):
    """Which items are asked for.

    `between`: places of two systems, which alone decide whether an item fits; None: all do. `higher`: the place of that one of the two
    whose value must be the higher one; None: either. `first`: how many of the items that fit are skipped. `limit`: at most this many.
    """

    show: Show = "differing"
    between: tuple[int, int] | None = None
    higher: int | None = None
    first: int = 0
    limit: int = 50
