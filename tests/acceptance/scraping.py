"""Scrapes the processes of a deployment again and again, and says what their metrics show of faults: nothing but metrics is looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx

from dyff.kernel.telemetry import names
from tests.acceptance.faults import Fault
from tests.telemetry.scraped import Scrape

EVERY_S = 1.0
SEEN_S = 3.5
"""A pause that long is a delay of the event loop of more than a second, whatever it waited for when it was stopped."""


@dataclass
class Life:
    """What was scraped of one process between its start and its end. Times are those of `time.monotonic`.

    `late`: when it was scraped, and how many delays of more than a second it had counted by then.
    """

    started: float
    late: list[tuple[float, float]] = field(default_factory=list)
    last: Scrape | None = None

    @property
    def first_seen(self) -> float:
        """When it was scraped first."""
        return self.late[0][0]

    @property
    def last_seen(self) -> float:
        """When it was scraped last."""
        return self.late[-1][0]

    def late_by(self, moment: float) -> float | None:
        """Delays that were counted before a moment. None if it was not scraped before."""
        return max((count for at, count in self.late if at < moment), default=None)


class Watch:
    """Scrapes all targets until stopped; what could not be scraped is left out, as Prometheus does."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        """`targets`: the address of the metrics by the name of the process."""
        self.lives: dict[str, list[Life]] = {name: [] for name in targets}
        self._targets = targets
        self._stop = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """It scrapes during the context, each process in a thread: one that is stopped must not hide the others."""
        threads = [threading.Thread(target=self._watch, args=(name,), name=f"scrapes-{name}") for name in self._targets]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._stop.set()
            for each in threads:
                each.join()

    def look(self, name: str) -> Scrape:
        """Scrape one process now.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        found = Scrape(httpx.get(self._targets[name], timeout=10).raise_for_status().text)
        started = found.value("process_start_time_seconds") or 0.0
        if not self.lives[name] or self.lives[name][-1].started != started:
            self.lives[name].append(Life(started))
        life = self.lives[name][-1]
        life.late.append((time.monotonic(), _late(found)))
        life.last = found
        return found

    def story(self) -> str:
        """What the metrics say, for a person."""
        return "\n".join(
            f"{name}: {len(lives)} lives, {sum(each.late[-1][1] - each.late[0][1] for each in lives):g} pauses, "
            + ", ".join(f"{total:g} {what}" for what, total in _troubles(lives).items() if total)
            for name, lives in sorted(self.lives.items())
        )

    def _watch(self, name: str) -> None:
        while not self._stop.wait(EVERY_S):
            with suppress(httpx.HTTPError):
                self.look(name)


def unexplained(faults: Iterable[Fault], lives: Mapping[str, Sequence[Life]]) -> list[str]:
    """The faults of watched processes that their metrics do not show.

    A kill: no life was seen on both sides of it, and a life was seen after it. A pause: the life that was seen before and after has
    counted a delay in between. Pauses that are too short for that, or of a process that was not seen before and after, show nothing.
    """
    missed = []
    for fault in faults:
        if fault.victim not in lives:
            continue
        of = lives[fault.victim]
        if fault.kind == "kill":
            survived = any(each.first_seen < fault.began and each.last_seen > fault.ended for each in of)
            if survived or not any(each.last_seen > fault.ended for each in of):
                missed.append(str(fault))
        elif fault.ended - fault.began >= SEEN_S:
            for each in of:
                before = each.late_by(fault.began)
                if before is not None and each.last_seen > fault.ended + EVERY_S and each.late[-1][1] <= before:
                    missed.append(str(fault))
    return missed


def lags(scrapes: Mapping[str, Scrape]) -> dict[tuple[str, str, str], list[float]]:
    """The lag of each partition, by role, topic and partition: a value for each process that has it."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for each in scrapes.values():
        for labels, value in each.all(names.LAG).items():
            of = dict(labels)
            found.setdefault((of["role"], of["topic"], of["partition"]), []).append(value)
    return found


def _late(found: Scrape) -> float:
    count = found.value(f"{names.LOOP_DELAY}_count") or 0.0
    return count - (found.value(f"{names.LOOP_DELAY}_bucket", le="1.0") or 0.0)


def _troubles(lives: Sequence[Life]) -> dict[str, float]:
    last = [each.last for each in lives if each.last is not None]
    return {
        "restarts of roles": sum(each.total(names.RESTARTS) for each in last),
        "publications that failed": sum(each.total(f"{names.PUBLISH_DURATION}_count", outcome="failed") for each in last),
        "publications of unknown outcome": sum(each.total(f"{names.PUBLISH_DURATION}_count", outcome="unknown") for each in last),
        "values that could not be read": sum(each.total(names.SCRAPE_ERRORS) for each in last),
    }
