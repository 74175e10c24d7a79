"""The instruments, the readers and the scrape."""

from __future__ import annotations

import gc
import sys
import threading
from types import SimpleNamespace

import anyio
import prometheus_client
import pytest
from prometheus_client.openmetrics import parser as openmetrics

from dyff.kernel import errors
from dyff.kernel.telemetry import exposition, metrics, names
from dyff.kernel.telemetry.collected import Collected
from tests.telemetry.scraped import Scrape, scrape


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch):
    """No scrape gets the answer of the one before."""
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)


def reader(*samples):
    async def read():
        return samples

    return read


async def test_what_is_recorded_is_exposed_with_the_names_of_the_table():
    """A counter, a histogram and a gauge; the buckets are cumulated, and a value on a bound belongs below it."""
    subject = metrics.Metrics()
    subject.counter(names.HTTP_REQUESTS).add("GET", "/v0/models", "200", by=3)
    for seconds in (0.001, 0.0011, 99.0):
        subject.histogram(names.PUBLISH_DURATION).observe(seconds, "api", "ok")
    with subject.reading("test", reader(metrics.Sample(names.LAG, 7.0, ("sink", "t", "0")))):
        found = await scrape(subject)
    assert found.value("dyff_http_requests_total", method="GET", route="/v0/models", status="200") == 3
    assert found.value("dyff_consumer_lag_records", role="sink", topic="t", partition="0") == 7
    labels = {"role": "api", "outcome": "ok"}
    counts = {le: found.value("dyff_publish_duration_seconds_bucket", le=le, **labels) for le in ("0.001", "0.0025", "10.0", "+Inf")}
    assert counts == {"0.001": 1, "0.0025": 2, "10.0": 2, "+Inf": 3}
    assert found.value("dyff_publish_duration_seconds_count", **labels) == 3
    assert found.value("dyff_publish_duration_seconds_sum", **labels) == pytest.approx(99.0021)
    assert found.types["dyff_publish_duration_seconds"] == "histogram"


async def test_both_formats_of_prometheus_are_served():
    """The header Accept chooses, as prometheus-client does it; both are valid and have the same samples."""
    subject = metrics.Metrics()
    subject.counter(names.RELAYED).add(by=2)
    content_type, body = await subject.scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    found = {each.name: each for family in openmetrics.text_string_to_metric_families(body.decode()) for each in family.samples}
    assert found["dyff_relay_changes_total"].value == 2
    content_type, body = await subject.scrape(None)
    assert content_type.startswith("text/plain")
    assert Scrape(body.decode()).value("dyff_relay_changes_total") == 2


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text; version=zz, text/plain", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=9.9.9", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0.x;q=1", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0;q=0,text/plain", "text/plain; version=0.0.4"),
        ('Application/OpenMetrics-Text; Version="1.0.0";escaping=nope;q=x', "application/openmetrics-text; version=1.0.0"),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain; version=1.0.0"),
        ("text/plain;version=\xff.1", "text/plain; version=0.0.4"),
        (";;;==,,q=;version", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("," * 30_000, "text/plain; version=0.0.4"),
    ],
)
async def test_whatever_a_scraper_accepts_it_gets_a_format_that_exists(accept, content_type):
    """A version that is none is passed over, and no text of the client is in the answer."""
    subject = metrics.Metrics()
    subject.counter(names.RELAYED).add(by=2)
    named, body = await subject.scrape(accept)
    assert named.startswith(content_type)
    assert b"dyff_relay_changes_total 2.0\n" in body


async def test_headers_that_mean_the_same_cost_one_scrape(monkeypatch):
    """Scrapers that write them differently, or at random, do not make the process collect again and again."""
    monkeypatch.setattr(metrics, "FRESH_S", 3600.0)
    subject, reads = metrics.Metrics(), []

    async def read():
        reads.append(1)
        return ()

    with subject.reading("test", read):
        for number in range(20):
            await subject.scrape(f"text/x-{number}")
            await subject.scrape(f"application/openmetrics-text;version=1.0.0;n={number}")
    assert len(reads) == 2


async def test_a_reader_that_fails_costs_only_its_own_samples():
    """Whatever it raises; it is counted, and everything else is there."""
    subject = metrics.Metrics()
    subject.counter(names.RELAYED).add()

    async def fail():
        raise RuntimeError("no")

    async def unknown():
        return [metrics.Sample("dyff_unheard_of", 1.0)]

    with (
        subject.reading("broken", fail),
        subject.reading("confused", unknown),
        subject.reading("fine", reader(metrics.Sample(names.DISK_FULL, 1.0))),
    ):
        found = await scrape(subject)
        again = await scrape(subject)
    assert (found.value("dyff_relay_changes_total"), found.value("dyff_data_disk_full")) == (1, 1)
    assert again.all("dyff_scrape_errors_total") == {frozenset({("reader", "broken")}): 2, frozenset({("reader", "confused")}): 2}


@pytest.mark.virtual_time
async def test_a_reader_that_does_not_answer_is_left_out():
    """A scrape waits for it for two seconds, together with all others."""
    subject = metrics.Metrics()
    collected: list[Collected] = []

    async def late() -> list[metrics.Sample]:
        await anyio.sleep_forever()
        return []

    with subject.reading("late", late), subject.reading("later", late):
        began = anyio.current_time()
        collected = await subject.collect()
        assert anyio.current_time() - began == pytest.approx(metrics.READ_S)
    failed = next(each for each in collected if each.metric.name == names.SCRAPE_ERRORS)
    assert failed.samples == {("late",): 1, ("later",): 1}


