"""The metrics of one process. Each process makes one `Metrics`, which is passed to its roles; there is no global one.

Counters and histograms belong to the process: a role that restarts gets the same ones and counts on. A gauge is never stored. It is read at
each scrape by a reader that is registered while what it reads exists, so nothing is left of a lost partition or of a role that has ended.

Record from the thread of the event loop only. A record costs some tenths of a microsecond, which `prometheus_client`'s own counters do not
reach (docs/adr/0036-metrics.md); their registry, families and formats are used at the scrape (`exposition`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import anyio
import anyio.to_thread
import msgspec
import structlog

from dyff.kernel import errors
from dyff.kernel.telemetry import formats, names
from dyff.kernel.telemetry.collected import Collected, Labels

log = structlog.get_logger()

READ_S = 2.0
"""How long a scrape waits for a reader. One that does not answer in time is left out of it, and counted."""

SCRAPE_S = 8.0
"""How long a scrape may take in all; Prometheus gives up after ten seconds."""

FRESH_S = 0.25
"""A scrape that comes so soon after the last one in its format gets the same answer, so that many scrapers cost no more than one."""

MAX_SERIES = 1000
"""The most series of one metric. Further ones are counted together, with `other` in each label."""

OTHER = "other"


class Sample(msgspec.Struct, frozen=True):
    """The value of a gauge, or of a counter that something else keeps, at a scrape. `labels`: in the order of the table."""

    name: str
    value: float
    labels: Labels = ()


Read = Callable[[], Awaitable[Iterable[Sample]]]
"""Reads samples. It runs on the event loop, so it must not block; it may raise, which costs only its own samples."""


class Cell:
    """One series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.value = 0.0


