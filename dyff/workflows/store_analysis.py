"""Stores what the program of an analysis has output, if it is what its method declares.

Run it as `python -m dyff.workflows store-analysis --manifest FILE [--source DIR]`. Environment: `DYFF_STORAGE_URL`, `DYFF_ATTEMPT`. An
untrusted program has filled DIR, so see `dyff.workflows.hostile_folders`:

    outcome.json               how the program ended (`dyff.workflows.analysis_outcomes`)
    logs.txt                   what it printed
    root/<ID>/                 the output: Parquet files of a measurement, `index.html` and more of a safety case
    root/<ID>/.dyff/*.json     scores and curves, as the published AnalysisContext writes them

Below `<measurements|safetycases>/<ID>/` it stores, in this order, the log (`.dyff/logs.txt`, also if the program failed), the files (in
`data/<attempt>/`), the results (`.dyff/results.json`: scores, curves, provenance), and the manifest (`.dyff/artifacts.json`).
Hidden files are not stored. If an earlier attempt has stored the manifest, its files are checked instead.
"""

from __future__ import annotations

import codecs as text_codecs
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from dyff.adapters import fitting
from dyff.entities import analysis_data, codecs
from dyff.kernel import errors
from dyff.objects import layout, port
from dyff.objects.manifests import Artifact
from dyff.workflows import (
    analysis_inputs,
    analysis_methods,
    analysis_outcomes,
    analysis_results,
    analysis_tables,
    confined,
    endings,
    hostile_folders,
    manifests,
    outputs,
    provenance,
)
from dyff.workflows.analysis_outputs import Output

SOURCE = Path("/dyff/out")
MAX_RESULT_BYTES = 2**20
"""Of outcome.json, scores.json and curves.json, each."""
MAX_PAGE_BYTES = 64 * 2**20
"""Of the page of a safety case."""

_PAGE = "index.html"
_LOG_NOTICE_BYTES = 2**12
_CHUNK_BYTES = 2**20
_NAMED = 5


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
        self._method = analysis_methods.method(self._spec)
        self._scores = analysis_results.declared(self._method)
        self._source, self._folder = source, hostile_folders.Folder(source)
        self._below = f"root/{self._spec.id}"
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
        outcome = self._outcome()
        if outcome.status == "Failed":
            raise analysis_outcomes.failure(outcome)
        files = await anyio.to_thread.run_sync(
            self._folder.files, self._below, self._limits.output_bytes, "the setting analyses.output_bytes"
        )
        found = {name: self._folder.read(f"{self._below}/.dyff/{name}.json", MAX_RESULT_BYTES) for name in ("scores", "curves")}
        results: codecs.Json = {
            "scores": analysis_results.scores(self._spec, self._scores, found["scores"]),
            "curves": analysis_results.curves(self._spec, self._scores, found["curves"]),
        }
        visible = [file for file in files if not any(part.startswith(".") for part in file.path.split("/"))]
        schema = await self._check_table(visible) if self._spec.kind == analysis_data.TABLE else None
        if schema is None:
            await anyio.to_thread.run_sync(self._check_page, visible)
        else:
            visible = _tables(visible)
        await self._output.clear()
        artifacts = await self._output.put(self._folder, self._below, visible)
        results["provenance"] = await self._provenance(outcome, artifacts)
        if await self._output.publish(artifacts, schema, results):
            size_bytes = sum(each.size for each in artifacts)
            counts = f"{len(results['scores'])} scores, {len(results['curves'])} curves"
            endings.say(f"stored: {len(artifacts)} files, {size_bytes} bytes, {counts}")
        else:
            endings.say("another attempt has stored its output meanwhile, which counts")

    def _outcome(self) -> analysis_outcomes.Outcome:
        try:
            return analysis_outcomes.read(self._folder.read("outcome.json", MAX_RESULT_BYTES))
        except ValueError as error:
            why = f"It is not known how the code of the method ended: {error}. Do not write outside of its own output folder."
            raise hostile_folders.Unfit(why) from error

    async def _check_table(self, files: list[hostile_folders.File]) -> str:
        """Check the files of a measurement; returns the schema that the method declares, in base64."""
        declared, level = self._measurement()
        tables = _tables(files)
        for file in [file for file in files if file not in tables][:_NAMED]:
            endings.say(f"{hostile_folders.shown(file.path)} is left out: a measurement has only Parquet files")
        if not tables:
            raise hostile_folders.Unfit("The code of the method output no Parquet file. Yield at least one record batch; it can be empty.")
        needed = analysis_tables.required(fitting.declared(declared), level)
        request = analysis_tables.Request(str(self._source), self._below, [file.path for file in tables], declared, needed)
        try:
            said = await anyio.to_thread.run_sync(self._child.ask, msgspec.json.encode(request), abandon_on_cancel=True)
        except confined.Died as error:
            bounds = f"{confined.MAX_CPU_S} s and {confined.MAX_MEMORY_BYTES} bytes of memory"
            raise hostile_folders.Unfit(f"The output files cannot be read within {bounds}. Write fewer or smaller rows.") from error
        answer = msgspec.json.decode(said, type=analysis_tables.Answer)
        if answer.problem is not None:
            raise hostile_folders.Unfit(answer.problem)
        endings.say(f"the output has {answer.rows} rows")
        return declared

    def _measurement(self) -> tuple[str, str]:
        """The schema, in base64, and the level that the method declares."""
        try:
            measurement: dict[str, Any] = self._method["output"]["measurement"]
            return str(measurement["schema"]["arrowSchema"]), str(measurement["level"])
        except (KeyError, TypeError) as error:
            raise errors.Misconfigured(f"the method {self._spec.method} declares no measurement as its output") from error

    def _check_page(self, files: list[hostile_folders.File]) -> None:
        size = next((file.size for file in files if file.path == _PAGE), None)
        if not size:
            raise hostile_folders.Unfit(f"The run of the notebook made no {_PAGE}, or an empty one. Do not remove it.")
        if size > MAX_PAGE_BYTES:
            raise hostile_folders.Unfit(f"{_PAGE} has {size} bytes, more than {MAX_PAGE_BYTES}. Show less in the notebook.")
        decoder = text_codecs.getincrementaldecoder("utf-8")()
        try:
            with self._folder.open(f"{self._below}/{_PAGE}") as file:
                while piece := file.read(_CHUNK_BYTES):
                    decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise hostile_folders.Unfit(f"{_PAGE} is not UTF-8 text ({error.reason}). Write it in UTF-8.") from error

    async def _provenance(self, outcome: analysis_outcomes.Outcome, artifacts: list[Artifact]) -> codecs.Json:
        sources = [(source, await analysis_inputs.tree(self._store, source)) for source in analysis_inputs.sources(self._spec)]
        return provenance.of(self._spec, outcome, sources, artifacts)


def _tables(files: list[hostile_folders.File]) -> list[hostile_folders.File]:
    return [file for file in files if file.path.endswith(".parquet")]
