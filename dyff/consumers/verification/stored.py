"""Verifies the object store: every file against the manifest that lists it, and every manifest against its entity.

Files are read from their first byte to their last, whatever the store knows about them, because damage leaves what a store
remembers unchanged. Memory holds one manifest at a time, a piece of some files, and the IDs of the entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import structlog

from dyff.consumers.verification import proofs
from dyff.consumers.verification.proofs import OBJECTS
from dyff.entities import codecs, kind, registry, statuses
from dyff.kernel import backoff, errors
from dyff.objects import hashing, layout, manifests, port
from dyff.query import port as query_port

log = structlog.get_logger()

_FILES_AT_ONCE = 4
_TRIES = 4
"""How often a file is read if the store does not answer."""

_SHOWN_CHARS = 200
"""Of a value that differs."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
NO_SHA256 = "{} files have no SHA-256 in their manifest, because an older release wrote it: they were compared by size and MD5 only"


async def verify(query: query_port.QueryScanner, store: port.Objects, report: proofs.Report) -> proofs.Report:
    """Verify the stored files of all entities of the query store. Returns `report` with the result added to it.

    Raises:
        Unavailable: the query store or the object store does not answer.
        Misconfigured: the object store refuses access.
    """
    work = _Verification(store, report)
    while True:
        try:
            async for batch in query.scan():
                for each in batch:
                    await work.document(each.document)
        except errors.Fenced as error:  # by a replay, which ends some time
            log.info("scan-begins-again", reason=error.message)
        else:
            return work.report()


class _Verification:
    """`seen`: the IDs of the entities that were verified."""

    def __init__(self, store: port.Objects, before: proofs.Report) -> None:
        self._store, self._before = store, before
        self._findings = proofs.Findings(before)
        self._seen: set[str] = set()
        self._stored = proofs.Stored()
        self._unproved = 0

    def report(self) -> proofs.Report:
        """The report with everything that was found."""
        if self._unproved:
            self._findings.notes.append(NO_SHA256.format(self._unproved))
        found = self._findings
        return msgspec.structs.replace(
            self._before, count=found.count, differences=found.differences, notes=found.notes, objects=self._stored
        )

    async def document(self, document: query_port.Document) -> None:
        """Verify what is stored of one entity. What cannot be decoded is a difference that the query store's verification reports."""
        row = registry.BY_PLURAL.get(document.collection)
        if row is None or row.download is None or document.body is None or document.id in self._seen:
            return
        try:
            entity = codecs.decode_object(document.body)
            if entity["status"] == statuses.DELETED:
                return  # its files are removed some time
            one = _Entity(row, document.id, entity, row.upload.files(entity) if row.upload else [])
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        await self._entity(one)
        self._seen.add(document.id)

    async def _entity(self, one: _Entity) -> None:
        root = layout.root(one.row.collection, one.id)
        try:
            manifest = await manifests.read(self._store, root)
        except errors.Misconfigured as error:
            self._differ(one, "malformed", layout.ARTIFACTS, error.message, "a manifest")
            return
        except errors.Damaged:
            self._differ(one, "damaged", layout.ARTIFACTS, "one that was changed on the disk", "the manifest as it was stored")
            return
        if manifest is None:
            if one.needs_manifest:
                self._differ(one, "missing", layout.ARTIFACTS, "nothing", f"the manifest of a {one.row.name} that is {one.status}")
            return
        self._stored = self._stored.plus(manifests=1)
        for what, path, there, expected in (*_undeclared(one, manifest), *_foreign(one, manifest)):
            self._differ(one, what, path, there, expected)
        await self._results(one)
        await self._files(one, manifest)

    async def _results(self, one: _Entity) -> None:
        """Compare what a run computed, as the entity has it, with what the run stored."""
        results = one.row.run.results if one.row.run is not None else None
        if results is None or one.status != one.row.success:
            return
        key = layout.results(layout.root(one.row.collection, one.id))
        path = key.removeprefix(layout.root(one.row.collection, one.id))
        try:
            stored = codecs.decode_object(await self._store.get(key))
        except errors.NotFound:
            self._differ(one, "missing", path, f"no object {key}", f"the results of a {one.row.name} that is {one.status}")
            return
        except errors.Damaged:
            self._differ(one, "damaged", path, f"{key}, which was changed on the disk", "the results as they were stored")
            return
        except (ValueError, TypeError) as error:
            self._differ(one, "malformed", path, str(error), "the results as JSON")
            return
        for name in results.fields:
            there, expected = _without_nulls(stored.get(name)), _without_nulls(one.entity.get(name))
            if there != expected:
                self._differ(one, "results", path, f"{name} {_cut(there)}", f"{_cut(expected)}, as the entity has it")

    async def _files(self, one: _Entity, manifest: manifests.Manifest) -> None:
        by_key: dict[str, list[manifests.Artifact]] = {}
        for each in manifest.artifacts:
            by_key.setdefault(each.key, []).append(each)
        left = iter(by_key.items())

        async def read() -> None:
            for key, several in left:
                try:
                    found = await self._hashed(key)
                except errors.Damaged:
                    found = None
                    for artifact in several:
                        self._differ(one, "damaged", artifact.path, f"{key}, which was changed on the disk", f"{artifact.size} bytes")
                else:
                    for artifact in several:
                        self._compare(one, artifact, found)
                self._stored = self._stored.plus(files=1, size_bytes=found.size_bytes if found else 0)

        try:
            async with anyio.create_task_group() as group:
                for _ in range(_FILES_AT_ONCE):
                    group.start_soon(read)
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _hashed(self, key: str) -> hashing.Hash | None:
        """The digests of an object; None if it does not exist.

        Raises:
            Damaged: the store itself knows that it is not what was stored.
            Unavailable: it could not be read.
        """
        pauses = backoff.delays(0.5)
        for left in reversed(range(_TRIES)):
            found = hashing.Hash()
            try:
                async for piece in self._store.stream(key):
                    await anyio.to_thread.run_sync(found.update, piece)
                return found
            except (errors.NotFound, errors.InvalidFields):
                return None
            except errors.RetryLater as error:
                if not left:
                    message = f"{key} cannot be read: {error.message}. Check the disk or the store, then verify again."
                    raise errors.Unavailable(message) from error
            await anyio.sleep(next(pauses))
        raise AssertionError("the loop ends with a return or an error")

    def _compare(self, one: _Entity, artifact: manifests.Artifact, found: hashing.Hash | None) -> None:
        if found is None:
            self._differ(one, "missing", artifact.path, f"no object {artifact.key}", f"one with {artifact.size} bytes")
        elif found.size_bytes != artifact.size:
            self._differ(one, "size", artifact.path, f"{artifact.key} with {found.size_bytes} bytes", f"{artifact.size} bytes")
        elif not artifact.matches(found):
            there = f"{artifact.key} with {_text(found.digest, artifact.digest)}"
            self._differ(one, "bytes", artifact.path, there, _text(artifact.digest, artifact.digest))
        if "sha256" not in artifact.digest:
            self._unproved += 1

    def _differ(self, one: _Entity, what: str, path: str, there: str, expected: str) -> None:
        self._findings.differ(OBJECTS, what, f"{one.row.name}/{one.id}: {path}", there, expected, one.fix)


