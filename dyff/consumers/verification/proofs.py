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
OBJECTS = "object store"
ACCOUNTS = "accounts"
CLUSTER = "cluster"
LOG = "log"


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """An entity at one version. `version`: the last event's offset. `digest`: SHA-256 of its JSON; empty if it is forgotten."""

    kind: str
    version: int
    digest: bytes

    def text(self) -> str:
        """A description for people."""
        return f"version {self.version}, {f'sha256 {self.digest.hex()}' if self.digest else 'forgotten'}"


class Difference(msgspec.Struct, frozen=True):
    """A difference between stored data and the events, or between a stored file, its manifest and its entity.

    `place`: `state topic`, `query store`, `quarantine`, `object store`, `accounts`, `cluster` or `log`. `what`: `missing`; `extra`: no
    event results in it; `stale`: older than the folded version; `bytes`: another body; `headers`: another source, ID or similar;
    `version`: no event results in it; `index`: the body is right, but the fields used by queries are not; `malformed`: it cannot be read;
    `position`: the position that it claims is wrong; `size`: a file of another size; `manifest`: the manifest is not as the entity
    declares; `older`: the place is of an earlier time than the others. `entity`: kind and ID, and for files the path. `there`,
    `expected`: the stored and the expected data, for people. `fix`: what to do; empty if docs/verify.md says it for all differences of
    that place.
    """

    place: str
    what: str
    entity: str
    there: str
    expected: str
    fix: str = ""

    def text(self) -> str:
        """A description in one line."""
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.place}: {self.what}: {self.entity}: there is {self.there}; there should be {self.expected}{fix}"


class Stored(msgspec.Struct, frozen=True):
    """What was compared of the object store: manifests, the files that they list, and their bytes."""

    manifests: int = 0
    files: int = 0
    size_bytes: int = 0

    def plus(self, *, manifests: int = 0, files: int = 0, size_bytes: int = 0) -> Stored:
        """The sums."""
        return Stored(self.manifests + manifests, self.files + files, self.size_bytes + size_bytes)


class Report(msgspec.Struct, frozen=True):
    """The outcome. `ends`: by partition, the offset below which events count. `events`: number of folded events. `entities`: number
    of resulting entities.

    `roots`: of `events`, `state topic` and `query store`, unless that is of another release. `differences`: the first `SHOWN` of
    `count`. `notes`: what could not be verified, or was behind. `objects`: None if the object store was not verified.
    """

    epoch: str
    ends: dict[int, int]
    events: int
    entities: int
    roots: dict[str, str]
    count: int
    differences: list[Difference]
    notes: list[str]
    objects: Stored | None = None


class Findings:
    """Collects differences and notes. The number of stored differences is bounded."""

    def __init__(self, before: Report | None = None) -> None:
        """`before`: a report to which findings are added; None to begin without any."""
        self.count = before.count if before else 0
        self.differences: list[Difference] = list(before.differences) if before else []
        self.notes: list[str] = list(before.notes) if before else []

    def differ(self, place: str, what: str, entity: str, there: str, expected: str, fix: str = "") -> None:
        """Add a difference."""
        self.count += 1
        if len(self.differences) < SHOWN:
            self.differences.append(Difference(place, what, entity, there, expected, fix))


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
