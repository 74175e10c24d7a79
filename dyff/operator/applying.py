"""Applies plans. Makes no decisions: creating what exists and deleting what is gone count as success.

An answer of the API server about one part concerns only its resource. It is returned as a `Refusal`, and the part is not tried
again before a growing delay is over, whatever happens to the resource meanwhile.
"""

from __future__ import annotations

import random
from typing import assert_never

import msgspec

from dyff.cluster import port
from dyff.kernel import backoff, errors
from dyff.operator import plan
from dyff.operator.kinds import table

FIRST_DELAY_S = 0.5
CEILING_S = 60.0
"""Delays between the attempts at a part that is refused: the first, and the longest."""
_PATIENT_TRIES = 3
"""A part whose creation the server cannot answer is reported after so many tries in a row; before, it is taken for an accident."""

_Key = tuple[plan.Request, str, str, str]


class Refusal(msgspec.Struct, frozen=True):
    """Why a part cannot be created, changed or deleted.

    `message`: what was tried and what the server says. `final`: the server can never take it as it is. `passing`: it is known to end
    by itself, or when a permission is granted. `fails`: the resource needs the part, so that it fails if this lasts.
    """

    message: str
    final: bool = False
    passing: bool = False
    fails: bool = True


class Applier:
    """Applies plans to a cluster, and remembers which parts are refused."""

    def __init__(self, cluster: port.Cluster, jitter: random.Random) -> None:
        """Nothing is refused yet."""
        self._cluster = cluster
        self._refused: backoff.Keyed[_Key] = backoff.Keyed(FIRST_DELAY_S, ceiling_s=CEILING_S, jitter=jitter)
        self._unanswered: dict[_Key, int] = {}

    async def apply(self, observed: plan.Observed, decided: plan.Plan) -> Refusal | None:
        """Write the status, then run the actions that are due. Returns the first refusal, or None if there is none.

        A part that is refused holds up the parts that are created or changed after it, since their order matters, but no deletion.

        Raises:
            StaleVersion: something changed since it was observed; reconcile again.
            NotFound: the resource or a part is gone; reconcile again.
            RetryLater: the cluster does not answer, or refuses the status.
        """
        if decided.status_patch is not None:
            await self.write_status(observed.request, observed.present, decided.status_patch)
        first, held = None, False
        for action in decided.actions:
            is_part = not isinstance(action, plan.Delete)
            if held and is_part:
                continue
            key = _key(observed.request, action)
            if self._refused.left_s(key) > 0:
                held = held or is_part
                continue
            refusal = await self._try(key, action)
            held = held or (is_part and refusal is not None)
            first = first or refusal
        return first

    async def write_status(self, request: plan.Request, resource: port.Object, status: port.Object) -> None:
        """Write the status only if the resource still has the version that this was decided on."""
        version = {"resourceVersion": resource["metadata"]["resourceVersion"]}
        kind = table.BY_KIND[request.kind].kind
        await self._cluster.patch(kind, request.name, {"metadata": version, "status": status}, status=True)

    def next_s(self, request: plan.Request) -> float | None:
        """Seconds until a refused part of the resource is due; None if none is refused."""
        return min((self._refused.left_s(key) for key in self._refused.failing if key[0] == request), default=None)

    def forget(self, request: plan.Request) -> None:
        """Forget what was refused of a resource."""
        for key in [each for each in (*self._refused.failing, *self._unanswered) if each[0] == request]:
            self._over(key)

    def _over(self, key: _Key) -> None:
        self._refused.over(key)
        self._unanswered.pop(key, None)

    async def _try(self, key: _Key, action: plan.Action) -> Refusal | None:
        try:
            await self._act(action)
        except (errors.StaleVersion, errors.NotFound):
            raise
        except (errors.FixRequest, errors.RetryLater) as error:
            refusal = self._refusal(key, action, error)
            self._refused.failed(key, error.retry_after_s if isinstance(error, errors.RetryLater) else None)
            return refusal
        self._over(key)
        return None

    def _refusal(self, key: _Key, action: plan.Action, error: errors.FixRequest | errors.RetryLater) -> Refusal:
        """The refusal that an error is.

        Raises:
            RetryLater: it says nothing about this part.
        """
        fails = isinstance(action, plan.Create)
        message = f"{key[2]} {key[3]}: {error.message}"
        if isinstance(error, errors.Refused):
            return Refusal(message, passing=error.passing, fails=fails)
        if isinstance(error, errors.RetryLater):
            if not isinstance(error, errors.Blocked):
                self._unanswered[key] = self._unanswered.get(key, 0) + 1
                if self._unanswered[key] < _PATIENT_TRIES:
                    raise error
            return Refusal(message, passing=True, fails=fails)
        return Refusal(message, final=fails, fails=fails)

    async def _act(self, action: plan.Action) -> None:
        match action:
            case plan.Create():
                try:
                    await self._cluster.create(action.kind, action.obj)
                except errors.AlreadyExists:
                    return
            case plan.Delete():
                await self._cluster.delete(action.kind, action.name, uid=action.uid)
            case plan.Patch():
                await self._cluster.patch(action.kind, action.name, action.patch)
            case _:
                assert_never(action)


def _key(request: plan.Request, action: plan.Action) -> _Key:
    name = action.obj["metadata"]["name"] if isinstance(action, plan.Create) else action.name
    return request, type(action).__name__, action.kind.kind, name