class _Entity(msgspec.Struct, frozen=True):
    """An entity that can have files. `files`: those that it declares; empty if a run stores them."""

    row: kind.Kind
    id: str
    entity: codecs.Json
    files: list[kind.DeclaredFile]

    @property
    def status(self) -> str:
        return str(self.entity["status"])

    @property
    def needs_manifest(self) -> bool:
        """Whether it has succeeded and therefore has files."""
        return self.status == self.row.success and bool(self.files or self.row.runs(self.entity))

    @property
    def fix(self) -> str:
        """What to do about a difference."""
        again = "create it and upload its files again" if self.files else "create it again"
        return f"restore it from a backup of the object store, or delete the {self.row.name} and {again}"


_Difference = tuple[str, str, str, str]
"""What differs, the path, what is there, and what is expected."""


def _undeclared(one: _Entity, manifest: manifests.Manifest) -> Iterator[_Difference]:
    """The differences between a manifest and what the entity declares."""
    if one.files:
        listed = {each.path: each for each in manifest.artifacts}
        for wanted in one.files:
            found = listed.pop(wanted.path, None)
            if found is None:
                yield "manifest", wanted.path, "no such file in the manifest", "the file that the entity declares"
            elif found.digest.get("md5") != wanted.md5 or wanted.size not in (None, found.size):
                there = f"{found.size} bytes and md5 {found.digest.get('md5')} in the manifest"
                yield "manifest", wanted.path, there, f"{wanted.size or found.size} bytes and md5 {wanted.md5}, as declared"
        for path in listed:
            yield "manifest", path, "a file in the manifest", "nothing: the entity does not declare it"
    source, declared = manifest.source, one.entity.get("source")
    if source is not None and isinstance(declared, dict):
        expected = {"kind": declared.get("kind"), "commit": _commit(declared) or source.get("commit")}
        if {name: source.get(name) for name in expected} != expected:
            yield "manifest", layout.ARTIFACTS, f"the source {source}", f"the source {expected}"


def _foreign(one: _Entity, manifest: manifests.Manifest) -> Iterator[_Difference]:
    """The files of a manifest that are not among those of the entity."""
    trees = layout.trees(one.row.collections, one.id)
    for each in manifest.artifacts:
        if not each.key.startswith(trees):
            yield "manifest", each.path, f"the key {each.key}", f"a key below {' or '.join(trees)}"


def _commit(source: codecs.Json) -> str | None:
    """The commit that the source names; None if it names a branch or nothing."""
    for part in source.values():
        revision = part.get("revision") if isinstance(part, dict) else None
        if isinstance(revision, str) and _COMMIT.fullmatch(revision):
            return revision
    return None


def _without_nulls(value: Any) -> Any:
    """The value without fields that are null: the fold of an edit leaves those out."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _cut(value: object) -> str:
    """The beginning of a value as JSON."""
    text = codecs.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... (SHA-256 {hashing.of(text.encode()).sha256})"


def _text(digest: dict[str, str], names: dict[str, str]) -> str:
    return " and ".join(f"{name} {digest[name]}" for name in sorted(names) if name in digest)
