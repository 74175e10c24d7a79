"""Calls to the service under test: what is retried, for how long, and what ends the run."""

from __future__ import annotations

import email.utils
import random
from typing import Any

import anyio
import msgspec

from dyff.adapters import pipelines
from dyff.entities import specs
from dyff.kernel import backoff, clock, errors
from dyff.workflows import endings, exchanges, failures, pacing
from dyff.workflows.items import Call

_BAD_REQUEST = frozenset({400, 406, 409, 410, 411, 413, 414, 415, 416, 417, 418, 422, 424, 431, 451})
"""The service accepts calls in general, but refuses this item."""
_TOO_MANY_REQUESTS = 429
_TRANSIENT = frozenset({408, 421, 423, 425, _TOO_MANY_REQUESTS})
_NO_SUCH_ROUTE = frozenset({404, 405})
_FIRST_DELAY_S = 0.5
_ITEM_TRIES = 100
"""As in the published client: after this many tries the item is at fault."""
_LONGEST_PAUSE_S = 86400.0
_READY_TIMEOUT_S = 5.0
_FIRST_LOOK_S = 0.02
_NOTICE_INTERVAL_S = 5.0
_SHOWN = 300


class Result(msgspec.Struct, frozen=True):
    """The result of a call. `responses`: None if there are none; `failure` then says why. `size_bytes`: the size of the answer."""

    responses: list[Any] | None
    size_bytes: int = 0
    failure: failures.Failure | None = None


