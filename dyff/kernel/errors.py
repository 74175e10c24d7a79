"""Every exception that crosses one of our boundaries, grouped by what the caller should do about it.

    DyffError
    ├── RetryLater              try again, nothing was done          503
    │   ├── Unavailable         a backend does not answer            503
    â   â   âââ Blocked         not before an operator has acted     503
    â   â   âââ DiskFull        there is no space left               503
    â   â   âââ Locked          another program locked the file      503
    â   âââ Refused             a rule refuses this object for now   503
    │   └── NotReady            a session is still starting          503
    ├── OutcomeUnknown          it may or may not have been done     500
    ├── BadGateway              a session's server broke off         502
    ├── FixRequest              the request can never succeed        400
    │   ├── InvalidFields       fields that are wrong, each named    422
    │   ├── Unauthenticated     no token, or not a valid one         401
    │   ├── Forbidden           a valid token without the grant      403
    │   ├── QuotaExceeded       the account has as much as it may    403
    │   ├── NotFound            no such thing                        404
    │   ├── Gone                it existed and was deleted           410
    │   └── TooLarge            over a stated limit                  413
    ├── Conflict                the thing's state forbids it         409
    │   ├── AlreadyExists       create of a name that is taken       409
    │   ├── StaleVersion        a newer version exists, read again   409
    │   ├── WrongStatus         e.g. not WaitingForUpload            409
    │   └── DigestMismatch      bytes are not the promised ones      409
    ├── Fenced                  another owner has taken over         -
    ├── Stuck                   a role makes no progress             -
    ├── WatchExpired            list again, then watch               -
    ├── OffsetOutOfRange        the log no longer holds that offset  -
    └── Fatal                   stop, a person must look             -
        ├── Misconfigured       settings that cannot work            -
        ├── LogDiverged         not the log the state came from      -
        ├── NewerSchema         this program must be upgraded        -
        ├── OlderSchema         stored data must be migrated         -
        ├── InUse               the data directory has a server      -
        ├── Damaged             a file is not what was written       -
        ├── DiskFailed          what was written may not be there    -
        └── Incomplete          a part of this program is missing    -

A vendor's exception is translated in its adapter (`raise ... from`) and never leaves it. HTTP statuses are
looked up by class in one table, `dyff.api.problems`.
"""

from __future__ import annotations

import errno
from typing import Any, Self

import msgspec

from dyff.kernel import suggestions

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The system's error numbers that mean `DiskFull`."""


class DyffError(Exception):
    """Something went wrong that this program foresaw.

    `limit`: the name of the limit that refused the call, one of `dyff.kernel.telemetry.names.LIMITS`; None if it was none.
    """

    limit: str | None = None

    def __init__(self, message: str | None = None) -> None:
        """Use `message`, or the first line of the class's docstring if it is None."""
        super().__init__(message or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0])

    @property
    def message(self) -> str:
        """The message, a sentence for people."""
        return str(self.args[0])

    def of_limit(self, name: str) -> Self:
        """The same error, with the `limit` that it comes from."""
        self.limit = name
        return self


class RetryLater(DyffError):
    """Not possible now; nothing was done, so the same call may be repeated."""

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0) -> None:
        """`retry_after_s`: seconds to wait before a retry is worthwhile."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(RetryLater):
    """A backend does not answer; nothing was done."""


class DiskFull(Unavailable):
    """The disk is full; nothing was done."""


class Locked(Unavailable):
    """Another program holds the lock of a database file; nothing was done."""


class Blocked(Unavailable):
    """A backend does not let us do this, or lacks a part that we need, until someone changes that there or here; nothing was done."""


class Refused(RetryLater):
    """A rule of the cluster, or a program that it asks, refuses this one object; nothing was done."""

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0, passing: bool = False) -> None:
        """`passing`: it is known to end, as a quota that is used up does; otherwise somebody has to change the rule."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.passing = passing


class NotReady(RetryLater):
    """It is still starting."""


