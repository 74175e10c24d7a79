"""Checks the raw outputs of an evaluation, writes them again in order, and publishes them with a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio.to_thread
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from dyff.adapters import fitting
from dyff.adapters.fitting import INDEX, REPLICATION
from dyff.entities import specs
from dyff.kernel import errors
from dyff.objects import hashing, layout, port
from dyff.objects import manifests as tree_manifests
from dyff.objects.manifests import Artifact
from dyff.workflows import endings, failures, items, kept, manifests, outputs, releases, space, trees, verification
from dyff.workflows.progress import Progress

_EXCHANGES_FILE_BYTES = 8 * 2**20
"""Requests and answers may not be compressible, so a file takes as much memory twice: in the writer, and as it is stored."""


class Verifier:
    """One verification. A subclass publishes what there is of a run that has failed (`publish_incomplete_output`)."""

    manifest_path = layout.ARTIFACTS

    def __init__(
        self, store: port.Objects, reader: trees.Reader, spec: specs.Evaluation, expected: items.Indices, progress: Progress
    ) -> None:
        """`expected`: the indices of the dataset's rows.

        Raises:
            Misconfigured: the manifest or the environment is wrong.
        """
        self._store, self._reader, self._spec, self._expected, self._progress = store, reader, spec, expected, progress
        self._replications = manifests.replication_ids(spec)
        self._schema = fitting.completed(fitting.declared(spec.interface.output_schema.arrow_schema))
        self._root = layout.root("outputs", spec.id)
        self._prefix = f"{layout.evaluation_verified(spec.id)}{manifests.attempt()}/"

    async def verify(self) -> None:
        """Check the outputs that were published before, or verify and publish them.

        Raises:
            Ending: the outputs are wrong; the files of this attempt were deleted.
        """
        published = await tree_manifests.read(self._store, self._root, self.manifest_path)
        if published is not None:
            await self._confirm(published.artifacts)
            endings.say(f"verified before: {len(published.artifacts)} files are whole")
            return
        await self._store.delete_tree(self._prefix)  # files of a container that was killed
        try:
            artifacts = await self._write_verified()
        except endings.Ending:
            await self._store.delete_tree(self._prefix)
            raise
        manifest = self._manifest(artifacts)
        if not await space.when_there_is(lambda: tree_manifests.write(self._store, self._root, manifest, self.manifest_path)):
            await self._store.delete_tree(self._prefix)
            first = await tree_manifests.read(self._store, self._root, self.manifest_path)
            await self._confirm(first.artifacts if first else ())
            endings.say("another attempt has verified the outputs meanwhile")
            return
        endings.say(f"verified: {self._progress.done} outputs in {len(artifacts)} files")

    def _manifest(self, artifacts: Sequence[Artifact]) -> tree_manifests.Manifest:
        return tree_manifests.Manifest(artifacts=tuple(artifacts), source=releases.source())

    async def _raw(self) -> list[trees.File]:
        """The files of raw outputs, of all attempts."""
        return trees.stored(await trees.objects(self._store, layout.evaluation_raw(self._spec.id)))

    async def _write_verified(self) -> list[Artifact]:
        """Check all raw outputs, and write them again in order."""
        dataset = await self._open(await self._raw())
        rows_per_file = await anyio.to_thread.run_sync(verification.rows_per_file, dataset)
        errors_found, writer = _Errors(await self._open_errors()), _Tables(self._schema)
        findings, artifacts = verification.Findings(), list[Artifact]()
        indices_at_once = max(1, rows_per_file // verification.RANGES_PER_FILE // len(self._replications))
        for part in verification.ranges(self._expected, indices_at_once):
            table = await self._examine(dataset, part, findings)
            self._progress.done += table.num_rows
            await anyio.to_thread.run_sync(errors_found.add, part, table)
            while self._code(findings) == 0 and table.num_rows:
                room = rows_per_file - writer.rows
                await anyio.to_thread.run_sync(writer.add, table.slice(0, room))
                table = table.slice(room)
                if writer.rows == rows_per_file:
                    artifacts.append(await self._write(len(artifacts), writer))
            del table  # free it before the next one is read
        self._judge(findings)
        if writer.rows or not artifacts:
            artifacts.append(await self._write(len(artifacts), writer))
        listed = await anyio.to_thread.run_sync(errors_found.file)
        if listed is not None:
            artifacts.append(await self._put(layout.ERRORS, "errors.parquet", listed))
        return [*artifacts, *await self._write_exchanges()]

    async def _write_exchanges(self) -> list[Artifact]:
        """Write the exchanges that all attempts kept again, in larger files. They are no reason to fail: a damaged file is left out."""
        writer, artifacts = _Tables(kept.SCHEMA), list[Artifact]()

        async def write() -> None:
            name = f"part-{len(artifacts):05}.parquet"
            data = await anyio.to_thread.run_sync(writer.file)
            artifacts.append(await self._put(layout.EXCHANGES + name, f"exchanges/{name}", data))

        for file in trees.stored(await trees.objects(self._store, layout.evaluation_exchanges(self._spec.id))):
            try:
                table = await anyio.to_thread.run_sync(self._exchanges_of, file)
            except (errors.Damaged, *trees.READ_ERRORS) as error:
                endings.say(f"{file.key} is left out: {error}")
                continue
            await anyio.to_thread.run_sync(writer.add, table)
            if writer.size_bytes >= _EXCHANGES_FILE_BYTES:
                await write()
        if writer.rows:
            await write()
        return artifacts

    def _exchanges_of(self, file: trees.File) -> pa.Table:
        return self._reader.open([file], kept.SCHEMA).to_table(use_threads=False)

    async def _lost(self, artifact: Artifact) -> str | None:
        """What happened to a published file since; None: nothing."""
        try:
            info = await self._store.head(artifact.key)
        except errors.Damaged:
            return "was changed"
        if info is None:
            return "is missing"
        return None if artifact.can_be(info) else "was changed"

    async def _confirm(self, published: Sequence[Artifact]) -> None:
        """Check that the listed files exist, are unchanged, and contain exactly the requested outputs."""
        for artifact in published:
            what = await self._lost(artifact)
            if what is not None:
                raise endings.Ending(
                    endings.WRONG_OUTPUT, f"The outputs were verified before, but {artifact.key} {what}. Create the evaluation again."
                )
        dataset = await self._open(trees.listed(each for each in published if not each.path.startswith(".dyff/")))
        findings = verification.Findings()
        for part in verification.ranges(self._expected, 2**16):
            table = await self._examine(dataset, part, findings, [INDEX, REPLICATION])
            self._progress.done += table.num_rows
        self._judge(findings)

    async def _open(self, files: Sequence[trees.File]) -> pa.dataset.Dataset:
        try:
            dataset = await anyio.to_thread.run_sync(self._reader.open, files, self._schema)
            await anyio.to_thread.run_sync(verification.check_schema, dataset, self._schema)
        except trees.READ_ERRORS as error:
            raise endings.Ending(endings.WRONG_OUTPUT, f"An output file cannot be read: {error}") from error
        return dataset

    async def _open_errors(self) -> pa.dataset.Dataset | None:
        """The errors that all attempts recorded for items without responses; None if there are none."""
        found = trees.stored(await trees.objects(self._store, layout.evaluation_errors(self._spec.id)))
        return await anyio.to_thread.run_sync(self._reader.open, found, failures.SCHEMA) if found else None

    async def _examine(
        self, dataset: pa.dataset.Dataset, part: verification.Range, findings: verification.Findings, columns: list[str] | None = None
    ) -> pa.Table:
        work = partial(verification.examine, dataset, part, self._replications, findings, columns)
        try:
            table = await anyio.to_thread.run_sync(work)
        except trees.READ_ERRORS as error:
            raise endings.Ending(endings.WRONG_OUTPUT, f"An output file cannot be read: {error}") from error
        return await anyio.to_thread.run_sync(self._wanted, part, table)

    def _wanted(self, part: verification.Range, table: pa.Table) -> pa.Table:
        """The rows of a range to publish. `table`: all that are stored."""
        return table if self._spec.client.duplicate_output_policy == "Ignore" else verification.deduplicated(table)

    async def _write(self, number: int, writer: _Tables) -> Artifact:
        name = f"part-{number:05}.parquet"
        return await self._put(name, name, await anyio.to_thread.run_sync(writer.file))

    async def _put(self, path: str, name: str, data: bytes) -> Artifact:
        found = await anyio.to_thread.run_sync(hashing.of, data)
        info = await outputs.persist(self._store, self._prefix + name, data, found.md5)
        return Artifact(path=path, key=info.key, size=info.size_bytes, digest=found.digest, kind="parquet")

    def _code(self, findings: verification.Findings) -> int:
        return findings.code(self._spec.client.missing_output_policy, self._spec.client.duplicate_output_policy)

    def _judge(self, findings: verification.Findings) -> None:
        code = self._code(findings)
        if code:
            raise endings.Ending(code, f"The outputs are not what was asked for: {findings.sentence()}. Create the evaluation again.")
        endings.say(findings.sentence())


class _Tables:
    """Writes Parquet files, one after the other, each from several tables. Blocking."""

    def __init__(self, schema: pa.Schema) -> None:
        """`schema`: that of all tables."""
        self.rows = self.size_bytes = 0
        self._schema = schema
        self._open()

    def _open(self) -> None:
        self._sink = pa.BufferOutputStream()
        self._writer = pa.parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def add(self, table: pa.Table) -> None:
        """Write more rows to the file."""
        self._writer.write_table(table.cast(self._schema))
        self.rows += table.num_rows
        self.size_bytes += table.nbytes

    def file(self) -> bytes:
        """Return the file with the rows that were added since the last one, and begin the next."""
        self._writer.close()
        data = self._sink.getvalue().to_pybytes()
        self._open()
        self.rows = self.size_bytes = 0
        return data


class _Errors:
    """Collects the file of items without responses."""

    def __init__(self, recorded: pa.dataset.Dataset | None) -> None:
        """`recorded`: the errors that all attempts recorded; None if there are none."""
        self._recorded, self._tables = recorded, _Tables(failures.SCHEMA)

    def add(self, part: verification.Range, table: pa.Table) -> None:
        """Add the errors for a range of items, whose outputs are `table`. Blocking."""
        if self._recorded is not None:
            self._tables.add(verification.unanswered(self._recorded.to_table(filter=part.rows, use_threads=False), table))

    def file(self) -> bytes | None:
        """Return the file as Parquet, or None if all items have responses. Blocking."""
        return self._tables.file() if self._tables.rows else None
