"""The health of each role of this process, for `/health`, `/ready` and the log."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import anyio
import msgspec

from dyff.kernel import clock as clocks
from dyff.kernel import degradation

UNSTOPPABLE_S = 30.0
"""If a stuck role has not ended this long after it was asked to, only ending the process can end it."""


class Phase(enum.StrEnum):
    """Phase of a role's life cycle. `STANDBY`: it could serve, but another process does. `STUCK`: it made no progress, and was asked
    to end.
    """

    STARTING = "starting"
    READY = "ready"
    STANDBY = "standby"
    STUCK = "stuck"
    RESTARTING = "restarting"
    STOPPED = "stopped"


SERVING = frozenset({Phase.READY, Phase.STANDBY})


class RoleHealth(msgspec.Struct):
    """Health of one role. `since`: when it entered its phase; `entered_s`: the same by the monotonic clock. `problem`: what is wrong
    with it, or why it last failed; None once it is ready again. `served`: it has been ready at least once.
    """

    name: str
    phase: Phase
    since: str
    entered_s: float = 0.0
    failures: int = 0
    problem: str | None = None
    served: bool = False


class Health:
    """Health of the roles of this process."""

    def __init__(self, clock: clocks.Clock, troubles: degradation.Troubles) -> None:
        """No roles yet. `troubles`: what does not work although every role serves."""
        self._clock, self._troubles = clock, troubles
        self._roles: dict[str, RoleHealth] = {}
        self._changed = anyio.Event()

    def enter(self, role: str, phase: Phase, problem: str | None = None) -> None:
        """Record that a role enters a phase; a `problem` counts as a failure."""
        known = self._roles.setdefault(role, RoleHealth(role, phase, ""))
        known.phase, known.since, known.entered_s = phase, clocks.iso(self._clock.now()), self._clock.monotonic()
        if problem is not None:
            known.failures += 1
        known.problem = problem if phase not in SERVING else None
        known.served = known.served or phase in SERVING
        self._changed.set()
        self._changed = anyio.Event()

    def report_problem(self, role: str, problem: str | None, *, stuck: bool = False) -> None:
        """Record a problem of a running role without counting a failure; None clears it. `stuck`: the role is asked to end."""
        if stuck:
            self.enter(role, Phase.STUCK)
        self._roles[role].problem = problem

    def has_served(self, role: str) -> bool:
        """Whether the role has been ready at least once."""
        return self._roles[role].served

    def served_s(self, role: str) -> float:
        """For how many seconds the role has been serving; 0 if it is not."""
        known = self._roles[role]
        return self._clock.monotonic() - known.entered_s if known.phase in SERVING else 0.0

    def phases(self) -> dict[str, Phase]:
        """The present phase of each role."""
        return {name: role.phase for name, role in self._roles.items()}

    def phase(self, role: str) -> Phase:
        """The present phase of the role."""
        return self._roles[role].phase

    @property
    def is_ready(self) -> bool:
        """Whether every role serves or stands by, and makes progress."""
        return bool(self._roles) and all(role.phase in SERVING and role.problem is None for role in self._roles.values())

    @property
    def is_alive(self) -> bool:
        """Whether this process can recover; if not, it has to be restarted."""
        now = self._clock.monotonic()
        return not any(role.phase is Phase.STUCK and now - role.entered_s > UNSTOPPABLE_S for role in self._roles.values())

    async def wait_ready(self, names: Iterable[str] | None = None) -> None:
        """Wait until these roles serve or stand by; None for all roles."""
        while not all(self._roles[name].phase in SERVING for name in (self._roles if names is None else names)):
            await self._changed.wait()

    def report(self) -> dict[str, Any]:
        """`{"status": "ok"|"degraded"|"starting"|"failing", "alive", "degraded": [...], "roles": {name: {"phase", "since", "failures",
        "problem"}}}`. `degraded`: see `Troubles.reported`; the status is `degraded` if there are troubles and every role serves.
        """
        roles = {
            name: {"phase": r.phase, "since": r.since, "failures": r.failures, "problem": r.problem} for name, r in self._roles.items()
        }
        failing = any(role.problem is not None for role in self._roles.values())
        troubles = self._troubles.reported()
        ready = "degraded" if troubles else "ok"
        status = ready if self.is_ready else "failing" if failing else "starting"
        return {"status": status, "alive": self.is_alive, "degraded": troubles, "roles": roles}
