"""Compares one partition's state topic and view with its folded events. Pure: it gets the stored states, then every event."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from dyff.bus import envelope, port
from dyff.consumers.verification import proofs, refolding
from dyff.consumers.verification.proofs import EVENTS, STATE, VIEW, Leaf
from dyff.entities import registry
from dyff.kernel.telemetry import trace_context

NOTHING = "nothing"


class Seen(msgspec.Struct):
    """A stored entity. `whole`: digest of its record; empty for a document. `sound`: see `query.port.Scanned`.

    `verdict`: what is wrong with it, empty if nothing is; None if no event so far results in that version. `expected`: that version
    according to the events.
    """

    leaf: Leaf
    whole: bytes = b""
    sound: bool = True
    verdict: str | None = None
    expected: Leaf | None = None


class Place(msgspec.Struct):
    """State topic or view. `seen`: by ID. `end`: it contains the events below this offset. `due`: by ID, the version at `end`; None if
    the fold has not reached it yet.
    """

    name: str
    seen: dict[str, Seen]
    end: int
    due: dict[str, int] | None = None


class Comparison:
    """Compares the places of one partition with the fold.

    `leaves`: by place, ID and leaf of all entities at the end of the state topic. `unproved`: number of entities whose events are no
    longer in the log.
    """

    def __init__(self, findings: proofs.Findings, states: Place, views: Place, progress: tuple[int, str] | None = None) -> None:
        """`progress`: offset and ID of the event that the state topic's last progress record names; None if there is none."""
        self.leaves: dict[str, list[tuple[str, Leaf]]] = {EVENTS: [], STATE: [], VIEW: []}
        self.unproved = 0
        self._findings, self._states, self._views, self._progress = findings, states, views, progress
        self._made: dict[str, Leaf] = {}

    @property
    def stop(self) -> int:
        """The offset up to which events must be folded: the end, or the newest version that was seen if that is later."""
        versions = [seen.leaf.version + 1 for place in (self._states, self._views) for seen in place.seen.values()]
        return max([self._states.end, *versions])

    def before(self, offset: int, newest: Mapping[bytes, refolding.Made]) -> None:
        """Process the states `newest` after all events below `offset` are folded."""
        if self._views.due is None and offset >= self._views.end:
            self._views.due = {key.decode(): made.version for key, made in newest.items()}
        if self._states.due is None and offset >= self._states.end:
            self._made = {key.decode(): _leaf(made) for key, made in newest.items()}
            self._states.due = {name: leaf.version for name, leaf in self._made.items()}

    def take(self, record: port.Record, made: refolding.Made | None) -> None:
        """Process the state `made` after the event in `record` is folded; None if it left none."""
        if self._progress is not None and self._progress[0] == record.offset and self._progress[1] not in ("", envelope.event_id(record)):
            expected = f"the ID {envelope.event_id(record)}"
            self._findings.differ(STATE, "position", f"event {record.offset}", f"the ID {self._progress[1]}", expected)
        if made is None:
            return
        name = made.message.key.decode()
        for place in (self._states, self._views):
            seen = place.seen.get(name)
            if seen is not None and seen.verdict is None and seen.leaf.version == made.version:
                seen.expected = _leaf(made)
                seen.verdict = _verdict(seen, seen.expected, made.message)

    def finish(self, newest: Mapping[bytes, refolding.Made], *, partial: bool) -> None:
        """Finish after all events up to `stop` are folded. `partial`: the log's beginning is gone, so some entities can lack events."""
        self.before(self.stop, newest)
        self.leaves[EVENTS] = [(name, leaf) for name, leaf in self._made.items() if leaf.kind in registry.BY_KIND]
        folded = {key.decode() for key in newest} if partial else set()
        for place in (self._states, self._views):
            due = place.due or {}
            for name, version in due.items():
                kind = newest[name.encode()].kind
                if name not in place.seen and (place is self._states or kind in registry.BY_KIND):
                    self._findings.differ(place.name, "missing", f"{kind}/{name}", NOTHING, f"version {version}")
            for name, seen in place.seen.items():
                if partial and seen.verdict is None and name not in folded:
                    self._compare_apart(place, name, seen)
                else:
                    self._report(place, name, seen, due.get(name))
                self._add_leaf(place, name, seen)

    def _report(self, place: Place, name: str, seen: Seen, due: int | None) -> None:
        """Report what is wrong with a stored entity."""
        what, expected = seen.verdict, seen.expected.text() if seen.expected else NOTHING
        if what is None and due is None:
            what = "extra"
        elif not what and due is not None and seen.leaf.version < due:
            what, expected = "stale", f"version {due}"
        elif what is None:
            what, expected = "version", f"version {due}"
        if what:
            self._findings.differ(place.name, what, f"{seen.leaf.kind}/{name}", seen.leaf.text(), expected)

    def _compare_apart(self, place: Place, name: str, seen: Seen) -> None:
        """Compare with the other place, since there are no events."""
        if place is self._states:
            self.unproved += 1
            return
        other = self._states.seen.get(name)
        if other is None:
            self._findings.differ(place.name, "extra", f"{seen.leaf.kind}/{name}", seen.leaf.text(), NOTHING)
        elif not seen.sound:
            self._findings.differ(place.name, "index", f"{seen.leaf.kind}/{name}", seen.leaf.text(), other.leaf.text())
        elif other.leaf.version == seen.leaf.version and other.leaf != seen.leaf:
            self._findings.differ(place.name, "bytes", f"{seen.leaf.kind}/{name}", seen.leaf.text(), other.leaf.text())

    def _add_leaf(self, place: Place, name: str, seen: Seen) -> None:
        """Add the leaf of an entity. If it is newer than the end, and right, the leaf at the end is taken from the events."""
        leaf: Leaf | None = seen.leaf
        if seen.verdict == "" and seen.leaf.version >= self._states.end:
            leaf = self._made.get(name)
        if leaf is not None and (leaf.kind in registry.BY_KIND or place is self._views):
            self.leaves[place.name].append((name, leaf))


def whole(value: bytes | None, headers: Sequence[port.Header]) -> bytes:
    """A digest of a state record's value and headers, but for those of traces: a release that knows none may have folded it."""
    return hashlib.sha256(msgspec.msgpack.encode((value, trace_context.compared(headers)))).digest()


def _leaf(made: refolding.Made) -> Leaf:
    value = made.message.value
    return Leaf(made.kind, made.version, proofs.digest(None if value == envelope.FORGOTTEN else value))


def _verdict(seen: Seen, expected: Leaf, message: port.Message) -> str:
    if seen.leaf.digest != expected.digest:
        return "bytes"
    if seen.leaf != expected or (seen.whole and seen.whole != whole(message.value, message.headers)):
        return "headers"
    return "" if seen.sound else "index"
