"""Reads what a process exposes, as Prometheus does."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from dyff.kernel.telemetry import names


class Scrape:
    """The samples of one answer. `types`: by the name that the table has."""

    def __init__(self, text: str):
        self.types: dict[str, str] = {}
        self.samples: dict[tuple[str, frozenset], float] = {}
        for family in text_string_to_metric_families(text):
            known = f"{family.name}_total" if family.type == "counter" else family.name
            assert known not in self.types, f"{known} is there twice"
            self.types[known] = family.type
            for each in family.samples:
                key = each.name, frozenset(each.labels.items())
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = each.value

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the sample with exactly these labels; None if there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    def all(self, name: str, **labels: str) -> dict[frozenset, float]:
        """All samples of a name that have these labels, among others."""
        wanted = set(labels.items())
        return {found: value for (of, found), value in self.samples.items() if of == name and wanted <= found}

    def total(self, name: str, **labels: str) -> float:
        """The sum of `all`."""
        return sum(self.all(name, **labels).values())

    def of(self, metric: names.Metric) -> dict[frozenset, float]:
        """The samples that a row of the table stands for."""
        ends = ("_bucket", "_sum", "_count") if metric.type == names.HISTOGRAM else ("",)
        return {found | {("", end)}: value for end in ends for found, value in self.all(f"{metric.name}{end}").items()}


async def scrape(measured, accept=None) -> Scrape:
    """One scrape of a process's metrics."""
    return Scrape((await measured.scrape(accept))[1].decode())
