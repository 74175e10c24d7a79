"""Checks what the program of an analysis has left, against what its method declares. `dyff method test` uses the same checks."""

from __future__ import annotations

import codecs as text_codecs
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from dyff.adapters import fitting
from dyff.entities import analysis_data, codecs
from dyff.kernel import errors
from dyff.workflows import (
    analysis_methods,
    analysis_outcomes,
    analysis_results,
    analysis_tables,
    confined,
    endings,
    hostile_folders,
    manifests,
)

MAX_RESULT_BYTES = 2**20
"""Of outcome.json, scores.json, curves.json and estimates.json, each."""
MAX_PAGE_BYTES = 64 * 2**20
"""Of the page of a safety case."""
PAGE = "index.html"
_CHUNK_BYTES = 2**20
_NAMED = 5


class Found(msgspec.Struct, frozen=True):
    """What fits. `files`: those of the output, by paths below `Checks.below`. `schema`: base64; None of a safety case. `rows`: of all
    files; None of a safety case. `results`: `scores` and `curves`, as entities.
    """

    outcome: analysis_outcomes.Outcome
    files: list[hostile_folders.File]
    schema: str | None
    rows: int | None
    results: codecs.Json


class Checks:
    """The checks of one output. `below`: the folder of the output, relative to the source."""

    def __init__(self, manifest: manifests.Analysis, source: Path) -> None:
        """`source`: the folder that the program has filled.

        Raises:
            Misconfigured: the manifest is wrong.
        """
        self._spec, self._limits = manifest.spec, manifest.limits
        self._method = analysis_methods.method(self._spec)
        self._scores = analysis_results.declared(self._method)
        self._source, self._folder = source, hostile_folders.Folder(source)
        self.below = f"root/{self._spec.id}"

    async def run(self, child: confined.Child) -> Found:
        """Check everything. `child`: reads tables.

        Raises:
            Ending: the program failed.
            Unfit, Invalid: its output is not what the method declares.
        """
        outcome = self._outcome()
        if outcome.status == "Failed":
            raise analysis_outcomes.failure(outcome)
        files = await anyio.to_thread.run_sync(
            self._folder.files, self.below, self._limits.output_bytes, "the setting analyses.output_bytes"
        )
        found = {name: self._folder.read(f"{self.below}/.dyff/{name}.json", MAX_RESULT_BYTES) for name in ("scores", "curves", "estimates")}
        results: codecs.Json = {
            "scores": analysis_results.scores(self._spec, self._scores, found["scores"], found["estimates"]),
            "curves": analysis_results.curves(self._spec, self._scores, found["curves"]),
        }
        visible = [file for file in files if not any(part.startswith(".") for part in file.path.split("/"))]
        if self._spec.kind == analysis_data.TABLE:
            schema, rows = await self._check_table(visible, child)
            return Found(outcome, _tables(visible), schema, rows, results)
        await anyio.to_thread.run_sync(self._check_page, visible)
        return Found(outcome, visible, None, None, results)

    def _outcome(self) -> analysis_outcomes.Outcome:
        try:
            return analysis_outcomes.read(self._folder.read("outcome.json", MAX_RESULT_BYTES))
        except ValueError as error:
            why = f"It is not known how the code of the method ended: {error}. Do not write outside of its own output folder."
            raise hostile_folders.Unfit(why) from error

    async def _check_table(self, files: list[hostile_folders.File], child: confined.Child) -> tuple[str, int]:
        """Check the files of a measurement; returns the schema that the method declares, in base64, and the number of rows."""
        declared, level = self._measurement()
        tables = _tables(files)
        for file in [file for file in files if file not in tables][:_NAMED]:
            endings.say(f"{hostile_folders.shown(file.path)} is left out: a measurement has only Parquet files")
        if not tables:
            raise hostile_folders.Unfit("The code of the method output no Parquet file. Yield at least one record batch; it can be empty.")
        needed = analysis_tables.required(fitting.declared(declared), level)
        request = analysis_tables.Request(str(self._source), self.below, [file.path for file in tables], declared, needed)
        try:
            said = await anyio.to_thread.run_sync(child.ask, msgspec.json.encode(request), abandon_on_cancel=True)
        except confined.Died as error:
            bounds = f"{confined.MAX_CPU_S} s and {confined.MAX_MEMORY_BYTES} bytes of memory"
            raise hostile_folders.Unfit(f"The output files cannot be read within {bounds}. Write fewer or smaller rows.") from error
        answer = msgspec.json.decode(said, type=analysis_tables.Answer)
        if answer.problem is not None:
            raise hostile_folders.Unfit(answer.problem)
        endings.say(f"the output has {answer.rows} rows")
        return declared, answer.rows

    def _measurement(self) -> tuple[str, str]:
        """The schema, in base64, and the level that the method declares."""
        try:
            measurement: dict[str, Any] = self._method["output"]["measurement"]
            return str(measurement["schema"]["arrowSchema"]), str(measurement["level"])
        except (KeyError, TypeError) as error:
            raise errors.Misconfigured(f"the method {self._spec.method} declares no measurement as its output") from error

    def _check_page(self, files: list[hostile_folders.File]) -> None:
        size = next((file.size for file in files if file.path == PAGE), None)
        if not size:
            raise hostile_folders.Unfit(f"The run of the notebook made no {PAGE}, or an empty one. Do not remove it.")
        if size > MAX_PAGE_BYTES:
            raise hostile_folders.Unfit(f"{PAGE} has {size} bytes, more than {MAX_PAGE_BYTES}. Show less in the notebook.")
        decoder = text_codecs.getincrementaldecoder("utf-8")()
        try:
            with self._folder.open(f"{self.below}/{PAGE}") as file:
                while piece := file.read(_CHUNK_BYTES):
                    decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise hostile_folders.Unfit(f"{PAGE} is not UTF-8 text ({error.reason}). Write it in UTF-8.") from error


def _tables(files: list[hostile_folders.File]) -> list[hostile_folders.File]:
    return [file for file in files if file.path.endswith(".parquet")]
