"""Leadership by a Lease: of those that may do the same work, one does it, and another takes over when it ends or is not heard of.

It saves double work and protects nothing: a leader that was paused goes on for a moment when it wakes, beside its successor. So
every write of the work must be safe without leadership (preconditions, deterministic names, fenced owners).

As Kubernetes' own components do it: the Lease names its holder, who renews it all the time. The times in it are for people. Whether
it has expired everyone decides by a clock of their own: when it has not changed for its duration since they first saw it so. The
holder gives itself up earlier, when it could not renew for a while.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
import structlog

from dyff.cluster import port
from dyff.kernel import clock, errors

log = structlog.get_logger()

_RELEASE_S = 3.0
"""How long an orderly end may be held up by giving the Lease back; without that the others only wait a little longer."""
_NOT_NOW = (errors.RetryLater, errors.OutcomeUnknown, errors.Conflict, errors.NotFound)


class Timing(msgspec.Struct, frozen=True):
    """`duration_s`: a Lease that has not changed for so long has expired; whole seconds. `renew_s`: a leader that could not renew it
    for so long gives itself up. `retry_s`: between two looks, or renewals.
    """

    duration_s: int = 15
    renew_s: float = 10.0
    retry_s: float = 2.0


class _Seen(msgspec.Struct, frozen=True):
    """A Lease, and when it was first seen as it is, by our clock."""

    lease: port.Object
    since: float


class Elector:
    """Runs work while it leads. Use `run` once."""

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
        """`name`: of the Lease. `identity`: ours alone, also among the starts of one machine's server."""
        self._cluster, self._name, self._identity, self._clock = cluster, name, identity, time
        self._timing, self._jitter = timing or Timing(), jitter or random.Random()
        self._seen: _Seen | None = None

    async def run(self, work: Callable[[], Awaitable[None]], standby: Callable[[], None] = lambda: None) -> None:
        """Wait for leadership, do `work`, and after a loss wait again, until cancelled.

        A lost leader's work is cancelled, and waited for before anything else. `standby`: called when it is certain that another
        leads, and when the leadership was lost.

        Raises:
            DyffError: the work returned without being asked to; the Lease was given back.
            Misconfigured, FixRequest: the cluster does not let us.
            Whatever `work` does, then the Lease was given back, too.
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
        while True:
            try:
                if await self._try():
                    return
                if standby is not None:
                    log.info("standby", lease=self._name, identity=self._identity, holder=_holder(self._seen))
                    standby()
                    standby = None
            except _NOT_NOW as error:
                write = log.debug if isinstance(error, errors.Conflict) else log.warning
                write("lease-not-taken", lease=self._name, **errors.details(error))
            await anyio.sleep(self._timing.retry_s * self._jitter.uniform(0.8, 1.2))

    async def _try(self) -> bool:
        """Take the Lease if it is free; False: another has it."""
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
        """Returns when the leadership was lost and the work has ended."""
        working, renewing, lost = anyio.CancelScope(), anyio.CancelScope(shield=True), False

        async def renew() -> None:
            # It goes on until the work has ended, however long that takes after it was cancelled: until then we lead.
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
        """Renew until that fails for too long, or another has the Lease."""
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
            except (TimeoutError, *_NOT_NOW) as error:
                log.warning("lease-not-renewed", lease=self._name, left_s=round(left_s, 1), **errors.details(error))

    async def _renewed(self) -> bool:
        """Whether we still lead; then for another while.

        Raises:
            StaleVersion: it has changed since it was read.
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
        """Give it back, so that another need not wait until it expires. Only what is ours still."""
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
        """The Lease, ours from now on."""
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
    """`lease` with these fields; its version stays, so that it is replaced only if it is the one that was read."""
    return {**lease, "spec": {**(lease.get("spec") or {}), **spec}}


def _holder(seen: _Seen | None) -> str | None:
    return None if seen is None else (seen.lease.get("spec") or {}).get("holderIdentity")