class Inference:
    """Makes calls until each has its responses, or the run must end.

    Transient errors are: no connection, a lost connection, a timeout, 408, 421, 423, 425, 429 and every 5xx. A call is retried
    after a delay that doubles from half a second up to `transientErrorRetryDelaySeconds` (with jitter, and at least
    `Retry-After`). If a call fails more than `transientErrorRetryLimit` times in a row while no other call succeeds, the
    service is at fault and the run ends. If it fails more than a hundred times (or than the limit, if that is higher) while
    others succeed, the item is at fault and is given up. A service that requests a pause, by 429 or `Retry-After`, is not
    called for that long.
    """

    def __init__(
        self, service: exchanges.Service, endpoint: str, policy: specs.Client, outputs: pipelines.Pipeline, time: clock.Clock | None = None
    ) -> None:
        """`outputs`: the pipeline from an answer to its responses.

        Raises:
            Misconfigured: the endpoint cannot be called.
        """
        try:
            self._head = service.head("POST", endpoint)
        except ValueError as error:
            raise errors.Misconfigured(f"interface.endpoint: {error}") from error
        self._service, self._endpoint, self._policy, self._outputs = service, endpoint, policy, outputs
        self._clock, self._random = time or clock.SystemClock(), random.Random()
        self._pace = pacing.Pace(self._clock, self._random)
        self._decoder = msgspec.json.Decoder()
        self._timeout_s = policy.request_timeout_seconds or None
        self._successes = self._failures = 0
        self._noticed = float("-inf")

    async def ready(self, path: str) -> None:
        """Wait until the service reports that it is ready. A service without that route is ready when it answers.

        Raises:
            Ending: it was not ready within the time limit, which is the retry limit times the retry delay.
        """
        limit_s = max(1, self._policy.transient_error_retry_limit) * self._policy.transient_error_retry_delay_seconds
        head, delays, reason = self._service.head("GET", path), backoff.delays(_FIRST_LOOK_S, factor=1.5, ceiling_s=1.0), "it was not asked"
        with anyio.move_on_after(limit_s):
            while True:
                try:
                    answer = await self._service.exchange(head, b"", _READY_TIMEOUT_S)
                except (exchanges.Broken, TimeoutError) as error:
                    reason = str(error) or f"no answer within {_READY_TIMEOUT_S:.0f} s"
                else:
                    if 200 <= answer.status < 300 or answer.status in _NO_SUCH_ROUTE:
                        return
                    reason = f"GET {path} says {answer.status}"
                self._notice(f"waiting for the service at {self._service.url}: {reason}")
                await anyio.sleep(next(delays))
        message = f"The service at {self._service.url} was not ready within {limit_s:.0f} s: {reason}. Look at the session's logs."
        raise endings.Ending(endings.UNAVAILABLE, message)

    async def infer(self, call: Call) -> Result:
        """Make one call; returns its responses, or why the run continues without them.

        Raises:
            Ending: the service refused the item and the policy is to abort, the endpoint is wrong, the service failed too often, or
                its answer does not fit.
        """
        head = self._head if call.media_type == exchanges.JSON else self._service.head("POST", self._endpoint, call.media_type)
        trouble: _Trouble | None = None
        while True:
            await self._pace.turn()
            answer, reason = None, ""
            try:
                answer = await self._service.exchange(head, call.body, self._timeout_s)
            except exchanges.Broken as error:
                reason = str(error)
            except TimeoutError:
                reason = f"no answer within {self._policy.request_timeout_seconds:g} s (client.requestTimeoutSeconds)"
            if answer is not None:
                if 200 <= answer.status < 300:
                    responses = self._responses(call, answer.body)
                    self._successes += 1
                    return Result(responses, len(answer.body))
                if answer.status < 500 and answer.status not in _TRANSIENT:
                    return Result(None, 0, self._refused(call, answer))
                reason = f"status {answer.status}: {_shown(answer.body)}"
            if trouble is None:
                trouble = _Trouble(self._successes, self._policy.transient_error_retry_delay_seconds, self._random)
            delay_s, pause_s = self._delays_s(trouble, answer)
            if pause_s:
                self._pace.hold(pause_s)
                reason += f" (it asks for a pause: no calls for {pause_s:.1f} s)"
            if given_up := self._count(call, trouble, answer, reason):
                return Result(None, 0, given_up)
            await anyio.sleep(delay_s)

    def _responses(self, call: Call, body: bytes) -> list[Any]:
        try:
            return list(self._outputs([self._decoder.decode(body)]))
        except msgspec.DecodeError as error:
            message = f"The service's answer to {call} is not JSON ({error}): {_shown(body)}"
        except errors.FixRequest as error:
            message = f"The service's answer to {call} does not fit the output pipeline: {error.message}"
        raise endings.Ending(endings.OUTPUT_ERROR, message)

    def _refused(self, call: Call, answer: exchanges.Answer) -> failures.Failure:
        shown = _shown(answer.body)
        said = f"status {answer.status} for {call}: {shown}"
        if answer.status not in _BAD_REQUEST:
            message = f"The service does not serve the endpoint {self._endpoint!r} to us: {said}. Correct interface.endpoint."
            raise endings.Ending(endings.REFUSED, message)
        if self._policy.bad_request_policy != "Skip":
            hint = "Fix the item or the inputPipeline, or set client.badRequestPolicy to Skip."
            raise endings.Ending(endings.REFUSED, f"The service refused a request: {said}. {hint}")
        self._successes += 1  # the service works
        self._notice(f"skipping an item: {said}")
        return failures.Failure(failures.BAD_REQUEST, shown, answer.status)

    def _count(self, call: Call, trouble: _Trouble, answer: exchanges.Answer | None, reason: str) -> failures.Failure | None:
        """Count a transient error; returns a failure if the item is given up, else None."""
        limit = self._policy.transient_error_retry_limit
        self._failures += 1
        trouble.count(self._successes, for_the_item=answer is None or answer.status != _TOO_MANY_REQUESTS)
        if trouble.tries > max(limit, _ITEM_TRIES) and self._successes != trouble.successes_before:
            endings.say(f"giving up an item: {trouble.tries} transient errors for {call}, while others succeeded; the last: {reason}")
            return failures.Failure(failures.TRANSIENT_ERRORS, reason, answer.status if answer else None)
        if trouble.in_a_row > limit:
            message = (
                f"The service failed {trouble.in_a_row} times in a row for {call}; the last time: {reason}. Look at the session's logs."
            )
            raise endings.Ending(endings.UNAVAILABLE, f"{message} client.transientErrorRetryLimit is {limit}.")
        self._notice(f"trying again, {self._failures} transient errors so far; the last one for {call}: {reason}")
        return None

    def _delays_s(self, trouble: _Trouble, answer: exchanges.Answer | None) -> tuple[float, float]:
        """How long this call has to wait, and how long all calls have to, because the service requests it (0 if it does not)."""
        own_s = next(trouble.delays)
        asked_s = 0.0 if answer is None else self._retry_after_s(answer)
        if answer is not None and answer.status == _TOO_MANY_REQUESTS:
            asked_s = asked_s or own_s
        return max(own_s, asked_s), asked_s

    def _notice(self, line: str) -> None:
        """Print a line, unless a notice was printed in the last few seconds."""
        now = self._clock.monotonic()
        if now - self._noticed >= _NOTICE_INTERVAL_S:
            self._noticed = now
            endings.say(line)

    def _retry_after_s(self, answer: exchanges.Answer) -> float:
        """The seconds from the header Retry-After, which has a number or a date; at most a day. 0 if it is absent or invalid."""
        text = (answer.retry_after or "").strip()
        try:
            asked_s = float(text) if text.isdecimal() else (email.utils.parsedate_to_datetime(text) - self._clock.now()).total_seconds()
        except (OverflowError, TypeError, ValueError):
            return 0.0
        return min(max(0.0, asked_s), _LONGEST_PAUSE_S)


class _Trouble:
    """The transient errors of one call so far. `tries`: those that may be the item's fault. `in_a_row`: those since any call succeeded."""

    def __init__(self, successes: int, longest_delay_s: float, jitter: random.Random) -> None:
        """`successes`: the number of successful calls of the run so far."""
        self.tries = self.in_a_row = 0
        self.successes_before = self._successes = successes
        self.delays = backoff.delays(_FIRST_DELAY_S, ceiling_s=longest_delay_s, jitter=jitter)

    def count(self, successes: int, *, for_the_item: bool) -> None:
        """Count one more error. `successes`: the number of successful calls of the run by now."""
        if successes != self._successes:
            self._successes, self.in_a_row = successes, 0
        self.in_a_row += 1
        self.tries += for_the_item


def _shown(body: bytes) -> str:
    """The body of a service's answer for people: one line, truncated."""
    text = " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
