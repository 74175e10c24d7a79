"""Records the spans of traces. Nothing here waits, and without an exporter a trace costs its IDs and no more.

A span is recorded when it has ended, as one value. So one that began in another process, or in the status of a pod, is recorded in the
same way as one that began here. `trace_export` sends them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from dyff.kernel import clock
from dyff.kernel.telemetry import span_names, trace_context
from dyff.kernel.telemetry.trace_context import Context

MADE_AT_ONCE = 128
"""Contexts of new traces that are made together."""

MAX_LINKS = 128
MAX_EVENTS = 32
MAX_VALUE_CHARS = 1000
"""Limits of one span: further links and events are left out, and longer texts are cut."""

Value = str | int | float | bool | list[str]
Kind = Literal["internal", "server", "producer", "consumer"]


class Event(msgspec.Struct, frozen=True):
    """Something that happened at one moment of a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, Value] = {}


class Span(msgspec.Struct, frozen=True):
    """A span that has ended. `parent`: the ID of the parent span; None if it has none. `error`: what went wrong; None if nothing did.

    Times are nanoseconds since 1970. What is None in `attributes` is left out.
    """

    name: str
    context: Context
    parent: str | None
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value | None]
    links: tuple[Context, ...] = ()
    events: tuple[Event, ...] = ()
    error: str | None = None


class Tracer:
    """Makes contexts and records spans."""

    def __init__(self, put: Callable[[Span], None] | None = None, ratio: float = 1.0, role: str | None = None) -> None:
        """`put`: takes spans; must neither block nor raise. None if nothing is recorded. `ratio`: the share of new traces that is
        recorded, from 0 to 1. `role`: an attribute of all spans; None for none.
        """
        self._put, self._ratio, self._role = put, ratio, role
        self._below = 0 if put is None else round(ratio * 2**64)
        self._unused: list[Context] = []

    @property
    def recording(self) -> bool:
        """Whether anything is recorded."""
        return self._put is not None

    def of(self, role: str) -> Tracer:
        """The same for a role."""
        return Tracer(self._put, self._ratio, role)

    def wants(self, context: Context | None) -> bool:
        """Whether spans of a trace are recorded here."""
        return self._put is not None and context is not None and context.sampled

    def new(self) -> Context:
        """The context of the first span of a new trace. Safe in threads."""
        try:
            return self._unused.pop()
        except IndexError:
            made = self._made()
            context = made.pop()
            self._unused = made
            return context

    def child(self, parent: Context) -> Context:
        """The context of a new span below another; the parent itself if it is not recorded."""
        if self._put is None or not parent.sampled:
            return parent
        return parent.child(f"{random.getrandbits(64) or 1:016x}")

    def entered(self, parent: str | None, state: str | None) -> tuple[Context, str | None]:
        """The context of a request with these headers, which may be missing or wrong, and the ID of the caller's span, if any.

        The context is that of the request's own span, or what is passed on if none is recorded. The caller decides whether it is.
        """
        theirs = None if parent is None else trace_context.parsed(parent, state)
        return (self.new(), None) if theirs is None else (self.child(theirs), theirs.span_id)

    def record(
        self,
        name: str,
        context: Context | None,
        parent: Context | str | None,
        start_ns: int,
        end_ns: int | None = None,
        *,
        kind: Kind = "internal",
        attributes: Mapping[str, Value | None] | None = None,
        links: tuple[Context, ...] = (),
        events: tuple[Event, ...] = (),
        error: str | None = None,
    ) -> None:
        """Record a span that has ended, if its trace is recorded. `context`: None for a trace that is not known. `parent`: the parent
        span or its ID; None for the first span of a trace. `end_ns`: None for now.
        """
        if self._put is None or context is None or not context.sampled:
            return
        end = time.time_ns() if end_ns is None else end_ns
        given = {**(attributes or {}), **({span_names.ROLE: self._role} if self._role else {})}
        parent_id = parent.span_id if isinstance(parent, Context) else parent
        self._put(Span(name, context, parent_id, kind, start_ns, max(start_ns, end), given, links[:MAX_LINKS], events[:MAX_EVENTS], error))

    def _made(self) -> list[Context]:
        """Contexts for `new`. Every request takes one, and made together each costs a third."""
        digits = iter(random.randbytes(24 * MADE_AT_ONCE).hex("-", 8).split("-"))
        if self._below == 0:
            return [Context(f"00-{high}{low}-{span}-00") for high, low, span in zip(digits, digits, digits, strict=True)]
        below = self._below
        return [
            Context(f"00-{high}{low}-{span}-{'01' if int(low, 16) < below else '00'}")
            for high, low, span in zip(digits, digits, digits, strict=True)
        ]


def of_batch(tracer: Tracer, handled: Sequence[Context]) -> Context:
    """The first span of a trace of its own, for a batch. It is recorded because one of `handled` is."""
    made = tracer.new()
    return trace_context.made(made.trace_id, made.span_id, sampled=any(each.sampled for each in handled))


SILENT = Tracer()
"""Records nothing."""


def life(creation: Context | None, entity_id: str) -> Context | None:
    """The span of the whole life of an entity, from its creation until it has ended. It is the parent of what is done for the entity.

    `creation`: the context of the command that created it; None if that had none. The aggregator records the span when the entity ends.
    """
    return None if creation is None else creation.derived("life", entity_id)


def ns(moment: datetime) -> int:
    """Nanoseconds since 1970."""
    return clock.epoch_us(moment) * 1000


def ns_of(text: object) -> int | None:
    """The same of a time as text; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        return ns(clock.parse_iso(text))
    except ValueError:
        return None
