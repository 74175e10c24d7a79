"""How conditions of any object are read."""

from __future__ import annotations

import pytest

from dyff.cluster import conditions


def having(*given):
    return {"status": {"conditions": list(given)}}


TRUE, FALSE, UNKNOWN = ({"type": "Ready", "status": status} for status in ("True", "False", "Unknown"))


@pytest.mark.parametrize(
    ("resource", "want", "true"),
    [
        ({}, None, False),
        ({"status": None}, None, False),
        ({"status": {"conditions": None}}, None, False),
        (having({"type": "Complete", "status": "True"}), None, False),
        (having({"status": "True"}), None, False),
        (having({"type": "Ready"}), {"type": "Ready"}, False),
        (having({"type": "Complete", "status": "True"}, FALSE), FALSE, False),
        (having(UNKNOWN), UNKNOWN, False),
        (having(TRUE), TRUE, True),
    ],
)
def test_only_a_condition_that_says_so_is_true(resource, want, true):
    """One that is missing, False, Unknown or not whole is not true, and an object without a status has none."""
    assert conditions.get(resource, "Ready") == want
    assert conditions.is_true(resource, "Ready") is true
    assert conditions.true_condition(resource, "Ready") == (want if true else None)


def test_conditions_by_type():
    """All of them; none where nothing was set."""
    assert conditions.by_type(having(TRUE, {"type": "Complete", "status": "False"})).keys() == {"Ready", "Complete"}
    assert conditions.by_type({}) == {}


def test_what_is_finished():
    """Complete or Failed ends it, if it is true."""
    assert not conditions.finished(having({"type": "Complete", "status": "False"}, TRUE))
    assert conditions.finished(having({"type": "Failed", "status": "True"}))
