"""Metrics in the formats of Prometheus: the text format, or OpenMetrics where the scraper asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from dyff.kernel import errors
from dyff.kernel.telemetry import names
from dyff.kernel.telemetry.collected import Collected

log = structlog.get_logger()


def rendered(collected: Iterable[Collected], accept: str) -> tuple[tuple[str, bytes], list[str]]:
    """The content type and the body, and the names of collectors that failed. `accept`: see `formats.preferred`.

    Takes milliseconds for each thousand samples, so it belongs in a thread.
    """
    registry, failed = CollectorRegistry(), list[str]()
    registry.register(_All(collected, failed))
    encode, content_type = choose_encoder(accept)
    return (content_type, encode(registry)), failed


class _All(Collector):
    """What this process counts, and what the system knows about it."""

    def __init__(self, collected: Iterable[Collected], failed: list[str]) -> None:
        self._collected, self._failed = collected, failed

    def describe(self) -> Iterable[Metric]:
        """Nothing: it is registered once, with nothing that it could collide with."""
        return ()

    def collect(self) -> Iterator[Metric]:
        for each in self._collected:
            yield _family(each)
        nowhere = CollectorRegistry()
        for make in (ProcessCollector, PlatformCollector, GCCollector):
            try:
                yield from [each for each in make(registry=nowhere).collect() if _is_listed(each)]
            except Exception as error:
                self._failed.append(make.__name__)
                log.warning("metrics-not-read", reader=make.__name__, **errors.details(error))


def _is_listed(found: Metric) -> bool:
    """Whether the table has it: a newer prometheus-client may know more."""
    return f"{found.name}{'_total' if found.type == 'counter' else ''}" in names.BY_NAME


def _family(each: Collected) -> Metric:
    metric = each.metric
    if metric.type == names.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        for labels, (counts, total) in each.series.items():
            cumulated = list(zip(bounds, map(float, accumulate(counts)), strict=True))
            histogram.add_metric(labels, buckets=cumulated, sum_value=total)
        return histogram
    kind = CounterMetricFamily if metric.type == names.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in each.samples.items():
        family.add_metric(labels, value)
    return family
