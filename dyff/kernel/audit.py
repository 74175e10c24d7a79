"""Entries of the audit log: who did what to which entity, with what outcome. No entry has a secret, or anything of a request's body."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import TypeVar

import msgspec

from dyff.kernel import lines

AUDIT, ACCESS = "audit", "access"
OK, REFUSED, REJECTED, FAILED, UNKNOWN, ABORTED = "ok", "refused", "rejected", "failed", "unknown", "aborted"
OUTCOMES = (OK, REFUSED, REJECTED, FAILED, UNKNOWN, ABORTED)
"""`refused`: the caller may not. `rejected`: the request cannot be served as it is. `failed`: our fault, or a backend's; nothing was done.
`unknown`: it may have been done. `aborted`: the caller left, or the server stopped, before there was an answer.
"""


class Entry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One entry. What is None is not written.

    `stream`: `audit`, or `access` for a request that only reads. `time`: of its end. `writer`, `seq`: the process that wrote it, and the
    number of the entry among all of that process, from 1; a missing number is a lost entry. `action`: what was done, such as
    `evaluations.create`, `operator.token.create`. `account`, `account_name`, `subject`, `token`: who did it: the account, or another
    subject such as a session, and the ID of the token. `claimed`: what a token that was refused says about itself, unchecked. `user`: for
    a command on the machine, its user. `kind`, `entity`, `target`: what it was done to, and the token that was made or revoked.
    `status`: of HTTP. `error`: its class. `request`, `trace`: the caller's `X-Request-Id`, and its `traceparent` or the one that
    the request got here. `client`: its address.
    `bytes_in`, `bytes_out`: of the bodies. `count`: of requests that this entry stands for. `details`: of a command.
    """

    stream: str
    time: str
    action: str
    outcome: str
    writer: str = ""
    seq: int = 0
    account: str | None = None
    account_name: str | None = None
    subject: str | None = None
    token: str | None = None
    claimed: dict[str, str] | None = None
    user: str | None = None
    method: str | None = None
    route: str | None = None
    kind: str | None = None
    entity: str | None = None
    target: str | None = None
    status: int | None = None
    error: str | None = None
    request: str | None = None
    trace: str | None = None
    client: str | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    duration_ms: float | None = None
    count: int | None = None
    details: dict[str, str] | None = None


class Varying(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields of an entry that differ between two requests of one account to one route. See `Entry`."""

    time: str
    seq: int = 0
    entity: str | None = None
    target: str | None = None
    request: str | None = None
    trace: str | None = None
    client: str | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    duration_ms: float | None = None


Noted = TypeVar("Noted")
Made = Entry | tuple[Varying, bytes]
"""An entry, or what varies of one, and the rest of it as `fixed_part` returns it, which can be used for many."""

_encode = msgspec.json.Encoder().encode
_VARYING = frozenset(Varying.__struct_fields__)


def fixed_part(entry: Entry) -> bytes:
    """The fields of an entry that are not among `Varying`, as the inside of a JSON object."""
    return _encode({name: value for name, value in msgspec.to_builtins(entry).items() if name not in _VARYING})[1:-1]


class Trail:
    """Numbers the entries of this process and passes them on. Any thread may use it."""

    def __init__(self, put: Callable[[lines.Line], None], writer: str, *, reads: bool) -> None:
        """`put`: takes lines, also such that are made later; must neither block nor fail. `writer`: names this process. `reads`: keep
        requests that only read.
        """
        self._put, self._writer, self.reads = put, writer, reads
        self._end = b',"writer":%b}\n' % _encode(writer)
        self._numbers = itertools.count(1)

    def note(self, make: Callable[[Noted], Made], noted: Noted) -> None:
        """Add an entry that `make` makes of `noted` when it is written: in another thread, so `noted` must not change any more."""
        self._put(functools.partial(self._made, next(self._numbers), make, noted))

    def record(self, entry: Entry) -> None:
        """Add an entry."""
        self._put(self.line(entry))

    def line(self, entry: Entry) -> bytes:
        """The next entry as a line."""
        return self._numbered(next(self._numbers), entry)

    def _made(self, number: int, make: Callable[[Noted], Made], noted: Noted) -> bytes:
        made = make(noted)
        if isinstance(made, Entry):
            return self._numbered(number, made)
        varying, fixed = made
        varying.seq = number
        return b"%b,%b%b" % (_encode(varying)[:-1], fixed, self._end)

    def _numbered(self, number: int, entry: Entry) -> bytes:
        entry.writer, entry.seq = self._writer, number
        return _encode(entry) + b"\n"
