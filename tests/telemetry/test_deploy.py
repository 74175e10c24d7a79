"""The dashboard, the alerts and the scrape configurations in deploy/: they name what exists, and Prometheus takes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dyff.kernel.telemetry import names

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "dyff.json").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

NAME = re.compile(r"\b((?:dyff|process|python)_\w+)\b(\{[^}]*\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
OF_TARGETS = {"instance", "job", "le"}
"""Labels that Prometheus adds, and that of buckets."""


def series() -> dict[str, names.Metric]:
    """All names that a query can use, with their rows of the table."""
    ends = {names.HISTOGRAM: ("_bucket", "_count", "_sum")}
    return {f"{each.name}{end}": each for each in names.METRICS for end in ends.get(each.type, ("",))}


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, with where it is."""
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    yield from ((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"])
    yield from ((each["name"], each["expr"]) for each in DASHBOARD["annotations"]["list"])
    yield from ((each["name"], each["query"]["query"]) for each in DASHBOARD["templating"]["list"] if each["type"] == "query")


@pytest.mark.parametrize(("place", "query"), list(expressions()))
def test_a_query_names_metrics_and_labels_that_exist(place, query):
    """Each metric is in the table, counters are not read without `rate` or `increase`, and labels are those of the metrics."""
    known, used = series(), NAME.findall(query)
    assert used or query.startswith("up{"), query
    assert [name for name, _ in used if name not in known] == []
    labels = {label for name, _ in used for label in known[name].labels}
    for name, selected in used:
        assert set(LABEL.findall(selected)) <= {*known[name].labels, *OF_TARGETS}, (place, name)
    grouped = {each.strip() for group in GROUPED.findall(query) for each in group.split(",")}
    assert grouped <= labels | OF_TARGETS, place
    for name, _ in used:
        if known[name].type != names.GAUGE:
            assert re.search(rf"(rate|increase)\([^)]*{name}\b", query), (place, name)


def test_every_alert_says_what_happened_and_what_to_do():
    """A severity, a summary and a description; the labels that they name are left in the result; docs/production.md lists it."""
    page = (DEPLOY.parent / "docs/production.md").read_text()
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 20
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        texts = rule["annotations"]
        assert set(texts) == {"summary", "description"}
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(texts.values())))
        kept = {each.strip() for group in GROUPED.findall(rule["expr"]) for each in group.split(",")}
        assert named <= (kept or OF_TARGETS), rule["alert"]
        assert f"`{rule['alert']}`" in page


def test_the_alerts_cover_what_must_not_go_unnoticed():
    """A lag, a stuck role, restarts, a degraded process, errors of the server, a full disk, failing evaluations, lost lines."""
    used = {name for rule in RULES for name, _ in NAME.findall(rule["expr"])}
    assert used >= {
        names.LAG, names.SIGN_STALLED, names.RESTARTS, names.TROUBLE, names.HTTP_REQUESTS, names.DISK_FULL, names.CHANGES, names.LOST_LINES,
        names.PHASE,
    }  # fmt: skip


def test_the_dashboard_shows_every_metric_of_ours():
    """All but those that only explain others; panels have a title of their own and do not lie on one another."""
    text = " ".join(query for _, query in expressions())
    unseen = {each.name for each in names.METRICS if each.name.startswith("dyff_") and each.name not in text}
    assert unseen <= {names.SIGN_WAITING, names.SCRAPE_DURATION, names.DISK_FULL, names.DISK_SIZE}
    assert len({panel["title"] for panel in PANELS}) == len(PANELS) > 20
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for each in places for x in range(each["x"], each["x"] + each["w"]) for y in range(each["y"], each["y"] + each["h"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def test_the_scrape_configurations_are_for_what_is_deployed():
    """Port and labels are those of the manifests, and each job is called `dyff`, which the alerts expect."""
    monitor = yaml.safe_load((PROMETHEUS / "podmonitor.yaml").read_text())
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "probes"
    assert monitor["spec"]["selector"]["matchLabels"] == {monitor["spec"]["jobLabel"]: "dyff"}
    for file in ("prometheus.yaml", "kubernetes.yaml"):
        (job,) = yaml.safe_load((PROMETHEUS / file).read_text())["scrape_configs"]
        assert job["job_name"] == "dyff"


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's own tool, which Debian has in its package `prometheus`."""
    found = os.environ.get("DYFF_TEST_PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("NOT CHECKED by Prometheus: there is no promtool; install it, or set DYFF_TEST_PROMTOOL to its path")
    return found


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml"), ("check", "config", "prometheus.yaml")]
)
def test_prometheus_takes_the_rules(promtool, arguments):
    """Its own tool checks them, and runs their unit tests."""
    done = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
