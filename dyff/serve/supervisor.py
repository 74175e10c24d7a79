"""Keeps roles running: starts them in stages, restarts failed ones, stops them in reverse order under one deadline.

Three pitfalls of anyio shape this module (each has a test). Tasks of one group are cancelled in the order in which they
were started, so a reverse stop needs one group per stage. A task that returns leaves its group running, so an early return
is turned into a failure here. `sys.exit` in a task aborts the event loop, so a role must raise one of our errors instead.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import msgspec
import structlog

from dyff.kernel import backoff, clock, degradation, errors, liveness, settings
from dyff.kernel.telemetry import metrics, names
from dyff.serve import health, vitals, watchdog

log = structlog.get_logger()

CHECK_S = 5.0
"""Maximum interval of the watchdog's checks, and its timeout for reading the signs."""
START_WAIT_S = 15.0
"""After this time a stage that is not ready no longer holds up the next one, so that `/ready` can report the problem."""
STEADY_S = 60.0
"""After serving for this long, a role that fails again starts with the shortest delay again."""
STUCK, OUTAGE, FAULT = CAUSES = ("stuck", "outage", "fault")
"""Why a role was started again: it made no progress; something that it needs does not work; anything else."""
STANDBY: Any = "standby"
"""Passed to `started` by a role that is ready to take over when another process stops serving. It can be passed repeatedly."""


class Role(msgspec.Struct, frozen=True):
    """A part of the process. `run(task_status, signs)` serves until it is cancelled. It calls `task_status.started()` when it
    really serves, creates its clients again at each call, and never returns on its own. The signs that it adds to `signs` show
    from then on whether it makes progress. Lower stages start first and stop last.
    """

    name: str
    stage: int
    run: Callable[[anyio.abc.TaskStatus[None], liveness.Signs], Awaitable[None]]


class RoleGaveUp(errors.Fatal):
    """A role failed too often, or in a way that a person must fix."""

    def __init__(self, message: str, problem: BaseException) -> None:
        """`problem`: its last failure."""
        super().__init__(message)
        self.problem = problem


