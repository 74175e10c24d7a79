"""What one account uses, as this process knows it: what the view adds up, and what this process has accepted since. No I/O.

A claim is made before a command is published and counts from then on. When the view includes the command, it counts there instead.
So requests at the same time cannot all take the last place, and no request needs more than a comparison of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dyff.kernel import errors, settings
from dyff.kernel.positions import Position
from dyff.query.port import Usage

MAX_FILES = 20_000
"""Files of one account's uploads whose sizes are remembered one by one; those of an older upload are then remembered as a sum."""

_FREE = (
    "Delete what is not needed (it counts until it is removed, which the server's setting retention.deleted_days decides),"
    " or ask an administrator to raise"
)
_WHAT = {
    "entities": ("entities", "This is how many the account {} keeps"),
    "document_bytes": ("bytes of JSON", "This is the size of all entities of the account {}, as JSON in bytes"),
    "object_bytes": ("bytes of files", "This is the size of all files of the account {}, in bytes"),
}


class Claim(msgspec.Struct, eq=False):
    """What a request will add. `name`: by which a repetition of the request is recognised; None: it is not."""

    amount: Usage
    name: str | None = None
    is_open: bool = True


class _Unread(msgspec.Struct):
    """Claims whose commands are below the offset `end`, and that the view may not include yet."""

    end: int
    turn: int
    amount: Usage


class _Upload(msgspec.Struct):
    """Sizes of files by path. `counted`: what the account's usage in the view has for this entity."""

    plural: str
    counted: int
    files: dict[str, int]
    total: int = 0

    @property
    def more(self) -> int:
        """What is there and not counted yet."""
        return max(0, self.total - self.counted)


class Book:
    """What one account uses. Times in seconds: `read_at`: when its usage was last read; `exact_at`: when that included all that was
    published; `reviewed_at`: when its uploads were last looked up.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.read_at = self.exact_at = self.reviewed_at = float("-inf")
        self.uploads: dict[str, _Upload] = {}
        self._known, self._pending, self._uploaded, self._turn = Usage(), Usage(), 0, 0
        self._unread: dict[int, list[_Unread]] = {}
        self._unknown: list[tuple[float, Claim]] = []
        self._names: dict[str, tuple[int, int] | None] = {}

    @property
    def used(self) -> Usage:
        """What counts now."""
        both = plus(self._known, self._pending)
        return Usage(both.entities, both.document_bytes, both.object_bytes + self._uploaded)

    @property
    def is_read(self) -> bool:
        """Whether the usage was ever read."""
        return self.read_at > float("-inf")

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost with this book but a read of the usage."""
        return self._pending == Usage() and not self.uploads

    def knows(self, name: str | None) -> bool:
        """Whether a request with this name has been claimed, and the view may not include it yet."""
        return name is not None and name in self._names

    def claim(self, amount: Usage, name: str | None) -> Claim:
        """Count `amount` from now on. A repetition of a request counts once."""
        if self.knows(name):
            return Claim(Usage())
        if name is not None:
            self._names[name] = None
        self._pending = plus(self._pending, amount)
        return Claim(amount, name)

    def done(self, claim: Claim, position: Position) -> None:
        """The command of the claim is in the log at `position`."""
        if not claim.is_open:
            return
        claim.is_open, end = False, position.offset + 1
        if claim.name is not None:
            self._names[claim.name] = (position.partition, end)
        waiting = self._unread.setdefault(position.partition, [])
        if waiting and waiting[-1].turn == self._turn:
            waiting[-1].end = max(waiting[-1].end, end)
            waiting[-1].amount = plus(waiting[-1].amount, claim.amount)
        else:
            waiting.append(_Unread(end, self._turn, claim.amount))

    def not_known(self, claim: Claim, until: float) -> None:
        """The command may be in the log; the claim counts until then, by which the view includes it if it is there."""
        if claim.is_open:
            claim.is_open = False
            self._unknown.append((until, claim))

    def cancel(self, claim: Claim) -> None:
        """Nothing was added; no effect on a claim that has ended otherwise."""
        if claim.is_open:
            claim.is_open = False
            self._pending = plus(self._pending, claim.amount, -1)
            self._forget(claim.name)

    def ends(self) -> dict[int, int]:
        """By partition, the offset below which all commands of claims are."""
        return {partition: max(each.end for each in waiting) for partition, waiting in self._unread.items() if waiting}

    def begin_read(self) -> None:
        """The position of the view and then the usage are going to be read."""
        self._turn += 1

    def take(self, usage: Usage, events: Mapping[int, int], now: float) -> None:
        """The usage in a view that included all `events` below these offsets before it was read."""
        self._known, self.read_at = usage, now
        for partition, waiting in self._unread.items():
            included = [each for each in waiting if each.end <= events.get(partition, 0)]
            for each in included:
                self._pending = plus(self._pending, each.amount, -1)
            self._unread[partition] = [each for each in waiting if each.end > events.get(partition, 0)]
        for until, claim in self._unknown:
            if until <= now:
                self._pending = plus(self._pending, claim.amount, -1)
                self._forget(claim.name)
        self._unknown = [each for each in self._unknown if each[0] > now]
        for name in [name for name, at in self._names.items() if at is not None and events.get(at[0], 0) >= at[1]]:
            self._forget(name)

    def growth(self, entity_id: str, files: Mapping[str, int], counted: int) -> int:
        """By how much the account uses more if an upload has these files, too. `counted`: see `_Upload`."""
        known = self.uploads.get(entity_id) or _Upload("", counted, {})
        total = known.total + sum(size - known.files.get(path, 0) for path, size in files.items())
        return max(0, total - counted) - known.more

    def upload(self, plural: str, entity_id: str, files: Mapping[str, int], counted: int) -> None:
        """An upload has these files, too."""
        known = self.uploads.pop(entity_id, None) or _Upload(plural, counted, {})
        before, known.counted = known.more, counted
        for path, size in files.items():
            known.total += size - known.files.get(path, 0)
            known.files[path] = size
        self.uploads[entity_id] = known
        self._uploaded += known.more - before
        if sum(len(each.files) for each in self.uploads.values()) > MAX_FILES:
            oldest = max(self.uploads.values(), key=lambda each: len(each.files))
            oldest.files = {"": oldest.total}

    def recount(self, entity_id: str, counted: int | None) -> None:
        """What the usage has for an upload. None: it is over, and the usage has all of it."""
        known = self.uploads[entity_id]
        self._uploaded -= known.more
        if counted is None:
            del self.uploads[entity_id]
        else:
            known.counted = counted
            self._uploaded += known.more

    def _forget(self, name: str | None) -> None:
        if name is not None:
            self._names.pop(name, None)


def plus(one: Usage, other: Usage, sign: int = 1) -> Usage:
    """The sum, or with the sign -1 the difference."""
    return Usage(
        one.entities + sign * other.entities,
        one.document_bytes + sign * other.document_bytes,
        one.object_bytes + sign * other.object_bytes,
    )


def exceeded(account: str, used: Usage, more: Usage, limits: settings.Quotas) -> errors.QuotaExceeded | None:
    """The refusal of a request that adds `more` to what is `used`; None if it fits. Only what it adds to can refuse it."""
    for name, (unit, words) in _WHAT.items():
        limit, now, added = getattr(limits, name), getattr(used, name), getattr(more, name)
        if limit is not None and added > 0 and now + added > limit:
            asked = f"{words.format(account)}, of at most {limit}; the request would add {added} {unit}"
            return errors.QuotaExceeded(now, limit, f"{asked}. {_FREE} quotas.{name}.").of_limit(f"quotas.{name}")
    return None
