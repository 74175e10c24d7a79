"""The findings of a verification, and the root hash over all entities. Pure.

A root is the SHA-256 of a text. Its first line is `dyff-root 1 EPOCH 0=END,1=END,...`: the version of the format, the epoch of the
events, and for each partition the offset below which events count. Then follows a line for each entity, sorted by kind and ID:
`KIND/ID VERSION SHA256`, with the offset of the last event that is folded into it, and the hexadecimal digest of its JSON, or `-`
if it is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

SHOWN = 100
"""Maximum number of differences that are reported; the others are only counted."""

EVENTS = "events"
STATE = "state topic"
VIEW = "query store"
QUARANTINE = "quarantine"


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """An entity at one version. `version`: the last event's offset. `digest`: SHA-256 of its JSON; empty if it is forgotten."""

    kind: str
    version: int
    digest: bytes

    def text(self) -> str:
        """A description for people."""
        return f"version {self.version}, {f'sha256 {self.digest.hex()}' if self.digest else 'forgotten'}"


class Difference(msgspec.Struct, frozen=True):
    """A difference between stored data and the events.

    `place`: `state topic`, `query store` or `quarantine`. `what`: `missing`; `extra`: no event results in it; `stale`: older than
    the folded version; `bytes`: another body; `headers`: another source, ID or similar; `version`: no event results in that version;
    `index`: the body is right, but the fields used by queries are not; `malformed`: it cannot be read; `position`: the position that
    it claims is wrong. `entity`: kind and ID. `there`, `expected`: the stored and the expected data, for people.
    """

    place: str
    what: str
    entity: str
    there: str
    expected: str

    def text(self) -> str:
        """A description in one line."""
        return f"{self.place}: {self.what}: {self.entity}: there is {self.there}; there should be {self.expected}"


class Report(msgspec.Struct, frozen=True):
    """The outcome. `ends`: by partition, the offset below which events count. `events`: number of folded events. `entities`: number
    of resulting entities.

    `roots`: of `events`, `state topic` and `query store`. `differences`: the first `SHOWN` of `count`. `notes`: what could not be
    verified, or was behind.
    """

    epoch: str
    ends: dict[int, int]
    events: int
    entities: int
    roots: dict[str, str]
    count: int
    differences: list[Difference]
    notes: list[str]


class Findings:
    """Collects differences and notes. The number of stored differences is bounded."""

    def __init__(self) -> None:
        self.count = 0
        self.differences: list[Difference] = []
        self.notes: list[str] = []

    def differ(self, place: str, what: str, entity: str, there: str, expected: str) -> None:
        """Add a difference."""
        self.count += 1
        if len(self.differences) < SHOWN:
            self.differences.append(Difference(place, what, entity, there, expected))


def digest(body: bytes | None) -> bytes:
    """The digest of a body; empty for None, a forgotten entity."""
    return b"" if body is None else hashlib.sha256(body).digest()


def root(epoch: str, ends: Mapping[int, int], leaves: Iterable[tuple[str, Leaf]]) -> str:
    """The hexadecimal root of entities, which are passed as ID and leaf, in any order."""
    places = ",".join(f"{partition}={end}" for partition, end in sorted(ends.items()))
    whole = hashlib.sha256(f"dyff-root 1 {epoch} {places}\n".encode())
    for kind, entity_id, leaf in sorted(((leaf.kind, name, leaf) for name, leaf in leaves), key=lambda each: each[:2]):
        whole.update(f"{kind}/{entity_id} {leaf.version} {leaf.digest.hex() or '-'}\n".encode())
    return whole.hexdigest()
