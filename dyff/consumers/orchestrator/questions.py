"""Questions to the cluster about single runs. What is answered about one says nothing about the others."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from dyff.kernel import backoff, errors
from dyff.kernel.telemetry import log_fields

log = structlog.get_logger()

MOST_IN_VAIN = 3
"""After so many questions in a row without an answer the cluster is taken to be silent, so that a pass does not wait for each run."""
_FIRST_DELAY_S = 0.1
_CEILING_S = 30.0
"""Delays before a question that was not answered is asked again: the first, and the longest."""

T = TypeVar("T")


class NotKnown(errors.DyffError):
    """The cluster says nothing about this run now: it stays as it is."""


class Questions:
    """Asks about runs, and remembers which could not be answered. These are asked again after growing delays."""

    def __init__(self, about: Callable[[str], log_fields.About]) -> None:
        """Nothing was asked yet. `about(entity_id)`: what log lines about a run say it is."""
        self._about = about
        self._failing: backoff.Keyed[str] = backoff.Keyed(_FIRST_DELAY_S, ceiling_s=_CEILING_S, jitter=random.Random())
        self._wanted: set[str] = set()
        self._in_vain = 0

    def begin(self) -> None:
        """Begin a pass: forget the runs that the one before did not ask about."""
        for key in set(self._failing.failing) - self._wanted:
            self._failing.over(key)
        self._wanted.clear()
        self._in_vain = 0

    async def ask(self, entity_id: str, question: Callable[[], Awaitable[T]]) -> T:
        """The answer to a question about a run.

        Raises:
            NotKnown: it cannot be answered, or is not due again yet.
            RetryLater: no question is answered now.
        """
        self._wanted.add(entity_id)
        if self._failing.left_s(entity_id) > 0:
            raise NotKnown(f"{entity_id}: it is asked again later")
        try:
            answer = await question()
        except (errors.RetryLater, errors.FixRequest) as error:
            pause_s = self._failing.failed(entity_id, error.retry_after_s if isinstance(error, errors.RetryLater) else None)
            with log_fields.during(self._about(entity_id)):
                log.warning("run-not-known", retry_in_s=round(pause_s, 1), **errors.details(error))
            self._note(error)
            raise NotKnown(error.message) from error
        self._failing.over(entity_id)
        self._in_vain = 0
        return answer

    def next_s(self) -> float | None:
        """Seconds until a question is due again; None if all were answered."""
        return self._failing.next_s()

    def _note(self, error: errors.RetryLater | errors.FixRequest) -> None:
        if isinstance(error, errors.FixRequest | errors.Blocked | errors.Refused):
            return  # the cluster answers
        self._in_vain += 1
        if self._in_vain >= MOST_IN_VAIN:
            raise error
