"""What the server asks of the program that compares, and what it answers. Without Arrow, which the server does not load."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.entities.differing import DifferingItem, Page

Pairs = tuple[tuple[int, int], ...]
"""Places of two systems, the first of which is `a`."""


class System(msgspec.Struct, frozen=True):
    """A measurement. `files`: how many it has. `quantity`: of its score. `replications`: the IDs of those of its evaluation, in order."""

    files: int
    quantity: float
    replications: list[str] = []


class Task(msgspec.Struct, frozen=True):
    """What to compare. `pairs`: places of two systems, the first of which is `a`. `page`: of items, if wanted in place of pairs."""

    score: str
    valence: str
    level: float
    systems: list[System]
    pairs: list[tuple[int, int]]
    page: Page | None = None


class Found(msgspec.Struct, frozen=True):
    """Of a system or a pair: what was found, as JSON of `dyff.stats`; or the end of a sentence that says why nothing was."""

    result: dict[str, Any] | None = None
    problem: str | None = None


class Items(msgspec.Struct, frozen=True):
    """A page of items. `count`: how many fit. `next`: how many come before the next page; None: there is none.

    `pairs`: for each pair of systems in their order, how often the first is higher, the second is, they are equal, and only one has a
    verdict.
    """

    items: list[DifferingItem]
    count: int
    next: int | None
    pairs: list[tuple[int, int, int, int]]


class Answer(msgspec.Struct, frozen=True):
    """In the order of the task. `systems`: the outcomes of their rows. `pairs`: the comparisons, corrected for all of them.

    `items`: None if none were asked for, or a system has a problem.
    """

    systems: list[Found]
    pairs: list[Found]
    items: Items | None = None
