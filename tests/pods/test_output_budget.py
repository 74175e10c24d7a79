"""How fast a container's output is read: bounded, so that a flood of it takes little of the supervisor's time."""

from __future__ import annotations

import time

import pytest

from dyff.cluster.pods.shim import output


@pytest.fixture
def at(monkeypatch):
    """Moves the clock."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def test_a_burst_is_read_at_once(at):
    """Until the burst is used up there is no wait, then there is a wait of a known length."""
    budget = output.Budget()
    budget.spend(output.BURST - 1, 0)
    assert budget.left > 0
    assert budget.due == float("inf")
    budget.spend(output.PER_S, 0)
    assert budget.left <= 0
    assert 101.0 <= budget.due < 101.1


def test_what_was_not_used_is_kept_up_to_a_burst(at):
    """Time gives the right to read, at the same rate, up to one burst."""
    budget = output.Budget()
    budget.spend(output.BURST, 0)
    at(2.0)
    assert budget.left == pytest.approx(2 * output.PER_S)
    at(1000.0)
    assert budget.left == output.BURST


def test_many_short_lines_cost_more(at):
    """A line costs its time stamp, too, so lines of one byte are read more slowly than long ones."""
    budget = output.Budget()
    budget.spend(2000, 1000)
    assert output.BURST - budget.left > 100 * 2000 / 2
