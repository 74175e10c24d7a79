"""What a verification finds, and the root hash that stands for all entities. Pure.

A root is the SHA-256 of a text. Its first line is `dyff-root 1 EPOCH 0=END,1=END,...`: the form's version, the events' log, and the
offset of each partition below which events count. Then comes a line for each entity, sorted by kind and ID:
`KIND/ID VERSION SHA256`, with the offset of the last event that is folded into it and the digest of its JSON, in hexadecimal, or
`-` where it is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

SHOWN = 100
"""So many differences are reported; the others are counted."""

EVENTS = "events"
STATE = "state topic"
VIEW = "query store"
QUARANTINE = "quarantine"


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """An entity at one version. `version`: the last event's offset. `digest`: SHA-256 of its JSON; empty: forgotten."""

    kind: str
    version: int
    digest: bytes

    def text(self) -> str:
        """For people."""
        return f"version {self.version}, {f'sha256 {self.digest.hex()}' if self.digest else 'forgotten'}"


class Difference(msgspec.Struct, frozen=True):
    """Something that is not as the events say.

    `place`: `state topic`, `query store` or `quarantine`. `what`: `missing`; `extra`: no event made it; `stale`: older than
    what was folded; `bytes`: another body; `headers`: another source, ID or the like; `version`: no event made that version;
    `index`: the body is right, but what queries go by is not; `malformed`: it cannot be read; `position`: how far it claims to be.
    `entity`: kind and ID. `there` and `expected`: for people.
    """

    place: str
    what: str
    entity: str
    there: str
    expected: str

    def text(self) -> str:
        """One line."""
        return f"{self.place}: {self.what}: {self.entity}: there is {self.there}; there should be {self.expected}"


class Report(msgspec.Struct, frozen=True):
    """The outcome. `ends`: by partition, the offset below which events count. `events`: so many were folded. `entities`: came of them.

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
    """Collects differences and notes, the former bounded."""

    def __init__(self) -> None:
        self.count = 0
        self.differences: list[Difference] = []
        self.notes: list[str] = []

    def differ(self, place: str, what: str, entity: str, there: str, expected: str) -> None:
        """One more."""
        self.count += 1
        if len(self.differences) < SHOWN:
            self.differences.append(Difference(place, what, entity, there, expected))


def digest(body: bytes | None) -> bytes:
    """Of a body; empty: it is forgotten."""
    return b"" if body is None else hashlib.sha256(body).digest()


def root(epoch: str, ends: Mapping[int, int], leaves: Iterable[tuple[str, Leaf]]) -> str:
    """The root of entities, given as ID and leaf in any order, in hexadecimal."""
    places = ",".join(f"{partition}={end}" for partition, end in sorted(ends.items()))
    whole = hashlib.sha256(f"dyff-root 1 {epoch} {places}\n".encode())
    for kind, entity_id, leaf in sorted(((leaf.kind, name, leaf) for name, leaf in leaves), key=lambda each: each[:2]):
        whole.update(f"{kind}/{entity_id} {leaf.version} {leaf.digest.hex() or '-'}\n".encode())
    return whole.hexdigest()
