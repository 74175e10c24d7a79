"""Stores what the program of an analysis has output, if it is what its method declares.

Run it as `python -m dyff.workflows store-analysis --manifest FILE [--source DIR]`. Environment: `DYFF_STORAGE_URL`, `DYFF_ATTEMPT`. An
untrusted program has filled DIR, so see `dyff.workflows.hostile_folders`:

    outcome.json               how the program ended (`dyff.workflows.analysis_outcomes`)
    logs.txt                   what it printed
    root/<ID>/                 the output: Parquet files of a measurement, `index.html` and more of a safety case
    root/<ID>/.dyff/*.json     scores and curves, as the published AnalysisContext and `dyff.stats.score` write them

Below `<measurements|safetycases>/<ID>/` it stores, in this order, the log (`.dyff/logs.txt`, also if the program failed), the files (in
`data/<attempt>/`), the results (`.dyff/results.json`: scores, curves, provenance), and the manifest (`.dyff/artifacts.json`).
Hidden files are not stored. If an earlier attempt has stored the manifest, its files are checked instead.
"""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from dyff.entities import analysis_data, codecs
from dyff.objects import layout, port
from dyff.objects.manifests import Artifact
from dyff.workflows import (
    analysis_checks,
    analysis_inputs,
    analysis_outcomes,
    analysis_results,
    analysis_tables,
    confined,
    endings,
    hostile_folders,
    manifests,
    outputs,
    provenance,
    provided,
    releases,
)
from dyff.workflows.analysis_outputs import Output

SOURCE = Path(analysis_data.OUT_DIR)

_LOG_NOTICE_BYTES = 2**12


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code."""
    with confined.Child(analysis_tables.serve) as child:
        return endings.run(lambda: _step(arguments, child))


async def _step(arguments: list[str], child: confined.Child) -> None:
    parser = endings.Arguments(prog="store-analysis")
    parser.add_argument("--manifest", required=True, type=Path, help="the manifest file, JSON")
    parser.add_argument("--source", default=SOURCE, type=Path, help="the folder that the program has filled")
    given = parser.parse_args(arguments)
    manifest = manifests.load(given.manifest, manifests.Analysis)
    await _Storing(manifests.store(), manifest, given.source, child).run()


class _Storing:
    """One attempt to store an output."""

    def __init__(self, store: port.Objects, manifest: manifests.Analysis, source: Path, child: confined.Child) -> None:
        """`source`: the folder that the program has filled. `child`: reads tables.

        Raises:
            Misconfigured: the manifest or the environment is wrong.
        """
        self._store, self._spec, self._limits, self._child = store, manifest.spec, manifest.limits, child
        self._folder = hostile_folders.Folder(source)
        self._checks = analysis_checks.Checks(manifest, source)
        self._collection = analysis_data.COLLECTIONS[self._spec.kind]
        self._output = Output(store, self._collection, self._spec.id, manifests.attempt())

    async def run(self) -> None:
        """Store the log, and then the output.

        Raises:
            Ending: the program failed, or its output is not what the method declares.
        """
        if (found := await self._output.published()) is not None:
            endings.say(f"stored before: {len(found.artifacts)} files are whole")
            return
        await self._store_log()
        try:
            await self._store_output()
        except* (hostile_folders.Unfit, analysis_results.Invalid) as group:
            await self._output.clear()
            reason = analysis_outcomes.shown(str(endings.first(group)))
            raise endings.Ending(endings.OUTPUT_INVALID, reason) from group

    async def _store_log(self) -> None:
        """Store what the program printed. A log that cannot be read is no reason to lose the output."""
        most = self._limits.log_bytes + _LOG_NOTICE_BYTES
        try:
            with self._folder.open("logs.txt") as file:
                data = await anyio.to_thread.run_sync(file.read, most)
        except (OSError, hostile_folders.Unfit) as error:
            endings.say(f"there is no log: {analysis_outcomes.shown(str(error))}")
            return
        await outputs.persist(self._store, layout.logs(self._collection, self._spec.id), data)

    async def _store_output(self) -> None:
        found = await self._checks.run(self._child)
        await self._output.clear()
        artifacts = await self._output.put(self._folder, self._checks.below, found.files)
        results: codecs.Json = {**found.results, "provenance": await self._provenance(found.outcome, artifacts)}
        if await self._output.publish(artifacts, found.schema, results):
            size_bytes = sum(each.size for each in artifacts)
            counts = f"{len(results['scores'])} scores, {len(results['curves'])} curves"
            endings.say(f"stored: {len(artifacts)} files, {size_bytes} bytes, {counts}")
        else:
            endings.say("another attempt has stored its output meanwhile, which counts")

    async def _provenance(self, outcome: analysis_outcomes.Outcome, artifacts: list[Artifact]) -> codecs.Json:
        sources = [(source, await analysis_inputs.tree(self._store, source)) for source in analysis_inputs.sources(self._spec)]
        provided_package = await anyio.to_thread.run_sync(provided.described, provided.SOURCE)
        return provenance.of(self._spec, outcome, sources, artifacts, [provided_package], releases.platform())
