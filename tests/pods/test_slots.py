from __future__ import annotations

import pytest

from dyff.cluster.pods import refusals, slots


def test_the_oldest_come_first():
    """No matter which asks first, the oldest pods that are known get the slots."""
    subject = slots.Slots(2)
    for uid in "cab":
        subject.enter(uid, (uid, uid))
    with pytest.raises(refusals.Refused, match="one of 2 job slots"):
        subject.claim("c", ("c", "c"))
    subject.claim("b", ("b", "b"))
    subject.claim("a", ("a", "a"))
    assert subject.leave("a") == ["c"]
    subject.claim("c", ("c", "c"))


def test_claiming_twice_takes_one_slot():
    """A pod that starts again has its slot already."""
    subject = slots.Slots(1)
    subject.claim("a", ("a", "a"))
    subject.claim("a", ("a", "a"))
    subject.enter("b", ("b", "b"))
    assert subject.leave("a") == ["b"]


def test_pods_that_run_already_count_even_beyond_the_limit():
    """After a restart with a lower limit nothing is stopped, and nothing new starts until there is room."""
    subject = slots.Slots(1)
    for uid in "ab":
        subject.hold(uid)
    subject.enter("c", ("c", "c"))
    assert subject.leave("a") == []
    assert subject.leave("b") == ["c"]


def test_who_leaves_the_queue_makes_room():
    """A pod that cannot start for another reason is not waited for."""
    subject = slots.Slots(1)
    for uid in "ab":
        subject.enter(uid, (uid, uid))
    assert subject.leave("a") == ["b"]
    assert subject.leave("a") == []
