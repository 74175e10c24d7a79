"""The embedded bus: who of a group has which partition."""

from __future__ import annotations

from dyff.bus.embedded import groups


def test_partitions_stay_where_they_are():
    """When a member joins or leaves, only as many partitions move as must."""
    group = groups.Group(8)
    a, b, c = groups.Member(), groups.Member(), groups.Member()
    group.polled(a, 0.0)
    before = dict(a.held)
    group.polled(b, 0.0)
    assert all(before[partition] == assignment for partition, assignment in a.held.items())
    assert (len(a.held), len(b.held)) == (4, 4)
    kept_by_b = dict(b.held)
    group.polled(c, 0.0)
    assert sorted(map(len, (a.held, b.held, c.held))) == [2, 3, 3]
    group.leave(c)
    assert (len(a.held), len(b.held)) == (4, 4)
    assert sum(kept_by_b.get(partition) == assignment for partition, assignment in b.held.items()) >= 2


def test_a_silent_member_loses_its_partitions():
    """A member that does not poll for too long is out; when it polls again it learns what it lost and takes part again."""
    group = groups.Group(2)
    silent, lively = groups.Member(), groups.Member()
    group.polled(silent, 0.0)
    group.polled(lively, 1.0)
    lost = tuple(silent.held.values())
    silent.news()
    assert group.polled(lively, groups.SESSION_S / 2) == []
    assert group.polled(lively, groups.SESSION_S + 1) == [lively]
    assert len(lively.held) == 2
    assert not any(silent.holds(assignment) for assignment in lost)
    group.polled(silent, groups.SESSION_S + 2)
    revoked, assigned = silent.news()
    assert revoked == lost
    assert len(assigned) == 1
    assert assigned[0].generation > lost[0].generation


def test_a_member_that_waits_in_a_poll_is_not_silent():
    """A long poll counts as polling."""
    group = groups.Group(2)
    waits, lively = groups.Member(), groups.Member()
    group.polled(waits, 0.0)
    group.polled(lively, 0.0)
    waits.polling = True
    group.polled(lively, groups.SESSION_S * 3)
    assert len(waits.held) == 1


def test_what_was_never_given_need_not_be_revoked():
    """A partition that came and went between two polls is not reported at all."""
    group = groups.Group(1)
    a, b = groups.Member(), groups.Member()
    group.polled(a, 0.0)
    group.polled(b, 0.0)
    group.leave(a)
    assert a.news() == ((), ())
    assert [assignment.partition for assignment in b.news()[1]] == [0]