class Counter:
    """A number that only grows, by labels."""

    def __init__(self, metric: names.Metric) -> None:
        """No series yet, but the one of a counter without labels."""
        self.metric = metric
        self.cells: dict[Labels, Cell] = {}
        if not metric.labels:
            self.cell()

    def cell(self, *labels: str) -> Cell:
        """The series with these labels, to count `value` up without a look-up."""
        found = self.cells.get(labels)
        if found is None:
            found = self.cells.setdefault(_bounded(self.metric, labels, self.cells), Cell())
        return found

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Count. `labels`: their values, in the order of the table."""
        self.cell(*labels).value += by


class Distribution:
    """One series of a histogram. `counts`: by bucket, not cumulated; the last one is for what is above every bound."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Nothing is observed yet."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histogram:
    """How values are distributed, by labels."""

    def __init__(self, metric: names.Metric) -> None:
        """No series yet, but the one of a histogram without labels."""
        self.metric = metric
        self.series: dict[Labels, Distribution] = {}
        if not metric.labels:
            self.child()

    def child(self, *labels: str) -> Distribution:
        """The series with these labels, to observe values without a look-up."""
        found = self.series.get(labels)
        if found is None:
            found = self.series.setdefault(_bounded(self.metric, labels, self.series), Distribution(self.metric.buckets))
        return found

    def observe(self, value: float, *labels: str) -> None:
        """Count a value. `labels`: their values, in the order of the table."""
        self.child(*labels).observe(value)

    @contextmanager
    def timed(self, *labels: str) -> Iterator[None]:
        """Observe how many seconds the block takes, also if it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - began, *labels)


class Metrics:
    """Everything that a process measures. `dyff.kernel.telemetry.names.METRICS` says what there is."""

    def __init__(self) -> None:
        """Nothing is measured yet. Only instruments that a role has asked for appear in a scrape."""
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._readers: dict[object, tuple[str, Read]] = {}
        self._shown: set[str] = set()
        self._scraping = anyio.Lock()
        self._limiter: anyio.CapacityLimiter | None = None
        self._last: dict[str, tuple[float, tuple[str, bytes]]] = {}
        self._failed = self.counter(names.SCRAPE_ERRORS)
        self._took_s = 0.0

    def counter(self, name: str) -> Counter:
        """The counter of this name; the same one at each call.

        Raises:
            KeyError: the table has no counter of this name.
        """
        return self._counters.setdefault(name, Counter(_metric(name, names.COUNTER)))

    def histogram(self, name: str) -> Histogram:
        """The histogram of this name; the same one at each call.

        Raises:
            KeyError: the table has no histogram of this name.
        """
        return self._histograms.setdefault(name, Histogram(_metric(name, names.HISTOGRAM)))

    @contextmanager
    def reading(self, who: str, read: Read, shows: tuple[str, ...] = ()) -> Iterator[None]:
        """Ask `read` at each scrape while the context is open. `who`: names it in `dyff_scrape_errors_total`.

        `shows`: metrics that are listed even if there are no samples at the moment.
        """
        key = object()
        self._readers[key] = (who, read)
        self._shown.update(shows)
        try:
            yield
        finally:
            del self._readers[key]

    async def scrape(self, accept: str | None = None) -> tuple[str, bytes]:
        """The content type and the body of an answer. `accept`: the header of the request; it chooses the format.

        Raises:
            Unavailable: it takes too long.
        """
        key = formats.preferred(accept)
        async with self._scraping:
            now = time.monotonic()
            known = self._last.get(key)
            if known is not None and now - known[0] < FRESH_S:
                return known[1]
            with anyio.move_on_after(SCRAPE_S):
                collected = await self.collect()
                answer, failed = await anyio.to_thread.run_sync(_rendered, collected, key, limiter=self._thread())
                for each in failed:
                    self._failed.add(each)
                self._took_s = time.monotonic() - now
                self._last[key] = time.monotonic(), answer
                return answer
        raise errors.Unavailable(f"the metrics could not be collected within {SCRAPE_S:g} s")

    async def collect(self) -> list[Collected]:
        """Everything that is measured now, in the order of the table. A reader that fails or is late is counted and left out."""
        read: dict[str, dict[Labels, float]] = {names.SCRAPE_DURATION: {(): self._took_s}}
        async with anyio.create_task_group() as group:
            for who, each in list(self._readers.values()):
                group.start_soon(self._read, who, each, read)
        found = []
        for metric in names.METRICS:
            counter, histogram = self._counters.get(metric.name), self._histograms.get(metric.name)
            samples = {} if counter is None else {labels: cell.value for labels, cell in counter.cells.items()}
            samples |= read.get(metric.name, {})
            series = {} if histogram is None else {labels: (list(each.counts), each.sum) for labels, each in histogram.series.items()}
            if counter is not None or histogram is not None or samples or metric.name in self._shown:
                found.append(Collected(metric, samples, series))
        return found

    async def _read(self, who: str, read: Read, into: dict[str, dict[Labels, float]]) -> None:
        try:
            with anyio.fail_after(READ_S):
                for each in await read():
                    kept = into.setdefault(each.name, {})
                    labels = _bounded(names.BY_NAME[each.name], each.labels, kept)
                    kept[labels] = each.value if labels is each.labels else kept.get(labels, 0.0) + each.value
        except Exception as error:
            self._failed.add(who)
            log.warning("metrics-not-read", reader=who, **errors.details(error))

    def _thread(self) -> anyio.CapacityLimiter:
        """A thread of its own: the others may all be busy when somebody wants to know why."""
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        return self._limiter


class Sticky:
    """Keeps the number of values of a label bounded, and its series steady: a value that has a place keeps it while it occurs."""

    def __init__(self, most: int) -> None:
        """`most`: so many values have a place of their own; the others are added up as `other`."""
        self._most = most
        self._placed: dict[str, None] = {}

    def bounded(self, values: Mapping[str, float]) -> dict[str, float]:
        """`values` by label, with the rest as `other`. Free places go to the largest."""
        self._placed = {each: None for each in self._placed if each in values}
        for each in sorted(values.keys() - self._placed.keys(), key=lambda each: (-values[each], each)):
            if len(self._placed) >= self._most:
                break
            self._placed[each] = None
        found = {each: values[each] for each in self._placed}
        rest = sum(value for each, value in values.items() if each not in self._placed)
        # A value may itself be called so: accounts have any name.
        return found | ({OTHER: found.get(OTHER, 0) + rest} if len(values) > len(found) else {})


def _rendered(collected: list[Collected], accept: str) -> tuple[tuple[str, bytes], list[str]]:
    from dyff.kernel.telemetry import exposition  # it takes longer to import than a start-up has

    return exposition.rendered(collected, accept)


def _metric(name: str, kind: names.Type) -> names.Metric:
    metric = names.BY_NAME[name]
    if metric.type != kind:
        raise KeyError(f"{name} is a {metric.type}, not a {kind}")
    return metric


def _bounded(metric: names.Metric, labels: Labels, known: Collection[Labels]) -> Labels:
    """`labels`, or `other` in each of them if there are too many series.

    Raises:
        ValueError: the table has another number of labels.
    """
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")
    return labels if labels in known or len(known) < MAX_SERIES else (OTHER,) * len(labels)
