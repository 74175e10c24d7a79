"""The health of the system and quotas in use, as the API answers them (docs/console-data.md). Tolerant: unknown fields are ignored."""

from __future__ import annotations

import msgspec

from dyff.entities import answers, showing, stored


class KnownRole(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A role. `known`: False if it runs in a process whose address is not known here; then all further fields but `role` are None.

    `status`: of its process: `ok`, `degraded`, `starting`, `failing`, or `unreachable`. `address`: of its probes; None if it is in the
    process that answers.
    """

    role: str
    known: bool
    status: str | None = None
    address: str | None = None
    phase: str | None = None
    since: str | None = None
    problem: str | None = None
    failures: int | None = None


class PortHealth(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Whether a backend answers, and how long that took."""

    port: str
    works: bool
    seconds: float
    problem: str | None = None


class Lag(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Records that wait: events that are not folded, states that are not written, events that the view does not have. None: not known."""

    aggregator: int | None = None
    sink: int | None = None
    view: int | None = None


class Look(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What was seen at a time: the ports that worked, those that failed, the lag, and roles that did not serve."""

    time: stored.Time
    works: list[str]
    fails: list[str]
    lag: Lag
    unready: list[str]


class System(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The health of the system. `history`: the oldest first."""

    time: stored.Time
    everySeconds: float
    roles: list[KnownRole]
    degraded: list[answers.Trouble]
    ports: list[PortHealth]
    lag: Lag
    history: list[Look]


class InUse(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """How much of a quantity is in use. Decimal texts; `limit`: None for unlimited."""

    used: str
    limit: str | None = None


class QuotasInUse(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What an account uses of what it may use at the same time. `complete`: False if not all of its runs were counted."""

    admitted: InUse
    cpu: InUse
    memory: InUse
    accelerators: dict[str, InUse]
    complete: bool = True