class Supervisor:
    """Runs roles until it is asked to stop or one of them gives up."""

    def __init__(
        self,
        roles: Sequence[Role],
        limits: settings.Supervision,
        time: clock.Clock,
        troubles: degradation.Troubles | None = None,
        measured: metrics.Metrics | None = None,
    ) -> None:
        """`roles`: at least one. `limits`: how often a role can fail, and how long it can be stuck. `troubles`, `measured`: of this
        process; None for new ones.
        """
        stages = sorted({role.stage for role in roles})
        self._stages = [[role for role in roles if role.stage == stage] for stage in stages]
        self._limits = limits
        self._clock = time
        self._troubles = troubles or degradation.Troubles(time)
        self._metrics = measured or metrics.Metrics()
        self._restarts = self._metrics.counter(names.RESTARTS)
        self.health = health.Health(time, self._troubles)
        self._stop = anyio.Event()

    def stop(self) -> None:
        """Request an orderly stop; `run` returns when all roles have ended."""
        self._stop.set()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Start all stages in order, serve, then stop them in reverse order.

        Raises:
            RoleGaveUp: a role failed too often through its own fault, failed at its first start in a way that a person must fix, or
                found that serving would be wrong (`dyff.kernel.degradation.ends_server`).
        """
        for role in (role for stage in self._stages for role in stage):
            self.health.enter(role.name, health.Phase.STARTING)
            for cause in CAUSES:
                self._restarts.cell(role.name, cause)
        try:
            await self._run_from(0, task_status)
        except BaseExceptionGroup as group:
            raise first_of_ours(group) from group

    async def _run_from(self, index: int, task_status: anyio.abc.TaskStatus[None]) -> None:
        if index == len(self._stages) or self._stop.is_set():
            task_status.started()
            await self._stop.wait()
            return
        async with anyio.create_task_group() as group:
            for role in self._stages[index]:
                group.start_soon(self._supervise, role, name=role.name)
            if not await self._stage_is_ready(self._stages[index]):
                log.warning("stage-slow", roles=[role.name for role in self._stages[index]], waited_s=START_WAIT_S)
            await self._run_from(index + 1, task_status)
            group.cancel_scope.cancel()

    async def _stage_is_ready(self, stage: Sequence[Role]) -> bool:
        """Wait for a stage, at most `START_WAIT_S`. True if it is ready, or if a stop was requested."""
        with anyio.move_on_after(START_WAIT_S):
            async with anyio.create_task_group() as group:
                group.start_soon(self._cancel_on_stop, group.cancel_scope)
                await self.health.wait_ready([role.name for role in stage])
                group.cancel_scope.cancel()
            return True
        return False

    async def _cancel_on_stop(self, scope: anyio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _supervise(self, role: Role) -> None:
        failed_at: deque[float] = deque(maxlen=self._limits.max_failures)
        stuck_s = 0.0
        waits = _restart_delays()
        try:
            while True:
                problem = await self._run_once(role)
                served_s = self.health.served_s(role.name)
                if isinstance(problem, errors.Stuck):
                    stuck_s += self._limits.stuck_s or 0.0
                if not self._is_outage(problem):
                    # The time until a stuck role is detected is not counted; otherwise such failures would never be frequent enough to
                    # give up.
                    failed_at.append(self._clock.monotonic() - stuck_s)
                self.health.enter(role.name, health.Phase.RESTARTING, _sentence(problem))
                self._restarts.add(role.name, _cause(problem))
                log.error("role-failed", role=role.name, **errors.details(problem), exc_info=problem)
                too_often = len(failed_at) == failed_at.maxlen and failed_at[-1] - failed_at[0] <= self._limits.window_s
                if too_often or degradation.ends_server(problem, was_ready=self.health.has_served(role.name)):
                    raise RoleGaveUp(f"role {role.name} gave up: {_sentence(problem)}", problem) from problem
                if served_s > STEADY_S:
                    waits = _restart_delays()
                await anyio.sleep(next(waits))
        finally:
            self.health.enter(role.name, health.Phase.STOPPED)

    def _is_outage(self, problem: BaseException) -> bool:
        """Whether a failure is not the role's own fault. A role that is stuck while something else does not work waits for that."""
        return degradation.is_outage(problem) or (isinstance(problem, errors.Stuck) and bool(self._troubles.current()))

    async def _run_once(self, role: Role) -> BaseException:
        """Run the role once; returns why it is not running any more."""
        try:
            with structlog.contextvars.bound_contextvars(role=role.name):
                await self._run_watched(role)
                # A role that returns cleanly when it is cancelled did what it was asked to do.
                await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseExceptionGroup as group:
            _, rest = group.split(anyio.get_cancelled_exc_class())
            if rest is None:
                raise
            return first_of_ours(rest)
        except Exception as error:
            return error
        return errors.DyffError("the role returned without being asked to")

    async def _run_watched(self, role: Role) -> None:
        """Run the role under the watchdog. Returns when the role does.

        Raises:
            Stuck: it made no progress (in an exception group).
            Any exception of the role, possibly in an exception group.
        """
        signs = liveness.Signs()
        seen = vitals.RoleSigns(role.name, signs)
        with seen.shown(self._metrics):
            await self._run_with(role, signs, seen)

    async def _run_with(self, role: Role, signs: liveness.Signs, seen: vitals.RoleSigns) -> None:
        async with anyio.create_task_group() as group:
            if self._limits.stuck_s is not None:
                group.start_soon(self._watch, role.name, signs, self._limits.stuck_s, seen)
            await role.run(_Readiness(self.health, role.name), signs)
            group.cancel_scope.cancel()

    async def _watch(self, role: str, signs: liveness.Signs, limit_s: float, seen: vitals.RoleSigns) -> None:
        """Check the signs of a ready role periodically, and end it if they show no progress for too long."""
        check_s = min(CHECK_S, limit_s / 8)
        judged: dict[str, watchdog.Stalled] = {}
        while True:
            await anyio.sleep(check_s)
            if self.health.phase(role) is not health.Phase.READY or self._troubles.blocked:
                seen.judged = judged = {}
                continue
            seen.judged = judged = await _look(signs, judged, check_s)
            problem = watchdog.problem(judged, limit_s)
            self.health.report_problem(role, problem or watchdog.problem(judged, limit_s / 2), stuck=problem is not None)
            if problem is not None:
                raise errors.Stuck(problem)


async def _look(signs: liveness.Signs, before: watchdog.Judged, check_s: float) -> dict[str, watchdog.Stalled]:
    try:
        with anyio.fail_after(CHECK_S):
            return watchdog.judge(before, await signs.read(), check_s)
    except TimeoutError:
        return watchdog.unreadable(before, "no answer", check_s)
    except errors.DyffError as error:
        return watchdog.unreadable(before, error.message, check_s)


class _Readiness(anyio.abc.TaskStatus[None]):
    def __init__(self, known: health.Health, role: str) -> None:
        self._health, self._role = known, role

    def started(self, value: Any = None) -> None:
        phase = health.Phase.STANDBY if value == STANDBY else health.Phase.READY
        self._health.enter(self._role, phase)
        log.info(f"role-{phase}", role=self._role)


def first_of_ours(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to act on in a group: the first fatal one, otherwise the first of ours, otherwise the first."""
    flat = list(_flatten(group))
    for wanted in (errors.Fatal, errors.DyffError):
        for error in flat:
            if isinstance(error, wanted):
                return error
    return flat[0]


def _cause(problem: BaseException) -> str:
    if isinstance(problem, errors.Stuck):
        return STUCK
    return OUTAGE if degradation.is_outage(problem) else FAULT


def _restart_delays() -> Iterator[float]:
    return backoff.delays(0.2, ceiling_s=10.0, jitter=random.Random())


def _flatten(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    flat: list[BaseException] = []
    for error in group.exceptions:
        flat += _flatten(error) if isinstance(error, BaseExceptionGroup) else [error]
    return flat


def _sentence(problem: BaseException) -> str:
    return problem.message if isinstance(problem, errors.DyffError) else f"{type(problem).__name__}: {problem}"
