"""Calls to the service under test: what is tried again, for how long, and what ends the run."""

from __future__ import annotations

import email.utils
import random
from typing import Any

import anyio
import msgspec

from dyff.adapters import pipelines
from dyff.kernel import backoff, clock, errors
from dyff.workflows import endings, exchanges
from dyff.workflows.items import Call
from dyff.workflows.manifests import Client

_BAD_REQUEST = frozenset({400, 406, 409, 410, 411, 413, 414, 415, 416, 417, 418, 422, 424, 431, 451})
"""The service understood that it was called, and refuses this item."""
_TRANSIENT = frozenset({408, 421, 423, 425, 429})
_NO_SUCH_ROUTE = frozenset({404, 405})
_FIRST_DELAY_S = 0.5
_READY_TIMEOUT_S = 5.0
_NOTICE_INTERVAL_S = 5.0
_SHOWN = 300


class Inference:
    """Makes calls until each has its responses, or the run must end.

    Transient are: no connection, a lost one, a timeout, 408, 421, 423, 425, 429 and every 5xx. A call is tried again
    after a delay that doubles from half a second up to `transientErrorRetryDelaySeconds` (with jitter, and at least
    `Retry-After`), at most `transientErrorRetryLimit` times in a row.
    """

    def __init__(
        self, service: exchanges.Service, endpoint: str, policy: Client, outputs: pipelines.Pipeline, time: clock.Clock | None = None
    ) -> None:
        """`outputs`: from an answer to its responses.

        Raises:
            Misconfigured: the endpoint cannot be called.
        """
        try:
            self._head = service.head("POST", endpoint)
        except ValueError as error:
            raise errors.Misconfigured(f"interface.endpoint: {error}") from error
        self._service, self._endpoint, self._policy, self._outputs = service, endpoint, policy, outputs
        self._clock, self._random = time or clock.SystemClock(), random.Random()
        self._decoder = msgspec.json.Decoder()
        self._failures, self._noticed = 0, float("-inf")

    async def ready(self, path: str) -> None:
        """Wait until the service says that it is ready; a service without that route is ready when it answers.

        Raises:
            Ending: it did not become ready within the retry limit times the retry delay.
        """
        limit_s = max(1, self._policy.transient_error_retry_limit) * self._policy.transient_error_retry_delay_seconds
        head, delays, reason = self._service.head("GET", path), backoff.delays(0.05, ceiling_s=1.0), "it was not asked"
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

    async def infer(self, call: Call) -> list[Any] | None:
        """The responses to one call; None: the service refused it, and the policy is to go on.

        Raises:
            Ending: it refused and the policy is to abort, it failed too often, or its answer does not fit.
        """
        failures = 0
        head = self._head if call.media_type == exchanges.JSON else self._service.head("POST", self._endpoint, call.media_type)
        delays = backoff.delays(_FIRST_DELAY_S, ceiling_s=self._policy.transient_error_retry_delay_seconds, jitter=self._random)
        while True:
            retry_after_s = 0.0
            try:
                answer = await self._service.exchange(head, call.body, self._policy.request_timeout_seconds or None)
            except exchanges.Broken as error:
                reason = str(error)
            except TimeoutError:
                reason = f"no answer within {self._policy.request_timeout_seconds:g} s (client.requestTimeoutSeconds)"
            else:
                if 200 <= answer.status < 300:
                    return self._responses(call, answer.body)
                if answer.status < 500 and answer.status not in _TRANSIENT:
                    self._refuse(call, answer)
                    return None
                reason, retry_after_s = f"status {answer.status}: {_shown(answer.body)}", self._retry_after_s(answer)
            failures += 1
            self._count(call, failures, reason)
            await anyio.sleep(max(next(delays), retry_after_s))

    def _responses(self, call: Call, body: bytes) -> list[Any]:
        try:
            return list(self._outputs([self._decoder.decode(body)]))
        except msgspec.DecodeError as error:
            message = f"The service's answer to {call} is not JSON ({error}): {_shown(body)}"
        except errors.FixRequest as error:
            message = f"The service's answer to {call} does not fit the output pipeline: {error.message}"
        raise endings.Ending(endings.OUTPUT_ERROR, message)

    def _refuse(self, call: Call, answer: exchanges.Answer) -> None:
        said = f"status {answer.status} for {call}: {_shown(answer.body)}"
        if answer.status not in _BAD_REQUEST:
            message = f"The service does not serve the endpoint {self._endpoint!r} to us: {said}. Correct interface.endpoint."
            raise endings.Ending(endings.REFUSED, message)
        if self._policy.bad_request_policy != "Skip":
            hint = "Mend the item or the inputPipeline, or set client.badRequestPolicy to Skip."
            raise endings.Ending(endings.REFUSED, f"The service refused a request: {said}. {hint}")
        self._notice(f"skipping an item: {said}")

    def _count(self, call: Call, failures: int, reason: str) -> None:
        self._failures += 1
        limit = self._policy.transient_error_retry_limit
        if failures > limit:
            message = f"The service failed {failures} times in a row for {call}; the last time: {reason}. Look at the session's logs."
            raise endings.Ending(endings.UNAVAILABLE, f"{message} client.transientErrorRetryLimit is {limit}.")
        self._notice(f"trying again, {self._failures} transient errors so far; the last one for {call}: {reason}")

    def _notice(self, line: str) -> None:
        """Say it, unless something was said in the last seconds."""
        now = self._clock.monotonic()
        if now - self._noticed >= _NOTICE_INTERVAL_S:
            self._noticed = now
            endings.say(line)

    def _retry_after_s(self, answer: exchanges.Answer) -> float:
        """Seconds, from a number or a date; 0 where there is none that can be understood."""
        text = answer.retry_after or ""
        if text.strip().isdecimal():
            return float(text)
        try:
            return max(0.0, (email.utils.parsedate_to_datetime(text) - self._clock.now()).total_seconds())
        except (TypeError, ValueError):
            return 0.0


def _shown(body: bytes) -> str:
    """What a service said, for a person: one line, cut short."""
    text = " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
