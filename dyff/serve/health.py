"""What each role of this process is doing, for `/health`, `/ready` and the log."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import anyio
import msgspec

from dyff.kernel import clock as clocks


class Phase(enum.StrEnum):
    """Where a role is in its life."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class RoleHealth(msgspec.Struct):
    """One role. `since`: when it entered its phase. `problem`: why it failed last, None after it was ready again."""

    name: str
    phase: Phase
    since: str
    failures: int = 0
    problem: str | None = None


class Health:
    """The roles of this process."""

    def __init__(self, clock: clocks.Clock) -> None:
        """No roles yet."""
        self._clock = clock
        self._roles: dict[str, RoleHealth] = {}
        self._changed = anyio.Event()

    def enter(self, role: str, phase: Phase, problem: str | None = None) -> None:
        """A role is in a new phase; `problem` counts as a failure."""
        known = self._roles.setdefault(role, RoleHealth(role, phase, ""))
        known.phase, known.since = phase, clocks.iso(self._clock.now())
        if problem is not None:
            known.failures += 1
        known.problem = problem if phase is not Phase.READY else None
        self._changed.set()
        self._changed = anyio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether every role serves."""
        return bool(self._roles) and all(role.phase is Phase.READY for role in self._roles.values())

    async def wait_ready(self, names: Iterable[str] | None = None) -> None:
        """Wait until these roles serve; None: all."""
        while not all(self._roles[name].phase is Phase.READY for name in (self._roles if names is None else names)):
            await self._changed.wait()

    def report(self) -> dict[str, Any]:
        """`{"status": "ok"|"starting", "roles": {name: {"phase", "since", "failures", "problem"}}}`."""
        roles = {
            name: {"phase": r.phase, "since": r.since, "failures": r.failures, "problem": r.problem} for name, r in self._roles.items()
        }
        return {"status": "ok" if self.is_ready else "starting", "roles": roles}
