"""The history of an entity and what it depends on, as the API answers them (docs/console-data.md). Tolerant: unknown fields are ignored."""

from __future__ import annotations

import msgspec

from dyff.entities import showing, stored


class Transition(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A status that an entity has had since `time`.

    `by`: the account that asked for it, or `system`; None if it is not shown. `command`: the name of the command that changed it.
    """

    time: stored.Time
    status: str
    reason: str | None = None
    message: str | None = None
    by: str | None = None
    command: str = ""


class History(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A page of a history, the oldest first. `next`: the parameter `after` of the next page; None at the end."""

    history: list[Transition]
    next: str | None = None


class Related(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An entity that another one needs, or that needs another one.

    `visible`: whether the caller may see it; if not, all further fields but `required` are None. `required`: it must have succeeded first.
    """

    id: str
    visible: bool
    required: bool = False
    kind: str | None = None
    account: str | None = None
    name: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None


class Dependencies(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What an entity needs."""

    needs: list[Related]


class Dependents(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A page of what needs an entity. `next`: the parameter `after` of the next page; None at the end."""

    dependents: list[Related]
    next: str | None = None
