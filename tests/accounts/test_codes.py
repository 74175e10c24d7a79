"""Codes of links that sign a person in once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dyff.accounts import codes
from tests.accounts.test_authority import FakeClock


def test_a_code_is_good_once():
    """A code signs in the first person who uses it, and nobody after that."""
    known = codes.Codes(FakeClock())
    code = known.make()
    assert [known.take(code), known.take(code)] == [True, False]


@pytest.mark.parametrize(("age_s", "good"), [(0, True), (299, True), (300, False)])
def test_a_code_is_good_for_five_minutes(age_s, good):
    """Not a second longer."""
    clock = FakeClock()
    known = codes.Codes(clock)
    code = known.make()
    clock.time += timedelta(seconds=age_s)
    assert known.take(code) is good


@pytest.mark.parametrize("wrong", ["", "x", "\ud800", "x" * 100_000])
def test_a_guess_costs_a_code_nothing(wrong):
    """A wrong guess does not stop the holder of the link from using it. Before a code is made, none is right."""
    known = codes.Codes(FakeClock())
    assert known.take(wrong) is False
    code = known.make()
    assert [known.take(wrong), known.take(code[:-1]), known.take(code)] == [False, False, True]


def test_a_new_code_replaces_the_one_before():
    """At most one link is good, and all are different."""
    known = codes.Codes(FakeClock())
    first, second = known.make(), known.make()
    assert [known.take(first), known.take(second)] == [False, True]


def test_the_code_itself_is_not_kept():
    """In memory there is only its hash."""
    known = codes.Codes(FakeClock())
    code = known.make()
    assert code not in repr(vars(known))
