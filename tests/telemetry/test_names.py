"""The table of metrics, and docs/metrics.md, which shows it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest

from dyff.kernel import settings
from dyff.kernel.telemetry import names

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


def test_the_page_lists_each_metric_as_it_is():
    """Name, type, labels, unit, roles and meaning are the same in the code and in docs/metrics.md, in the same order."""
    listed = ROW.findall((ROOT / "docs/metrics.md").read_text())
    known = [
        (each.name, each.type, ", ".join(f"`{label}`" for label in each.labels) or "-", each.unit, ", ".join(each.roles), each.meaning)
        for each in names.METRICS
    ]
    assert listed == known


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda each: each.name)
def test_a_name_follows_the_conventions(metric):
    """Our prefix, base units, `_total` for counters only; names and labels that Prometheus takes; buckets in order."""
    ours = metric.name.startswith("dyff_")
    assert ours or metric.name.startswith(("process_", "python_"))
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.type == names.COUNTER)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) and label not in ("le", "quantile") for label in metric.labels)
    assert not ours or (metric.unit == "seconds") == metric.name.removesuffix("_total").endswith("_seconds")
    assert not ours or (metric.unit == "bytes") == metric.name.removesuffix("_total").endswith("_bytes")
    assert (metric.type == names.HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.meaning.strip()


def test_names_are_unique():
    """No metric has the name of another, nor of a series of its histogram."""
    series = [f"{each.name}{end}" for each in names.METRICS for end in (("_bucket", "_count", "_sum") if each.buckets else ("",))]
    assert len(series) == len(set(series))


def limits_in_the_code() -> set[str]:
    """The names that the code gives to the limits of its errors; those of quotas are made of the setting's name."""
    found: set[str] = set()
    for path in (ROOT / "dyff").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("of_limit", "_refuse", "_stop") and node.args and path.parent.name != "shim":
                last = node.args[-1]
                if isinstance(last, ast.Constant) and isinstance(last.value, str):
                    found.add(last.value)
    returned = re.findall(r'return 431, text, "([\w.]+)"', (ROOT / "dyff/api/connections.py").read_text())
    return found | set(returned) | {f"quotas.{name}" for name in ("entities", "document_bytes", "object_bytes")}


def test_every_limit_that_refuses_a_request_is_listed():
    """The label `limit` has exactly the names that the code uses, and each that looks like a setting is one."""
    assert limits_in_the_code() == set(names.LIMITS)
    for name in (each for each in names.LIMITS if "." in each):
        group, _, field = name.partition(".")
        assert field in {each.name for each in msgspec.structs.fields(getattr(settings.Settings(), group))}
