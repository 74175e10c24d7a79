"""What the metrics of killed and paused processes are taken to show: the judge of tests/acceptance/test_faults.py."""

from __future__ import annotations

import pytest

from tests.acceptance.faults import Fault
from tests.acceptance.scraping import Life, lags, unexplained
from tests.telemetry.scraped import Scrape

KILL = Fault("sink-0", "kill", 10.0, 12.0)
PAUSE = Fault("sink-0", "pause", 10.0, 16.0)
SHORT = Fault("sink-0", "pause", 10.0, 11.0)


def life(started: float, *late: tuple[float, float]) -> Life:
    return Life(started, list(late))


@pytest.mark.parametrize(
    ("fault", "lives", "shown"),
    [
        (KILL, [life(1, (8, 0)), life(2, (14, 0))], True),
        (KILL, [life(2, (14, 0))], True),
        (KILL, [life(1, (8, 0), (14, 0))], False),
        (KILL, [life(1, (8, 0))], False),
        (KILL, [], False),
        (PAUSE, [life(1, (9, 0), (18, 1))], True),
        (PAUSE, [life(1, (9, 0), (18, 0))], False),
        (PAUSE, [life(1, (9, 3), (18, 3))], False),
        (PAUSE, [life(1, (9, 0)), life(2, (18, 0))], True),
        (PAUSE, [life(1, (18, 0))], True),
        (SHORT, [life(1, (9, 0), (18, 0))], True),
    ],
)
def test_a_fault_must_show_where_it_can(fault, lives, shown):
    """A kill separates two lives, a long pause is counted; what nobody scraped before and after cannot show."""
    assert (unexplained([fault], {"sink-0": lives}) == []) is shown


def test_a_fault_of_what_is_not_watched_needs_no_explanation():
    """Engines have metrics of their own."""
    assert unexplained([Fault("kafka", "pause", 1.0, 9.0)], {}) == []


def test_the_lag_has_a_value_for_each_owner():
    """Two owners of a partition are two values, so they are seen."""
    text = '# TYPE dyff_consumer_lag_records gauge\ndyff_consumer_lag_records{role="sink",topic="t",partition="0"} '
    assert lags({"a": Scrape(text + "0\n"), "b": Scrape(text + "2\n")}) == {("sink", "t", "0"): [0.0, 2.0]}
