"""By what entities can be compared: the measurements that the same method has made of them, and why others cannot be joined."""

from __future__ import annotations

import msgspec

from dyff.entities import stored


class ComparableEntity(stored.Part, frozen=True):
    """What was asked about. `name`: for people. `problem`: why it can be compared with nothing, as a sentence; None if it can."""

    id: str
    kind: str
    name: str
    problem: str | None = None


class ComparableScore(stored.Part, frozen=True):
    """A score that all members of a choice have. `priority`: `primary` or `secondary`."""

    name: str
    title: str
    priority: str = "primary"


class Member(stored.Part, frozen=True):
    """An entity, and the measurement by which it is compared: the latest one that fits."""

    entity: str
    measurement: str


class Choice(stored.Part, frozen=True):
    """A way to compare two or more of the entities: `ids` of `GET /v0/comparisons` are the measurements of the members.

    `method`, `methodName`, `dataset`: IDs and name of what has measured all of them, on which items. `scores`: those that all have, the
    primary one first. `members`: in the order in which the entities were asked about; of several that lead to one measurement, the first.
    """

    method: str
    methodName: str
    scores: list[ComparableScore]
    members: list[Member]
    dataset: str | None = None


class NotComparable(stored.Part, frozen=True):
    """Two entities that cannot be compared, by their IDs, and why: sentences."""

    a: str
    b: str
    why: list[str]


class Comparables(stored.Part, frozen=True):
    """How entities can be compared. `choices`: those with the most members first."""

    entities: list[ComparableEntity]
    choices: list[Choice] = msgspec.field(default_factory=list)
    notComparable: list[NotComparable] = msgspec.field(default_factory=list)
