"""Faults at random moments: SIGKILL and a new start, or SIGSTOP for a while, of whatever can be had by its name."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


class Victim(Protocol):
    """What can be killed and paused."""

    def kill(self) -> None:
        """SIGKILL."""

    def restart(self) -> None:
        """Start it again, if it does not run."""

    def send(self, number: signal.Signals) -> None:
        """A signal to it."""


@dataclass(frozen=True)
class Fault:
    """What was done to whom: `kill` or `pause`, from when to when (`time.monotonic`). A kill ends when the victim is started again."""

    victim: str
    kind: str
    began: float
    ended: float


class Gremlin:
    """Harms one victim after another until it is asked to stop; then all run again."""

    def __init__(self, victims: Mapping[str, Victim], seed: int, *, pause_s: tuple[float, float], between_s: tuple[float, float]) -> None:
        """`pause_s`: how long a victim is stopped or gone. `between_s`: from one fault's end to the next. Seconds, from and to."""
        self.done: list[Fault] = []
        self._victims, self._moments = victims, random.Random(seed)
        self._pause_s, self._between_s = pause_s, between_s
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Faults happen during the context. Errors of a restart are raised at its end."""
        failures: list[BaseException] = []
        thread = threading.Thread(target=self._work, args=(failures,), name="gremlin")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        for failure in failures:
            raise failure

    def _work(self, failures: list[BaseException]) -> None:
        try:
            while not self._stop.wait(self._moments.uniform(*self._between_s)):
                name = self._moments.choice(sorted(self._victims))
                kind, fault = self._moments.choice((("kill", self._kill), ("pause", self._pause)))
                began = time.monotonic()
                fault(self._victims[name], self._moments.uniform(*self._pause_s))
                self.done.append(Fault(name, kind, began, time.monotonic()))
        except BaseException as failure:  # set by `at_work`
            failures.append(failure)

    def _kill(self, victim: Victim, gone_s: float) -> None:
        victim.kill()
        # real time: the victim is gone for that long, and the others notice by their own clocks
        time.sleep(gone_s / 2)
        victim.restart()

    def _pause(self, victim: Victim, still_s: float) -> None:
        victim.send(signal.SIGSTOP)
        # real time: the victim is stopped for that long, and the others notice by their own clocks
        time.sleep(still_s)
        victim.send(signal.SIGCONT)


class Writer(threading.Thread):
    """Does one thing after another until stopped, and knows what was acknowledged."""

    def __init__(self, act: Callable[[int], None], *, every_s: float, stop: threading.Event) -> None:
        """`act`: is given the number of the try; it raises if it does not know that it succeeded."""
        super().__init__(name="writer")
        self.acknowledged: list[int] = []
        self.tried = 0
        self.failures: dict[str, int] = {}
        self._act, self._every_s, self._stop_event = act, every_s, stop

    def run(self) -> None:
        while not self._stop_event.wait(self._every_s):
            self.tried += 1
            try:
                self._act(self.tried)
            except Exception as error:  # unknown or refused: it may or may not be there
                reported = f"{type(error).__name__}: {str(error)[:80]}"
                self.failures[reported] = self.failures.get(reported, 0) + 1
            else:
                self.acknowledged.append(self.tried)
