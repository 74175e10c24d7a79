"""The W3C trace context: which trace something belongs to, and which span caused it. Pure, and without any library.

It travels in the headers of requests, in the headers of the log's records, in annotations and in variables of steps. What is not
valid counts as absent: a trace is never a reason to refuse anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from dyff.kernel.telemetry import span_names

PARENT = "traceparent"
STATE = "tracestate"
CREATION = "dyff-trace"
CREATION_STATE = "dyff-trace-state"
"""Headers. Those of the creation are in states only: they keep the trace of the command that created the entity."""

HEADERS = frozenset({PARENT, STATE, CREATION, CREATION_STATE})
"""Headers of the log's records that no verification compares."""

MAX_STATE_CHARS = 512
"""A longer `tracestate` is dropped. The specification asks for at least as much."""

MAX_PARENT_CHARS = 512
"""A longer `traceparent` is not read. The current version of the specification has 55 characters."""

_MAX_MEMBERS = 32
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?", re.ASCII)
_KEY = r"[a-z0-9][a-z0-9_\-*/@]{0,255}"
_MEMBER = re.compile(rf"{_KEY}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", re.ASCII)
_LENGTH = 55


class Context(msgspec.Struct, frozen=True, gc=False):
    """A span as the parent of others. `parent`: a valid `traceparent` of 55 characters. `state`: a valid `tracestate`; empty for none."""

    parent: str
    state: str = ""

    @property
    def trace_id(self) -> str:
        """The ID of the trace, 32 hexadecimal digits."""
        return self.parent[3:35]

    @property
    def span_id(self) -> str:
        """The ID of the span, 16 hexadecimal digits."""
        return self.parent[36:52]

    @property
    def sampled(self) -> bool:
        """Whether the spans of the trace are recorded."""
        return int(self.parent[53:55], 16) & 1 == 1

    def child(self, span_id: str) -> Context:
        """The context of another span of the same trace."""
        return Context(f"{self.parent[:36]}{span_id}{self.parent[52:]}", self.state)

    def derived(self, *parts: str) -> Context:
        """The context of a span whose ID follows from its trace and from what it is, so that every process knows it.

        So a span can have children before it has ended, in other processes than the one that reports its end.
        """
        text = "\0".join((self.trace_id, *parts)).encode()
        return self.child(hashlib.blake2b(text, digest_size=8, person=b"dyff-span").hexdigest())


def made(trace_id: str, span_id: str, *, sampled: bool, state: str = "") -> Context:
    """A context of IDs in hexadecimal digits."""
    return Context(f"00-{trace_id}-{span_id}-0{1 if sampled else 0}", state)


def parsed(parent: str | None, state: str | None = None) -> Context | None:
    """The context of two headers; None if `parent` is missing or wrong. A wrong `state` is dropped alone.

    A newer version of `traceparent` is read as the specification demands: as this one, without what follows.
    """
    if parent is None or len(parent) > MAX_PARENT_CHARS:
        return None
    text = parent.strip(" \t")
    if not _PARENT.fullmatch(text) or (len(text) > _LENGTH and text.startswith("00")):
        return None
    text = text if text.startswith("00") else f"00{text[2:53]}0{int(text[53:55], 16) & 1}"
    return Context(text, _valid_state(state) if state else "")


def _valid_state(text: str) -> str:
    """The members of a `tracestate` with commas; empty if it is wrong or too large."""
    if len(text) > MAX_STATE_CHARS:
        return ""
    members = [each for part in text.split(",") if (each := part.strip(" \t"))]
    keys = {each.partition("=")[0] for each in members}
    if len(members) > _MAX_MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)


Header = tuple[str, bytes]


def to_headers(context: Context | None, parent: str = PARENT, state: str = STATE) -> tuple[Header, ...]:
    """The headers of a record of the log; none for None. `parent`, `state`: their names."""
    if context is None:
        return ()
    if not context.state:
        return ((parent, context.parent.encode()),)
    return (parent, context.parent.encode()), (state, context.state.encode())


def of_headers(headers: Mapping[str, bytes], parent: str = PARENT, state: str = STATE) -> Context | None:
    """The context in the headers of a record of the log; None if it has none. Never raises: others may have written the record."""
    found = headers.get(parent)
    if found is None:
        return None
    kept = headers.get(state)
    return parsed(found.decode("latin-1"), None if kept is None else kept.decode("latin-1"))


def compared(headers: Iterable[Header]) -> tuple[Header, ...]:
    """The headers of a record without those of traces."""
    return tuple(each for each in headers if each[0] not in HEADERS)


def to_annotations(context: Context | None) -> dict[str, str]:
    """The annotations of an object in the cluster; none for None."""
    if context is None:
        return {}
    return {span_names.ANNOTATION: context.parent, **({span_names.STATE_ANNOTATION: context.state} if context.state else {})}


def of_object(obj: Mapping[str, object] | None) -> Context | None:
    """The context in the annotations of an object of the cluster; None if it has none."""
    metadata = (obj or {}).get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    parent, state = found.get(span_names.ANNOTATION), found.get(span_names.STATE_ANNOTATION)
    return parsed(parent, state if isinstance(state, str) else None) if isinstance(parent, str) else None


def to_variables(context: Context | None) -> dict[str, str]:
    """The variables of a step; none for None."""
    if context is None:
        return {}
    return {span_names.VARIABLE: context.parent, **({span_names.STATE_VARIABLE: context.state} if context.state else {})}