async def test_a_collector_of_the_system_that_fails_does_not_fail_the_scrape(monkeypatch):
    """The process collector reads /proc, which may be closed to it."""
    monkeypatch.setattr(exposition, "ProcessCollector", lambda registry: SimpleNamespace(collect=lambda: 1 / 0, __name__="x"))
    subject = metrics.Metrics()
    await scrape(subject)
    found = await scrape(subject)
    assert found.total("dyff_scrape_errors_total") >= 1
    assert found.types["python_info"] == "gauge"


async def test_gauges_are_gone_with_what_they_show():
    """A partition that is lost, or a role that has ended, leaves no sample behind."""
    subject = metrics.Metrics()
    with subject.reading("test", reader(metrics.Sample(names.LAG, 7.0, ("sink", "t", "0")))):
        assert (await scrape(subject)).all(names.LAG) != {}
    assert (await scrape(subject)).all(names.LAG) == {}


async def test_a_role_that_starts_again_counts_on():
    """Asking for an instrument again gives the same one, so nothing is registered twice."""
    subject = metrics.Metrics()
    for _ in range(3):
        subject.counter(names.FOLDED).add("applied")
    assert (await scrape(subject)).value(names.FOLDED, outcome="applied") == 3


async def test_two_processes_in_one_do_not_see_each_other():
    """There is no registry that two servers of a test would share, and none of ours is in prometheus-client's own."""
    one, other = metrics.Metrics(), metrics.Metrics()
    one.counter(names.RELAYED).add()
    assert names.RELAYED not in (await scrape(other)).types
    assert b"dyff_" not in prometheus_client.generate_latest()


async def test_a_metric_has_a_bounded_number_of_series(monkeypatch):
    """What is more is counted together as `other`, and nothing is lost."""
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    subject = metrics.Metrics()
    for number in range(10):
        subject.counter(names.ACTION_ERRORS).add("Create", f"Error{number}")
        subject.histogram(names.RECONCILE).observe(0.1, f"Kind{number}")
    samples = [metrics.Sample(names.TROUBLE, 1.0, (f"trouble {number}",)) for number in range(10)]
    with subject.reading("test", reader(*samples)):
        found = await scrape(subject)
    assert len(found.all(names.ACTION_ERRORS)) == len(found.all(f"{names.RECONCILE}_count")) == len(found.all(names.TROUBLE)) == 4
    assert found.value(names.ACTION_ERRORS, action="other", error="other") == 7
    assert found.value(names.TROUBLE, trouble="other") == 7
    assert found.value(f"{names.RECONCILE}_count", kind="other") == 7


def test_only_what_the_table_has_can_be_recorded():
    """A name, a type or a number of labels that the table does not have is a mistake of ours."""
    subject = metrics.Metrics()
    for wrong in (lambda: subject.counter("dyff_unheard_of"), lambda: subject.counter(names.CYCLE), lambda: subject.histogram(names.ITEMS)):
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(ValueError, match="has the labels"):
        subject.counter(names.FOLDED).add("applied", "twice")


async def test_scrapes_that_come_together_share_one(monkeypatch):
    """Many scrapers cost no more than one: those that come soon after another get its answer."""
    monkeypatch.setattr(metrics, "FRESH_S", 60.0)
    subject, reads = metrics.Metrics(), []

    async def read():
        reads.append(1)
        await anyio.sleep(0)
        return []

    with subject.reading("test", read):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(subject.scrape)
    assert len(reads) == 1


async def test_a_scrape_is_written_in_a_thread(monkeypatch):
    """The event loop goes on meanwhile: writing some thousand samples takes tens of milliseconds."""
    threads: list[threading.Thread] = []
    real = exposition.rendered

    def rendered(*given):
        threads.append(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(exposition, "rendered", rendered)
    await metrics.Metrics().scrape()
    assert threads != []
    assert threading.main_thread() not in threads


async def test_a_scrape_leaves_nothing_behind():
    """Memory does not grow with the number of scrapes."""
    subject = metrics.Metrics()
    subject.counter(names.HTTP_REQUESTS).add("GET", "/v0/models", "200")
    for _ in range(5):
        await subject.scrape()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        await subject.scrape()
    gc.collect()
    assert len(gc.get_objects()) - before < 200


def test_places_of_a_label_stay_where_they_are():
    """The largest get the free places. Each keeps its place while there is something to show; the rest is added up."""
    subject = metrics.Sticky(2)
    assert subject.bounded({"a": 1, "b": 5, "c": 3}) == {"b": 5, "c": 3, "other": 1}
    assert subject.bounded({"a": 9, "b": 5, "c": 1, "d": 2}) == {"b": 5, "c": 1, "other": 11}
    assert subject.bounded({"a": 9, "c": 1}) == {"c": 1, "a": 9}
    assert subject.bounded({}) == {}


def test_a_value_that_is_called_other_is_added_to_the_rest():
    """An account may have any name, also this one; no sum is lost by that."""
    subject = metrics.Sticky(2)
    assert subject.bounded({"other": 9, "b": 5, "c": 3, "d": 2}) == {"other": 14, "b": 5}
    assert subject.bounded({"other": 9, "b": 5}) == {"other": 9, "b": 5}


async def test_a_failed_scrape_says_so(monkeypatch):
    """It ends in time, with an error that is tried again."""
    monkeypatch.setattr(metrics, "SCRAPE_S", 0.0)
    with pytest.raises(errors.Unavailable, match="could not be collected"):
        await metrics.Metrics().scrape()


def test_recording_needs_no_prometheus_client():
    """It takes too long to import for a start, so only the first scrape does it."""
    code = "import sys; from dyff.kernel.telemetry import metrics, names; metrics.Metrics(); sys.exit('prometheus_client' in sys.modules)"
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
