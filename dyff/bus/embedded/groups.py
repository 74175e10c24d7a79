"""Who of a consumer group has which partition. No I/O: one process holds the log, so membership is in its memory.

A partition that moves is taken at once: the generation of the new assignment makes whatever the old holder still does
with it stale. Partitions stay where they are as far as fairness allows.
"""

from __future__ import annotations

from dyff.bus import port

SESSION_S = 30.0
"""A member that has not polled for so long loses its partitions to the others."""


class Member:
    """A member, as its group sees it."""

    def __init__(self) -> None:
        self.held: dict[int, port.Assignment] = {}
        self.last_poll = 0.0
        self.polling = False
        self._given: list[port.Assignment] = []
        self._taken: list[port.Assignment] = []

    def give(self, assignment: port.Assignment) -> None:
        """The partition is this member's."""
        self.held[assignment.partition] = assignment
        self._given.append(assignment)

    def take(self, partition: int) -> None:
        """The partition is not this member's any more; if it was not told that it had it, it need not know."""
        assignment = self.held.pop(partition)
        if assignment in self._given:
            self._given.remove(assignment)
        else:
            self._taken.append(assignment)

    def news(self) -> tuple[tuple[port.Assignment, ...], tuple[port.Assignment, ...]]:
        """What was taken and what was given since the last call."""
        news = tuple(self._taken), tuple(self._given)
        self._taken, self._given = [], []
        return news

    def holds(self, assignment: port.Assignment) -> bool:
        """Whether exactly this giving of the partition is still in force."""
        return self.held.get(assignment.partition) == assignment


class Group:
    """The members of one consumer group on one topic."""

    def __init__(self, partitions: int) -> None:
        """`partitions`: of the topic."""
        self._partitions = partitions
        self._members: list[Member] = []
        self._generation = 0

    def polled(self, member: Member, now: float) -> list[Member]:
        """A member polls: it belongs to the group, and those who were silent for too long do not.

        `now`: monotonic seconds. Returns the members for whom something changed.
        """
        member.last_poll = now
        members = [each for each in self._members if each is member or each.polling or now - each.last_poll < SESSION_S]
        if member not in members:
            members.append(member)
        return self._settle(members)

    def leave(self, member: Member) -> list[Member]:
        """A member gives back what it has. Returns the members for whom something changed."""
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
        """Even shares: those who have most keep the larger ones."""
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
