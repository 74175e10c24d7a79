"""The health of each role of this process, for `/health`, `/ready` and the log."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import anyio
import msgspec

from dyff.kernel import clock as clocks

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
    with it, or why it last failed; None once it is ready again.
    """

    name: str
    phase: Phase
    since: str
    entered_s: float = 0.0
    failures: int = 0
    problem: str | None = None


class Health:
    """Health of the roles of this process."""

    def __init__(self, clock: clocks.Clock) -> None:
        """No roles yet."""
        self._clock = clock
        self._roles: dict[str, RoleHealth] = {}
        self._changed = anyio.Event()

    def enter(self, role: str, phase: Phase, problem: str | None = None) -> None:
        """Record that a role enters a phase; a `problem` counts as a failure."""
        known = self._roles.setdefault(role, RoleHealth(role, phase, ""))
        known.phase, known.since, known.entered_s = phase, clocks.iso(self._clock.now()), self._clock.monotonic()
        if problem is not None:
            known.failures += 1
        known.problem = problem if phase not in SERVING else None
        self._changed.set()
        self._changed = anyio.Event()

    def report_problem(self, role: str, problem: str | None, *, stuck: bool = False) -> None:
        """Record a problem of a running role without counting a failure; None clears it. `stuck`: the role is asked to end."""
        if stuck:
            self.enter(role, Phase.STUCK)
        self._roles[role].problem = problem

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
        """`{"status": "ok"|"starting"|"failing", "alive", "roles": {name: {"phase", "since", "failures", "problem"}}}`."""
        roles = {
            name: {"phase": r.phase, "since": r.since, "failures": r.failures, "problem": r.problem} for name, r in self._roles.items()
        }
        trouble = any(role.problem is not None for role in self._roles.values())
        return {"status": "ok" if self.is_ready else "failing" if trouble else "starting", "alive": self.is_alive, "roles": roles}
