"""The committed state in memory: the event loop reads and watches it and never accesses the disk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

import anyio
import msgspec

from dyff.cluster import port
from dyff.cluster.embedded import codec, store
from dyff.kernel import errors

Labels = Mapping[str, str]


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}


class _Head(msgspec.Struct):
    metadata: _Metadata


_HEAD = msgspec.json.Decoder(_Head)


class Entry(msgspec.Struct, frozen=True):
    """An encoded object, with the labels by which it is selected."""

    body: bytes
    labels: dict[str, str]


class Seen(msgspec.Struct, frozen=True):
    """A change. `previous`: the object before it; None if the labels are the same as before."""

    version: int
    event: store.EventType
    entry: Entry
    previous: Entry | None


class _Type:
    """The objects of one type, and its recent changes in order of their versions."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.objects: dict[str, Entry] = {}
        self.versions: list[int] = []
        self.changes: list[Seen] = []
        self.changed = anyio.Event()


class Memory:
    """The committed state at `version`, and the history after each type's horizon."""

    def __init__(self, snapshot: store.Snapshot) -> None:
        """Start with the content of the file."""
        self.version = snapshot.version
        self._first_horizon = snapshot.horizon
        self._types: dict[str, _Type] = {}
        for kind, name, body in snapshot.objects:
            self._type(kind).objects[name] = _entry(body)
        for change in snapshot.changes:
            self._append(change)

    def apply(self, changes: Iterable[store.Change], horizon: int) -> None:
        """Apply a commit. `horizon`: the history up to it was removed from the file, and is removed here too."""
        touched = {change.kind for change in changes}
        for change in changes:
            kept = self._type(change.kind)
            self._append(change)
            if change.event == "DELETED":
                del kept.objects[change.name]
            else:
                kept.objects[change.name] = kept.changes[-1].entry
            self.version = change.version
        self._forget(horizon)
        for kind in touched:
            self.wake(kind)

    def get(self, kind: str, name: str) -> port.Object | None:
        """A copy of the object; None if it does not exist."""
        entry = self._type(kind).objects.get(name)
        return None if entry is None else codec.decode(entry.body)

    def select(self, kind: str, labels: Labels) -> tuple[port.Object, ...]:
        """Copies of the objects that have all of `labels`, by name."""
        objects = self._type(kind).objects
        names = sorted(name for name, entry in objects.items() if matches(entry, labels))
        return tuple(codec.decode(objects[name].body) for name in names)

    def after(self, kind: str, version: int) -> list[Seen]:
        """The changes of a type after `version`.

        Raises:
            WatchExpired: some of them have been removed, or that version does not belong to this cluster.
        """
        kept = self._type(kind)
        if version < kept.horizon or version > self.version:
            raise errors.WatchExpired(f"version {version} is not within {kept.horizon}..{self.version}: list again")
        return kept.changes[bisect_right(kept.versions, version) :]

    def changed(self, kind: str) -> anyio.Event:
        """An event that is set at the next change of the type."""
        return self._type(kind).changed

    def wake(self, kind: str | None = None) -> None:
        """Wake the tasks that wait for a change of the type; None for all types."""
        for kept in self._types.values() if kind is None else [self._type(kind)]:
            kept.changed.set()
            kept.changed = anyio.Event()

    def _type(self, kind: str) -> _Type:
        if kind not in self._types:
            self._types[kind] = _Type(self._first_horizon)
        return self._types[kind]

    def _append(self, change: store.Change) -> None:
        kept = self._type(change.kind)
        previous = None if change.previous is None else _entry(change.previous)
        kept.versions.append(change.version)
        kept.changes.append(Seen(change.version, change.event, _entry(change.body), previous))

    def _forget(self, horizon: int) -> None:
        for kept in self._types.values():
            gone = bisect_right(kept.versions, horizon)
            if gone:
                # A type that lost nothing can still be watched from before the horizon.
                kept.horizon = kept.versions[gone - 1]
                del kept.versions[:gone], kept.changes[:gone]


def matches(entry: Entry, labels: Labels) -> bool:
    """Whether it has all of `labels`."""
    return labels.items() <= entry.labels.items()


def _entry(body: bytes) -> Entry:
    return Entry(body, _HEAD.decode(body).metadata.labels)