class OutcomeUnknown(DyffError):
    """The call may or may not have taken effect; look before you repeat it."""


class BadGateway(DyffError):
    """The server that the call was passed on to broke off."""


class FixRequest(DyffError):
    """The request can never succeed as it is."""


class Problem(msgspec.Struct, frozen=True):
    """One problem of a request.

    `loc`: the path to the field, beginning with `body`, `query`, `path` or `header`. `msg`: what is wrong and how to
    fix it. `type`: a stable identifier for programs, such as `missing` or `value_error`.
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str = "value_error"


class InvalidFields(FixRequest):
    """Some fields are wrong."""

    def __init__(self, *problems: Problem) -> None:
        """`problems`: at least one. Names in their paths are shortened as in messages, since they may come from outside."""
        self.problems = tuple(
            msgspec.structs.replace(each, loc=tuple(suggestions.shown(part) if isinstance(part, str) else part for part in each.loc))
            for each in problems
        )
        super().__init__("; ".join(f"{'.'.join(map(str, each.loc))}: {each.msg}" for each in self.problems))


class Unauthenticated(FixRequest):
    """No valid token."""


class Forbidden(FixRequest):
    """The token does not grant this."""


class QuotaExceeded(FixRequest):
    """The account keeps as much as it may."""

    def __init__(self, used: int, limit: int, explanation: str) -> None:
        """`used` of `limit`, in units that the sentences of `explanation` name, which also say what helps."""
        super().__init__(f"Account quota exceeded: {used}/{limit}. {explanation}")


class NotFound(FixRequest):
    """There is no such thing."""


class Gone(FixRequest):
    """It existed, and was deleted for good."""


class TooLarge(FixRequest):
    """Larger than the stated limit."""


class Conflict(DyffError):
    """The state of the thing forbids it."""


class AlreadyExists(Conflict):
    """That name is taken."""


class StaleVersion(Conflict):
    """It has changed since it was read: read it again, then decide again."""


class WrongStatus(Conflict):
    """Its status forbids this."""


class DigestMismatch(Conflict):
    """The bytes are not the promised ones."""


class Fenced(DyffError):
    """Another owner has taken over: discard everything and join again."""


class Stuck(DyffError):
    """It has work to do and makes no progress: start it again, with fresh clients."""


class WatchExpired(DyffError):
    """The watch cannot continue from that version: list again."""


class OffsetOutOfRange(DyffError):
    """The log does not hold that offset any more, or not yet."""

    def __init__(self, topic: str, partition: int, offset: int, first: int, end: int) -> None:
        """`first` and `end`: the log holds the offsets `first <= offset < end`."""
        super().__init__(f"offset {offset} of {topic}/{partition} is outside {first}..{end}")
        self.topic, self.partition, self.offset, self.first, self.end = topic, partition, offset, first, end


class Fatal(DyffError):
    """It cannot go on without a person."""


class Misconfigured(Fatal):
    """The settings cannot work."""


class LogDiverged(Fatal):
    """The log is not the one that the state was folded from."""


class NewerSchema(Fatal):
    """A newer release wrote it: upgrade this one."""


class OlderSchema(Fatal):
    """What is stored lacks what this release needs: run `dyff migrate pre`."""


class InUse(Fatal):
    """The data directory is in use by another server."""


class Damaged(Fatal):
    """A file is not what was written: the message names it, and how to get it back."""


class DiskFailed(Fatal):
    """The disk failed in a write: what it holds now is not known before it is read again."""


class Incomplete(Fatal):
    """A part of this program that another part needs is missing; the message names the file and what must be in it."""


def details(error: BaseException) -> dict[str, Any]:
    """Fields for one log line about `error`: its class, and its message (the first 300 characters if it is not ours)."""
    fields: dict[str, Any] = {"error": type(error).__name__}
    fields["reason"] = error.message if isinstance(error, DyffError) else str(error)[:300]
    return fields
