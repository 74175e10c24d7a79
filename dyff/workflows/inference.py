"""Calls to the service under test: what is retried, for how long, and what ends the run."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import msgspec

from dyff.adapters import answers
from dyff.entities import specs
from dyff.kernel import backoff, clock, errors
from dyff.workflows import endings, exchanges, failures, kept, pacing, troubles, verdicts
from dyff.workflows.items import Call

ODD_RETRIES = 3
"""How often a call is retried after answers that cannot be read, do not fit or refuse. Then the item is given up."""

REFUSED_ITEMS = 3
"""If no call has ever succeeded, so many items that were refused show that the endpoint is wrong."""

FRUITLESS_ITEMS = 100
"""If missing outputs are an error, so many items that were given up in a row, without a success, end the run."""

_FIRST_DELAY_S = 0.5
_ITEM_TRIES = 100
"""As in the published client: after this many tries the item is at fault."""
_READY_TIMEOUT_S = 5.0
_FIRST_LOOK_S = 0.02
_NOTICE_INTERVAL_S = 5.0
_HINT = "Fix the item or the inputPipeline, or set client.badRequestPolicy to Skip."
_SHOWN = 200
"""Characters of an answer that says that the service is not ready."""
_FIX = "Fix the outputPipeline, the outputSchema or the service."


class Result(msgspec.Struct, frozen=True):
    """The result of a call. `responses`: None if there are none; `failure` then says why. `size_bytes`: the size of the answer."""

    responses: list[Any] | None
    size_bytes: int = 0
    failure: failures.Failure | None = None


class Inference:
    """Makes calls until each has its responses or is given up, or the run must end.

    Transient errors are: no connection, a connection lost before anything was received, a timeout, 408, 421, 423, 425, 429 and every
    5xx. A call is retried after a delay that doubles from half a second up to `transientErrorRetryDelaySeconds` (with jitter, and at
    least `Retry-After`). If a call fails more than `transientErrorRetryLimit` times in a row while no other call succeeds, the
    service is at fault and the run ends. If it fails more than a hundred times (or than the limit, if that is higher) while
    others succeed, the item is at fault and is given up. A service that requests a pause, by 429 or `Retry-After`, is not
    called for that long.

    Odd answers are: one that cannot be read, or does not fit the output pipeline or the output schema, a redirect, and a refusal
    that would usually mean that the endpoint is wrong, such as 401, 403 and 404. They are retried in the same way, but only
    `ODD_RETRIES` times; then the item is given up. The endpoint is wrong if nothing but refusals was ever received.

    A refusal of the request's form, such as 400 and 422, ends the run, unless the policy is to skip. One that concerns the item alone
    (413, 418, 451, and after retries 409, 410, 424) never does: the item is given up, or skipped.
    """

    def __init__(
        self,
        service: exchanges.Service,
        endpoint: str,
        policy: specs.Client,
        outputs: answers.Outputs,
        check: answers.Check,
        *,
        keep: kept.Kept | None = None,
        already: int = 0,
        left_s: Callable[[], float] | None = None,
        time: clock.Clock | None = None,
    ) -> None:
        """`outputs`: the pipeline from an answer to its responses. `check`: of the responses, against the schema.

        `keep`: collects all exchanges; None to keep none. `already`: the number of items that earlier attempts have finished.
        `left_s`: the seconds that are left to the run; None if it has no limit.

        Raises:
            Misconfigured: the endpoint cannot be called.
        """
        try:
            self._head = service.head("POST", endpoint)
        except ValueError as error:
            raise errors.Misconfigured(f"interface.endpoint: {error}") from error
        self._service, self._endpoint, self._policy = service, endpoint, policy
        self._outputs, self._check, self._keep = outputs, check, keep
        self._clock, self._random = time or clock.SystemClock(), random.Random()
        self._pace = pacing.Pace(self._clock, self._random, left_s)
        self._board = troubles.Board(self._clock, left_s)
        self._timeout_s = policy.request_timeout_seconds or None
        self._successes, self._failures = already, 0
        self._fruitless = 0
        self._last_given_up: endings.Ending | None = None
        self._waits_for = ""
        self._noticed = float("-inf")
        self._is_in_trouble = False
        self.unresolved: list[tuple[Call, failures.Failure]] = []
        """The calls that had failed and were to be tried again when the run ended, each with its last failure."""

    def message(self) -> str:
        """Describe what the run waits for and what it retries, for people; empty if all is well."""
        return self._waits_for or self._pace.message() or self._board.message()

    async def ready(self, path: str) -> None:
        """Wait until the service reports that it is ready. A service without that route is ready when it answers.

        Raises:
            Ending: it was not ready within the time limit, which is the retry limit times the retry delay.
        """
        limit_s = max(1, self._policy.transient_error_retry_limit) * self._policy.transient_error_retry_delay_seconds
        head, delays, reason = self._service.head("GET", path), backoff.delays(_FIRST_LOOK_S, factor=1.5, ceiling_s=1.0), "it was not asked"
        end = clock.iso_seconds(self._clock.now() + timedelta(seconds=limit_s))
        with anyio.move_on_after(limit_s):
            while True:
                try:
                    answer = await self._service.exchange(head, b"", _READY_TIMEOUT_S)
                except (exchanges.Broken, TimeoutError) as error:
                    reason = str(error) or f"no answer within {_READY_TIMEOUT_S:.0f} s"
                else:
                    if verdicts.is_there(answer.status):
                        self._waits_for, self._noticed = "", float("-inf")
                        return
                    reason = f"GET {path} says {answer.status}: {answers.excerpt(answer.body)[:_SHOWN]}"
                self._waits_for = f"waiting for the service at {self._service.url} until {end}: {reason}"
                self._notice(self._waits_for)
                await anyio.sleep(next(delays))
        message = f"The service at {self._service.url} was not ready within {limit_s:.0f} s: {reason}. Look at the session's logs."
        raise endings.Ending(endings.UNAVAILABLE, message)

    async def infer(self, call: Call) -> Result:
        """Make one call; returns its responses, or why the run continues without them.

        Raises:
            Ending: the service refused the item and the policy is to abort, the endpoint is wrong, the service failed too often, or
                none of its answers fits.
            OutOfTime: the service wants a pause that is longer than the time left.
        """
        head = self._head if call.media_type == exchanges.JSON else self._service.head("POST", self._endpoint, call.media_type)
        trouble: _Trouble | None = None
        last: verdicts.Bad | None = None
        number = 0
        try:
            while True:
                await self._pace.turn()
                number += 1
                verdict, size_bytes = await self._try(head, call, number, trouble)
                if isinstance(verdict, verdicts.Good):
                    last = None
                    self._successes, self._fruitless = self._successes + 1, 0
                    if self._is_in_trouble and trouble is not None:
                        self._all_is_well(call)
                    return Result(verdict.reading.responses, size_bytes)
                if verdict.error == failures.BAD_REQUEST:
                    last = None
                    return Result(None, 0, self._refused(call, verdict))
                last = verdict
                if trouble is None:
                    trouble = _Trouble(self._successes, self._policy.transient_error_retry_delay_seconds, self._random)
                delay_s = self._delay_s(trouble, verdict)
                if self._is_given_up(call, trouble, verdict):
                    last = None
                    return Result(None, 0, self._refused(call, verdict) if self._is_skipped(verdict) else verdict.failure())
                self._board.put(call, trouble.failures, verdict.reason, delay_s, self._limit(verdict))
                self._notice(self._pace.message() or self._board.log_line(call, self._failures))
                await anyio.sleep(delay_s)
        finally:
            if trouble is not None:
                self._board.remove(call)
            if last is not None:
                self.unresolved.append((call, last.cut_short()))

    def conclude(self) -> None:
        """Check at the end that the service has ever given an answer that could be used.

        Raises:
            Ending: it refused all items; or no answer fitted, and missing outputs are an error.
        """
        ending = self._last_given_up
        if ending is not None and not self._successes and (ending.code == endings.REFUSED or self._missing_is_error):
            raise ending

    @property
    def _missing_is_error(self) -> bool:
        return self._policy.missing_output_policy != "Ignore"

    async def _try(self, head: bytes, call: Call, number: int, trouble: _Trouble | None) -> tuple[verdicts.Good | verdicts.Bad, int]:
        """Send the request once; returns the verdict, and the size of the answer in bytes."""
        sent, began = self._clock.now(), self._clock.monotonic()
        answer = None
        self._board.sent(call)
        try:
            answer = await self._service.exchange(head, call.body, self._timeout_s)
        except exchanges.Broken as error:
            verdict: verdicts.Good | verdicts.Bad = verdicts.broken(error)
        except TimeoutError:
            limit = f"{self._policy.request_timeout_seconds:g} s (client.requestTimeoutSeconds)"
            verdict = verdicts.no_answer(f"no answer within {limit}")
        else:
            verdict = verdicts.of(answer, self._outputs, self._check)
        finally:
            self._board.answered(call)
        if self._keep is not None:
            seconds = self._clock.monotonic() - began
            found = kept.Exchange(call, number, int(sent.timestamp() * 1e6), seconds, answer)
            if isinstance(verdict, verdicts.Good):
                found.value = verdict.reading.value
            else:
                found.error = verdict.reason
                is_odd = verdict.error in (failures.UNFIT_ANSWER, failures.REFUSED)
                found.is_last = verdict.is_final or (is_odd and trouble is not None and trouble.odd >= ODD_RETRIES)
            self._keep.add(found)
        return verdict, len(answer.body) if answer is not None else 0

    def _limit(self, verdict: verdicts.Bad) -> str:
        """When a call is given up, for people."""
        if verdict.error != failures.TRANSIENT_ERRORS:
            return f"after {ODD_RETRIES + 1} such answers"
        return f"after {self._policy.transient_error_retry_limit + 1} errors in a row with client.transientErrorRetryLimit"

    def _refused(self, call: Call, verdict: verdicts.Bad) -> failures.Failure:
        """Count a request that the service refused; returns what to record.

        Raises:
            Ending: the policy is not to skip it.
        """
        words = verdict.reason if verdict.received is None else verdict.received
        said = f"status {verdict.status} for {call}: {words}"
        if self._policy.bad_request_policy != "Skip":
            raise endings.Ending(endings.REFUSED, f"The service refused a request: {said}. {_HINT}")
        self._successes, self._fruitless = self._successes + 1, 0  # the service works
        self._notice(f"skipping an item: {said}")
        return failures.Failure(failures.BAD_REQUEST, words, verdict.status)

    def _is_skipped(self, verdict: verdicts.Bad) -> bool:
        """Whether the item has an output row without responses, because the service refused it."""
        return verdict.of_item and self._policy.bad_request_policy == "Skip"

    def _is_given_up(self, call: Call, trouble: _Trouble, verdict: verdicts.Bad) -> bool:
        """Count an error; returns whether the item is given up."""
        self._failures += 1
        if verdict.error == failures.TRANSIENT_ERRORS:
            return self._is_hopeless(call, trouble, verdict)
        trouble.failures += 1
        trouble.odd += 1
        if trouble.odd <= ODD_RETRIES and not verdict.is_final:
            return False
        if not self._is_skipped(verdict):
            self._give_up(call, verdict, trouble.odd)
        return True

    def _give_up(self, call: Call, verdict: verdicts.Bad, tries: int) -> None:
        """Count an item that is given up because of odd answers. Ends the run if that is certainly not the item's fault."""
        self._fruitless += 1
        if verdict.of_item:
            message = f"The service refused one item after another; the last, {call}: {verdict.reason}"
            ending = endings.Ending(endings.REFUSED, f"{message}. {_HINT}")
        elif verdict.error == failures.REFUSED:
            message = f"The service does not serve the endpoint {self._endpoint!r} to us: {verdict.reason} for {call}"
            ending = endings.Ending(endings.REFUSED, f"{message}. Correct interface.endpoint.")
        else:
            ending = endings.Ending(endings.OUTPUT_ERROR, f"No answer of the service fits; the last, for {call}: {verdict.reason}. {_FIX}")
        self._last_given_up = ending
        is_wrong = verdict.error == failures.REFUSED and not verdict.of_item and not self._successes and self._fruitless >= REFUSED_ITEMS
        if is_wrong or (self._missing_is_error and self._fruitless >= FRUITLESS_ITEMS):
            raise ending
        endings.say(f"giving up an item, answers of which cannot be used: {tries}; the last for {call}: {verdict.reason}")

    def _is_hopeless(self, call: Call, trouble: _Trouble, verdict: verdicts.Bad) -> bool:
        """Count a transient error; returns whether the item is given up."""
        limit = self._policy.transient_error_retry_limit
        trouble.count(self._successes, for_the_item=verdict.status != verdicts.TOO_MANY_REQUESTS)
        reason = verdict.reason
        if trouble.tries > max(limit, _ITEM_TRIES) and self._successes != trouble.successes_before:
            endings.say(f"giving up an item: {trouble.tries} transient errors for {call}, while others succeeded; the last: {reason}")
            return True
        if trouble.in_a_row > limit:
            message = (
                f"The service failed {trouble.in_a_row} times in a row for {call}; the last time: {reason}. Look at the session's logs."
            )
            raise endings.Ending(endings.UNAVAILABLE, f"{message} client.transientErrorRetryLimit is {limit}.")
        return False

    def _delay_s(self, trouble: _Trouble, verdict: verdicts.Bad) -> float:
        """How long this call has to wait. If the service requests a pause, all calls have to."""
        own_s = next(trouble.delays)
        asked_s = pacing.asked_s(verdict.asks, self._clock)
        if verdict.status == verdicts.TOO_MANY_REQUESTS:
            asked_s = asked_s or own_s
        if asked_s:
            self._pace.hold(asked_s, f"{asked_s:.1f} s, with status {verdict.status}")
        return max(own_s, asked_s)

    def _notice(self, line: str) -> None:
        """Print a line, unless a notice was printed in the last few seconds."""
        now = self._clock.monotonic()
        if now - self._noticed >= _NOTICE_INTERVAL_S:
            self._noticed, self._is_in_trouble = now, True
            endings.say(line)

    def _all_is_well(self, call: Call) -> None:
        """Say that a retry was successful, if nothing else is retried: the last line of the log is shown to users."""
        self._board.remove(call)
        if not self.message():
            self._is_in_trouble = False
            endings.say("all calls succeed again")


class _Trouble:
    """The errors of one call so far.

    `failures`: all. `odd`: odd answers. `tries`: transient errors that may be the item's fault. `in_a_row`: transient errors since any
    call succeeded.
    """

    def __init__(self, successes: int, longest_delay_s: float, jitter: random.Random) -> None:
        """`successes`: the number of successful calls of the run so far."""
        self.failures = self.odd = self.tries = self.in_a_row = 0
        self.successes_before = self._successes = successes
        self.delays = backoff.delays(_FIRST_DELAY_S, ceiling_s=longest_delay_s, jitter=jitter)

    def count(self, successes: int, *, for_the_item: bool) -> None:
        """Count one more transient error. `successes`: the number of successful calls of the run by now."""
        if successes != self._successes:
            self._successes, self.in_a_row = successes, 0
        self.failures += 1
        self.in_a_row += 1
        self.tries += for_the_item
