"""Ranks: ties share a range, whatever the scores are."""

from __future__ import annotations

import pytest

from dyff.api.comparisons import ranks
from tests.entities.test_comparisons import pair

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


@pytest.mark.parametrize(
    ("better", "want"),
    [
        ({}, ["1-3", "1-3", "1-3"]),
        ({"ab": A, "ac": A, "bc": B}, ["1", "2", "3"]),
        ({"ab": A, "ac": A}, ["1", "2-3", "2-3"]),
        ({"ac": A}, ["1-2", "1-3", "2-3"]),
        ({"ac": C, "bc": C}, ["2-3", "2-3", "1"]),
    ],
)
def test_a_pair_without_a_difference_ranks_neither(better, want):
    """The first rank is after those that are shown to be better, the last one before those that are shown to be worse."""
    pairs = [pair(a, b, better=better.get(a + b), higher=better.get(a + b)) for a, b in ("ab", "ac", "bc")]
    assert [str(each) for each in ranks.ranks([A, B, C], pairs).values()] == want


def test_against_the_reference():
    """The difference is the other one minus the reference, on whichever side of the pair that is."""
    found = ranks.against(A, B, [pair("a", "b", low=-0.25, better=B, higher=B)])
    assert found is not None
    assert (found.verdict, found.difference, found.low, found.high) == ("better", -0.0625, -0.25, 0.125)
    turned = ranks.against(B, A, [pair("a", "b", low=-0.25, better=B, higher=B)])
    assert turned is not None
    assert (turned.verdict, turned.difference, turned.low, turned.high) == ("worse", 0.0625, -0.125, 0.25)
    assert ranks.against(A, C, [pair("a", "b")]) is None


@pytest.mark.parametrize(
    ("higher", "other", "want"), [(None, B, "no difference shown"), (B, B, "higher"), (A, B, "lower"), (A, A, "higher")]
)
def test_a_neutral_score_has_no_better_one(higher, other, want):
    """It is higher, lower, or a tie."""
    found = ranks.against(A if other == B else B, other, [pair("a", "b", higher=higher, low=None)])
    assert found is not None
    assert (found.verdict, found.low) == (want, None) if other == B else found.verdict == want


def test_too_many_comparisons_for_the_data():
    """Where the smallest possible p is not small enough after the correction, a note says so."""
    many = [pair("a", "b")] * 60
    assert ranks.notes(many, 0.95) == [
        "60 pairs have so few items that differ, or so few draws of the test, that 60 comparisons together cannot show a difference"
    ]
    assert ranks.notes(many[:2], 0.95) == []
