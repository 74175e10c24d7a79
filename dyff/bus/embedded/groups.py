"""Partition assignment within a consumer group. No I/O: one process holds the log, so membership is in its memory.

A partition that moves is revoked immediately: the generation of the new assignment makes anything that the old holder still
does with it stale. Partitions stay where they are as far as fairness allows.
"""

from __future__ import annotations

from dyff.bus import port

SESSION_S = 30.0
"""A member that has not polled for this long loses its partitions to the others."""


class Member:
    """A member from its group's point of view."""

    def __init__(self) -> None:
        self.held: dict[int, port.Assignment] = {}
        self.last_poll = 0.0
        self.polling = False
        self._given: list[port.Assignment] = []
        self._taken: list[port.Assignment] = []

    def give(self, assignment: port.Assignment) -> None:
        """Assign the partition to this member."""
        self.held[assignment.partition] = assignment
        self._given.append(assignment)

    def take(self, partition: int) -> None:
        """Revoke the partition. If the assignment has not been reported to the member yet, neither is reported."""
        assignment = self.held.pop(partition)
        if assignment in self._given:
            self._given.remove(assignment)
        else:
            self._taken.append(assignment)

    def news(self) -> tuple[tuple[port.Assignment, ...], tuple[port.Assignment, ...]]:
        """The revoked and the assigned partitions since the last call."""
        news = tuple(self._taken), tuple(self._given)
        self._taken, self._given = [], []
        return news

    def holds(self, assignment: port.Assignment) -> bool:
        """Whether this very assignment of the partition is still valid."""
        return self.held.get(assignment.partition) == assignment


class Group:
    """The members of one consumer group on one topic."""

    def __init__(self, partitions: int) -> None:
        """`partitions`: the number of partitions of the topic."""
        self._partitions = partitions
        self._members: list[Member] = []
        self._generation = 0

    def polled(self, member: Member, now: float) -> list[Member]:
        """Record that a member polls: it joins or stays in the group, and members that were silent for too long are removed.

        `now`: monotonic seconds. Returns the members whose assignment changed.
        """
        member.last_poll = now
        members = [each for each in self._members if each is member or each.polling or now - each.last_poll < SESSION_S]
        if member not in members:
            members.append(member)
        return self._settle(members)

    def leave(self, member: Member) -> list[Member]:
        """Remove a member; its partitions go to the others. Returns the members whose assignment changed."""
        return self._settle([each for each in self._members if each is not member])

    def _settle(self, members: list[Member]) -> list[Member]:
        if members == self._members:
            return []
        for gone in (each for each in self._members if each not in members):
            for partition in list(gone.held):
                gone.take(partition)
        self._members = members
        return self._share_out() if members else []

    def _share_out(self) -> list[Member]:
        """Distribute the partitions evenly; members that hold the most keep the larger shares."""
        changed = set()
        most_first = sorted(self._members, key=lambda member: -len(member.held))
        least, larger = divmod(self._partitions, len(most_first))
        shares = {member: least + (place < larger) for place, member in enumerate(most_first)}
        for member, share in shares.items():
            for partition in sorted(member.held)[share:]:
                member.take(partition)
                changed.add(member)
        held = {partition for member in self._members for partition in member.held}
        free = [partition for partition in range(self._partitions) if partition not in held]
        for member, share in shares.items():
            while len(member.held) < share:
                self._generation += 1
                member.give(port.Assignment(free.pop(0), self._generation))
                changed.add(member)
        return [member for member in self._members if member in changed]
