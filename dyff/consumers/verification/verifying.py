"""The verification: folds all events again and compares the result, byte for byte, with state topic and query store.

The servers need not be paused. First the ends of the events are chosen; state topic and view are read once they have reached these
ends. Everything that they contain then, also newer versions, must equal the result of the fold at the same version. So one pass over
the events is enough, and the roots are those at the chosen ends.

Memory holds a digest for each entity and, for one partition at a time, the newest states, but never the log.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.consumers.verification import comparing, proofs, refolding
from dyff.consumers.verification.proofs import EVENTS, QUARANTINE, STATE, VIEW, Leaf
from dyff.entities import registry
from dyff.kernel import errors
from dyff.kernel.positions import Epochs
from dyff.query import port as query_port

log = structlog.get_logger()

PATIENCE_S = 3.0
"""A view that makes no progress for that long counts as behind."""

_LOOK_S = 0.05


async def verify(
    history: port.History, query: query_port.QueryScanner, *, patience_s: float = PATIENCE_S, known: set[str] | None = None
) -> proofs.Report:
    """Verify state topic and view. `patience_s`: how long the view can make no progress before it counts as behind. `known`: gets the IDs
    of all entities that the log has.

    Raises:
        NotFound: the log does not exist.
        NewerSchema: a newer release wrote some of the data.
        Unavailable: an engine does not answer.
    """
    return await _Verification(history, query, patience_s, set() if known is None else known).run()


class _States(msgspec.Struct):
    """The state topic of a partition. `seen`: by ID, the last record, which is the one that compaction keeps. `reached`: the events
    below this offset are contained. `progress`: see `Comparison`. `first`: the lowest event that is still in the log and that a state
    contains as its last, with the version of the fold there.
    """

    seen: dict[str, comparing.Seen] = {}
    reached: int = 0
    progress: tuple[int, str] | None = None
    first: tuple[int, int] | None = None


class _Verification:
    def __init__(self, history: port.History, query: query_port.QueryScanner, patience_s: float, known: set[str]) -> None:
        self._known = known
        self._history, self._query, self._patience_s = history, query, patience_s
        self._findings = proofs.Findings()
        self._leaves: dict[str, list[tuple[str, Leaf]]] = {EVENTS: [], STATE: [], VIEW: []}
        self._ends: dict[int, int] = {}
        self._events = 0
        self._epochs = Epochs("")

    async def run(self) -> proofs.Report:
        self._epochs = (await self._history.topic(topics.EVENTS)).epochs
        held = await self._history.ranges(topics.EVENTS)
        try:
            reached = await self._settled({partition: each.end for partition, each in held.items()})
        except errors.OlderSchema as error:  # an upgrade: the log can be proved before a server replaces the view
            self._findings.notes.append(f"the {VIEW} was not compared: {error.message}")
            reached = query_port.Reached()
            del self._leaves[VIEW]
        states = {partition: await self._states(partition, held[partition].first) for partition in sorted(held)}
        views = await self._views(len(held)) if VIEW in self._leaves else {partition: {} for partition in held}
        quarantined = await self._quarantined()
        for partition in sorted(held):
            seen = reached.events.get(partition, 0)
            await self._partition(partition, held[partition], states.pop(partition), views.pop(partition), seen, quarantined)
        roots = {name: proofs.root(self._epochs.now, self._ends, leaves) for name, leaves in self._leaves.items()}
        found, entities = self._findings, len(self._leaves[EVENTS])
        return proofs.Report(self._epochs.now, self._ends, self._events, entities, roots, found.count, found.differences, found.notes)

    async def _partition(
        self,
        partition: int,
        held: port.Range,
        states: _States,
        views: dict[str, comparing.Seen],
        view_reached: int,
        quarantined: Mapping[str, bytes],
    ) -> None:
        end = self._ends[partition] = self._end(STATE, partition, held.end, states.reached)
        view_end = self._end(VIEW, partition, held.end, view_reached) if VIEW in self._leaves else 0
        at_state, at_view = comparing.Place(STATE, states.seen, end), comparing.Place(VIEW, views, min(end, view_end))
        comparison = comparing.Comparison(self._findings, at_state, at_view, states.progress)
        now = (await self._history.ranges(topics.EVENTS))[partition]
        for place, seen in ((STATE, states.reached), (VIEW, view_reached)):
            if seen > now.end:
                there = f"something folded from event {seen - 1}"
                expected = f"nothing beyond event {now.end - 1}: the log lost its end"
                self._findings.differ(place, "position", f"partition {partition}", there, expected)
        if view_reached > states.reached:
            there, expected = f"nothing beyond event {states.reached - 1}", f"what the query store has seen of event {view_reached - 1}"
            self._findings.differ(STATE, "position", f"partition {partition}", there, f"{expected}: it lost its end")
        self._known.update(states.seen)
        # A log without its beginning may also lack the marker; what was folded first after that shows the version.
        version = states.first[1] if held.first > 0 and states.first is not None else 1
        again = refolding.Refolding(partition, self._epochs, version)
        async for record in refolding.records(self._history, topics.EVENTS, partition, held.first, min(comparison.stop, now.end)):
            comparison.before(record.offset, again.newest)
            comparison.take(record, again.fold(record))
            self._events += record.offset < end
        comparison.finish(again.newest, partial=held.first > 0)
        self._known.update(key.decode("utf-8", "replace") for key in again.newest)
        for name, leaves in self._leaves.items():
            leaves += comparison.leaves[name]
        self._compare_quarantine(partition, range(held.first, end), again.quarantined, quarantined)
        if held.first > 0:
            self._findings.notes.append(
                f"{topics.EVENTS}/{partition} begins at offset {held.first}: what was created before cannot be folded again;"
                f" {comparison.unproved} entities were only compared with each other, and the roots need not be the same"
            )

    async def _settled(self, ends: Mapping[int, int]) -> query_port.Reached:
        """The position of the view, once it has seen all events below `ends`, or makes no progress."""
        epoch = (await self._history.topic(topics.STATE)).epoch
        last, moved_at = query_port.Reached(), anyio.current_time()
        while True:
            reached = await self._query.reached()
            if reached.epoch not in (None, epoch):
                self._findings.differ(VIEW, "position", "all of it", f"a view of log {reached.epoch}", f"one of log {epoch}")
                return query_port.Reached()
            if all(reached.events.get(partition, 0) >= end for partition, end in ends.items()):
                return reached
            if reached != last:
                last, moved_at = reached, anyio.current_time()
            elif anyio.current_time() - moved_at > self._patience_s:
                return reached
            await anyio.sleep(_LOOK_S)

    def _end(self, place: str, partition: int, end: int, reached: int) -> int:
        if reached < end:
            self._findings.notes.append(f"the {place} is behind: it has seen {reached} of {end} events of partition {partition}")
        return min(end, reached)

    async def _states(self, partition: int, held_from: int) -> _States:
        """`held_from`: the first event that the log still has."""
        found = _States()
        held = (await self._history.ranges(topics.STATE))[partition]
        async for record in refolding.records(self._history, topics.STATE, partition, held.first, held.end):
            self._take_state(found, record, held_from)
        return found

    def _take_state(self, found: _States, record: port.Record, held_from: int) -> None:
        name = record.key.decode("utf-8", "replace")
        try:
            heading = envelope.heading(record)
        except ValueError:
            found.seen[name] = comparing.Seen(Leaf("?", -1, proofs.digest(record.value)), verdict="malformed")
            return
        source = heading.source
        if source.partition != record.partition or not self._epochs.has(source):
            there = f"offset {record.offset}, folded from {source.text()}"
            expected = f"something folded from {self._epochs.at(record.partition, source.offset)}:{record.partition}"
            self._findings.differ(STATE, "position", name, there, expected)
            return
        found.reached = max(found.reached, source.offset + 1)
        if source.offset >= held_from and (found.first is None or source.offset < found.first[0]):
            found.first = source.offset, heading.fold_version
        if heading.kind is not None:
            leaf = Leaf(heading.kind, source.offset, proofs.digest(envelope.body(record)))
            found.seen[name] = comparing.Seen(leaf, comparing.whole(record.value, record.headers))
        elif found.progress is None or source.offset >= found.progress[0]:
            found.progress = source.offset, heading.event_id

    async def _views(self, partitions: int) -> dict[int, dict[str, comparing.Seen]]:
        """The entities of the view, by partition and ID."""
        while True:
            try:
                found, doubles = await self._scanned(partitions)
            except errors.Fenced as error:  # by a replay, which ends some time
                log.info("scan-begins-again", reason=error.message)
            else:
                for leaf, name, kind in doubles:
                    self._findings.differ(VIEW, "extra", f"{leaf.kind}/{name}", leaf.text(), f"only {kind}/{name}")
                return found

    async def _scanned(self, partitions: int) -> tuple[dict[int, dict[str, comparing.Seen]], list[tuple[Leaf, str, str]]]:
        """The entities of the view; the newer version of an entity that was changed during the scan. Also duplicates, which exist as two
        kinds: the leaf, the ID, and the other kind.
        """
        doubles: list[tuple[Leaf, str, str]] = []
        found: dict[int, dict[str, comparing.Seen]] = {partition: {} for partition in range(partitions)}
        async for batch in self._query.scan():
            for each in batch:
                document = each.document
                row = registry.BY_PLURAL.get(document.collection)
                leaf = Leaf(row.name if row else document.collection, document.version, proofs.digest(document.body))
                there = found[topics.partition_of(document.id.encode(), partitions)]
                known = there.get(document.id)
                if known is not None and known.leaf.kind != leaf.kind:
                    doubles.append((leaf, document.id, known.leaf.kind))
                elif known is None or leaf.version > known.leaf.version:
                    there[document.id] = comparing.Seen(leaf, sound=each.sound)
        return found, doubles

    async def _quarantined(self) -> dict[str, bytes]:
        """The values of quarantined events, by origin."""
        found: dict[str, bytes] = {}
        for partition, held in (await self._history.ranges(topics.QUARANTINE)).items():
            if held.first > 0:
                self._findings.notes.append(f"{topics.QUARANTINE}/{partition} begins at offset {held.first}: some of it may be missing")
            async for record in refolding.records(self._history, topics.QUARANTINE, partition, held.first, held.end):
                origin = dict(record.headers).get("dyff-quarantine-origin", b"").decode("utf-8", "replace")
                found[origin] = record.value or b""
        return found

    def _compare_quarantine(self, partition: int, proved: range, folded: Mapping[int, bytes], there: Mapping[str, bytes]) -> None:
        """Check that exactly the events that cannot be folded are in quarantine. `proved`: the offsets that were folded again."""
        for offset, value in folded.items():
            origin = f"{topics.EVENTS}:{partition}:{offset}"
            if offset not in proved or there.get(origin) == value:
                continue
            what, found = ("bytes", "other bytes") if origin in there else ("missing", comparing.NOTHING)
            self._findings.differ(QUARANTINE, what, origin, found, "the event as it was")
        for origin in there:
            place, _, digits = origin.rpartition(":")
            if place == f"{topics.EVENTS}:{partition}" and digits.isdecimal() and int(digits) in proved and int(digits) not in folded:
                self._findings.differ(QUARANTINE, "extra", origin, "an event that can be folded", comparing.NOTHING)
