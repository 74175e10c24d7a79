"""What log lines are about: the trace, the entity and the account of the work that the current task does.

A request, the folding of a command, a reconciliation each set it once; a line reads it when it is written. So nothing is paid for the
fields of lines that are never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from dyff.kernel.telemetry import span_names, trace_context


class About(msgspec.Struct):
    """What a task works on. Each is None if it is not known (yet). `client`: the address of who asked for it."""

    trace: trace_context.Context | None = None
    entity: str | None = None
    account: str | None = None
    client: str | None = None

    def fields(self) -> dict[str, str]:
        """The fields of a log line."""
        found = {} if self.client is None else {span_names.LOG_CLIENT: self.client}
        if self.trace is not None:
            found[span_names.LOG_TRACE] = self.trace.trace_id
        if self.entity is not None:
            found[span_names.LOG_ENTITY] = self.entity
        if self.account is not None:
            found[span_names.LOG_ACCOUNT] = self.account
        return found


_NOW: ContextVar[About | None] = ContextVar("dyff_about", default=None)


current: Callable[[], About | None] = _NOW.get
"""What the current task works on; None if that is nothing in particular."""

begin: Callable[[About], object] = _NOW.set
"""Say what the current task works on until it ends. Later changes of the same `About` count, too."""


@contextmanager
def during(about: About) -> Iterator[About]:
    """The same for a block. Tasks that are started in it inherit it."""
    token = _NOW.set(about)
    try:
        yield about
    finally:
        _NOW.reset(token)


def of_object(obj: Mapping[str, Any] | None) -> About:
    """About an object of the cluster, by its labels and annotations."""
    labels = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return About(trace_context.of_object(obj), labels.get("dyff.io/id"), labels.get("dyff.io/account"))


def of_record(key: bytes, headers: tuple[trace_context.Header, ...], account: str | None = None) -> About:
    """About the entity of a record of the log. `account`: None if it is not known."""
    known = dict(headers)
    trace = trace_context.of_headers(known, trace_context.CREATION, trace_context.CREATION_STATE) or trace_context.of_headers(known)
    return About(trace, key.decode("utf-8", "replace"), account)


def merge(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields to a line, as a processor of structlog. What the line itself says counts."""
    about = _NOW.get()
    if about is not None:
        for name, value in about.fields().items():
            fields.setdefault(name, value)
    return fields
