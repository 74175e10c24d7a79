"""Leader election with a Lease: one of several candidates does the work, and another takes over when it ends or stops renewing.

It avoids duplicate work, but gives no protection: a leader that was paused continues for a moment when it wakes up, in parallel with
its successor. So every write must be safe without leadership (preconditions, deterministic names, fenced owners).

It works as in Kubernetes' own components. The Lease names its holder, which renews it regularly. The times in it are informational.
Each candidate decides by its own clock whether the Lease has expired: when it has not changed for its duration since the candidate
first saw it in that state. The holder gives up earlier, when it could not renew the Lease for a while.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
import structlog

from dyff.cluster import port
from dyff.kernel import backoff, clock, errors

log = structlog.get_logger()

_RELEASE_S = 3.0
"""Maximum time for releasing the Lease in an orderly stop. If it is not released, the others only wait a little longer."""
_FACTOR = 4.0
"""Attempts that fail grow apart, up to this many times the usual interval."""


class Timing(msgspec.Struct, frozen=True):
    """`duration_s`: a Lease that has not changed for this time has expired; whole seconds. `renew_s`: a leader that could not renew
    it for this time gives up. `retry_s`: interval between attempts to acquire or renew it.
    """

    duration_s: int = 15
    renew_s: float = 10.0
    retry_s: float = 2.0


class _Seen(msgspec.Struct, frozen=True):
    """A Lease, and when it was first seen in this version, by our clock."""

    lease: port.Object
    since: float


class Elector:
    """Runs work while it is the leader. Use `run` once."""

    def __init__(
        self,
        cluster: port.Cluster,
        name: str,
        identity: str,
        time: clock.Clock,
        *,
        timing: Timing | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """`name`: of the Lease. `identity`: unique, also among several starts of a server on one machine."""
        self._cluster, self._name, self._identity, self._clock = cluster, name, identity, time
        self._timing, self._jitter = timing or Timing(), jitter or random.Random()
        self._seen: _Seen | None = None

    async def run(self, work: Callable[[], Awaitable[None]], standby: Callable[[], None] = lambda: None) -> None:
        """Wait for leadership, do `work`, and after a loss wait again, until cancelled.

        When the leadership is lost, the work is cancelled, and its end is awaited before anything else. `standby`: called when it is
        certain that another process leads, and when the leadership was lost.

        Raises:
            DyffError: the work returned without being asked to; the Lease was released.
            Fatal: see `dyff.kernel.errors`. Whatever else the cluster answers may pass, and is retried.
            Any exception of `work`; the Lease was released then, too.
        """
        reported = False
        while True:
            await self._acquire(None if reported else standby)
            log.info("leader", lease=self._name, identity=self._identity)
            await self._lead(work)
            log.warning("leadership-lost", lease=self._name, identity=self._identity, holder=_holder(self._seen))
            standby()
            reported = True

    async def _acquire(self, standby: Callable[[], None] | None) -> None:
        first_s = self._timing.retry_s
        delays, reason = backoff.delays(first_s, ceiling_s=_FACTOR * first_s, jitter=self._jitter), ""
        while True:
            wait_s = first_s * self._jitter.uniform(0.8, 1.2)
            try:
                if await self._try():
                    return
                delays, reason = backoff.delays(first_s, ceiling_s=_FACTOR * first_s, jitter=self._jitter), ""
                if standby is not None:
                    log.info("standby", lease=self._name, identity=self._identity, holder=_holder(self._seen))
                    standby()
                    standby = None
            except errors.Fatal:
                raise
            except errors.DyffError as error:
                if not isinstance(error, errors.Conflict | errors.NotFound):
                    wait_s = next(delays)
                write = log.debug if isinstance(error, errors.Conflict) or error.message == reason else log.warning
                write("lease-not-taken", lease=self._name, **errors.details(error))
                reason = error.message
            await anyio.sleep(wait_s)

    async def _try(self) -> bool:
        """Take the Lease if it is free. Returns False if another process holds it."""
        found = await self._cluster.get(port.LEASE, self._name)
        if found is None:
            self._see(await self._cluster.create(port.LEASE, self._taken(None)))
            return True
        self._see(found)
        if not self._is_free(found):
            return False
        self._see(await self._cluster.replace(port.LEASE, self._taken(found)))
        return True

    def _is_free(self, lease: port.Object) -> bool:
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") in (None, "", self._identity) or self._seen is None:
            return True
        return self._clock.monotonic() - self._seen.since >= (spec.get("leaseDurationSeconds") or self._timing.duration_s)

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work while renewing the Lease. Returns when the leadership was lost and the work has ended."""
        working, renewing, lost = anyio.CancelScope(), anyio.CancelScope(shield=True), False

        async def renew() -> None:
            # Renewing continues until the work has ended, however long that takes after its cancellation: until then we lead.
            nonlocal lost
            with renewing:
                await self._renew()
                lost = True
                working.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(renew)
                try:
                    with working:
                        await work()
                finally:
                    renewing.cancel()
                if not lost:
                    raise errors.DyffError(f"the work of the leader of {self._name} returned without being asked to")
        finally:
            if not lost:
                await self._release()

    async def _renew(self) -> None:
        """Renew until that fails for too long, or another process holds the Lease."""
        renewed = self._clock.monotonic()
        while True:
            await anyio.sleep(self._timing.retry_s)
            begun = self._clock.monotonic()
            left_s = renewed + self._timing.renew_s - begun
            if left_s <= 0:
                return
            try:
                with anyio.fail_after(left_s):
                    if not await self._renewed():
                        return
                renewed = begun
            except errors.Fatal:
                raise
            except (TimeoutError, errors.DyffError) as error:
                log.warning("lease-not-renewed", lease=self._name, left_s=round(left_s, 1), **errors.details(error))

    async def _renewed(self) -> bool:
        """Renew the Lease once. Returns whether we still lead.

        Raises:
            StaleVersion: the Lease has changed since it was read.
        """
        found = await self._cluster.get(port.LEASE, self._name)
        if found is None:
            self._see(await self._cluster.create(port.LEASE, self._taken(None)))
            return True
        self._see(found)
        if (found.get("spec") or {}).get("holderIdentity") != self._identity:
            return False
        self._see(await self._cluster.replace(port.LEASE, _with(found, renewTime=self._now())))
        return True

    async def _release(self) -> None:
        """Release the Lease if we still hold it, so that others need not wait until it expires."""
        with anyio.move_on_after(_RELEASE_S, shield=True):
            try:
                found = await self._cluster.get(port.LEASE, self._name)
                if found is None or (found.get("spec") or {}).get("holderIdentity") != self._identity:
                    return
                free: dict[str, Any] = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
                await self._cluster.replace(port.LEASE, _with(found, **free))
                log.info("leadership-released", lease=self._name, identity=self._identity)
            except errors.DyffError as error:
                log.warning("lease-not-released", lease=self._name, **errors.details(error))

    def _taken(self, found: port.Object | None) -> port.Object:
        """The Lease with us as its holder."""
        old = (found or {}).get("spec") or {}
        changed = found is not None and old.get("holderIdentity") != self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._timing.duration_s,
            "acquireTime": self._now() if changed or found is None else old.get("acquireTime"),
            "renewTime": self._now(),
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + changed,
        }
        if found is not None:
            return _with(found, **spec)
        return {"apiVersion": port.LEASE.api_version, "kind": port.LEASE.kind, "metadata": {"name": self._name}, "spec": spec}

    def _see(self, lease: port.Object) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen.lease["metadata"]["resourceVersion"] != version:
            self._seen = _Seen(lease, self._clock.monotonic())

    def _now(self) -> str:
        return clock.iso(self._clock.now())


def _with(lease: port.Object, **spec: Any) -> port.Object:
    """`lease` with these fields. Its version is kept, so that only the version that was read is replaced."""
    return {**lease, "spec": {**(lease.get("spec") or {}), **spec}}


def _holder(seen: _Seen | None) -> str | None:
    return None if seen is None else (seen.lease.get("spec") or {}).get("holderIdentity")
