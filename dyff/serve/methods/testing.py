"""`dyff method test`: runs the method of a folder in the same isolation as the server, and checks its output by the same functions."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import anyio
import click

from dyff.cli import reporting
from dyff.cli.methods import folder as folders
from dyff.cli.methods.folder import Folder
from dyff.cli.methods.wrong import Wrong
from dyff.kernel import errors
from dyff.serve.methods import confined, inputs
from dyff.workflows import analysis_checks, analysis_results, analysis_tables, endings, hostile_folders, method_describer
from dyff.workflows import confined as readers

SHOWN_ROWS = 5
MAX_REQUEST_BYTES = 2**20
_DESCRIBER = "dyff_describes_a_method"


def test(
    path: Path, given: Mapping[str, str], arguments: Mapping[str, str], output: Path | None, environment: str | None, isolated: bool
) -> Iterator[str]:
    """Run it, and yield the lines of a report.

    Raises:
        Wrong: the folder or an argument is wrong.
        Ended: the method failed, or its output is not what it declares.
    """
    made = folders.read(path)
    if made.derived:
        made = made.completed(described(made, environment, isolated))
    inputs.check(made, given, arguments)
    target = output or path / "output"
    if target.resolve() in (Path.cwd().resolve(), path.resolve()) or (target.exists() and not _is_ours(target)):
        reporting.stop(f"--output {target} has other files: name a folder that is new, or that an earlier test has made", reporting.FAILED)
    with _run(made, given, arguments, environment, isolated) as found:
        yield from _report(made, found, target)


class _Ran:
    """A run whose output fits. `folder`: what it left."""

    def __init__(self, folder: Path, below: str, found: analysis_checks.Found) -> None:
        self.folder, self.below, self.found = folder, below, found


class _run:
    """Run the method. Within it, the output exists."""

    def __init__(
        self, made: Folder, given: Mapping[str, str], arguments: Mapping[str, str], environment: str | None, isolated: bool
    ) -> None:
        self._made, self._given, self._arguments = made, given, arguments
        self._prepared = confined.prepared(environment, isolated=isolated)

    def __enter__(self) -> _Ran:
        try:
            run = self._prepared.__enter__()
        except errors.DyffError as error:
            reporting.stop(error.message, reporting.FAILED)
        try:
            return self._checked(run)
        except BaseException as error:
            self._prepared.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *exception: Any) -> None:
        self._prepared.__exit__(*exception)

    def _checked(self, run: confined.Run) -> _Ran:
        manifest = inputs.arrange(self._made, self._given, self._arguments, run.inside)
        problem = run.start(manifest.limits.timeout_s, lambda line: click.echo(f"  {reporting.harmless(line)}", err=True))
        if problem is not None:
            reporting.stop(f"the run failed: {problem}", reporting.FAILED)
        checks = analysis_checks.Checks(manifest, run.out)
        with readers.Child(analysis_tables.serve) as child:
            try:
                with redirect_stdout(sys.stderr):  # what the step says; standard output has the results
                    found = anyio.run(checks.run, child)
            except endings.Ending as ending:
                reporting.stop(f"the method failed: {ending}", reporting.FAILED)
            except (hostile_folders.Unfit, analysis_results.Invalid) as error:
                reporting.stop(f"the output is not what the method declares: {error}", reporting.FAILED)
        return _Ran(run.out, checks.below, found)


def described(made: Folder, environment: str | None, isolated: bool) -> dict[str, Any]:
    """The request that the decorator of a function makes. The code runs in the environment of analyses, in the sandbox, not here.

    Raises:
        Ended: it cannot.
    """
    import pyarrow as pa

    from dyff.sdk import schemas

    measurement = {"name": "nothing", "level": "Dataset", "schema": schemas.encode(pa.schema([("nothing", pa.int64())]))}
    asking = {
        "name": "describe",
        "scope": "Evaluation",
        "implementation": {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": f"{_DESCRIBER}.describe"}},
        "parameters": [{"keyword": "name"}],
        "output": {"kind": "Measurement", "measurement": measurement},
    }
    with tempfile.TemporaryDirectory(prefix="dyff-method-") as scratch:
        copied = Path(scratch)
        for path in made.files:
            (copied / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made.module / path, copied / path)
        shutil.copyfile(str(method_describer.__file__), copied / f"{_DESCRIBER}.py")
        asked = Folder(made.path, made.file, copied, [*made.files, f"{_DESCRIBER}.py"], asking)
        with _run(asked, {}, {"name": made.name}, environment, isolated) as ran:
            data = hostile_folders.Folder(ran.folder).read(f"{ran.below}/{method_describer.REQUEST}", MAX_REQUEST_BYTES)
    try:
        answer = json.loads(data or b"")
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{made.file}: what the decorator of {made.name} says cannot be read: {error}") from error
    if not isinstance(answer, dict):
        raise Wrong(f"{made.file}: what the decorator of {made.name} says is no method")
    return answer


def _report(made: Folder, ran: _Ran, target: Path) -> Iterator[str]:
    found = ran.found
    if target.exists():
        shutil.rmtree(target)
    folder = hostile_folders.Folder(ran.folder)
    for file in found.files:
        (target / file.path).parent.mkdir(parents=True, exist_ok=True)
        with folder.open(f"{ran.below}/{file.path}") as source, (target / file.path).open("wb") as copy:
            shutil.copyfileobj(source, copy)
    (target / ".dyff-method-test").touch()
    for score in found.results["scores"]:
        yield f"score {score['name']}: {score['quantityString']} ({score['text']})"
    for curve in found.results["curves"]:
        yield f"curve {curve['name']}: {len(next(iter(curve['points'].values())))} points"
    if found.rows is None:
        yield f"page: {target / analysis_checks.PAGE}"
        return
    for row in _first_rows(target):
        yield json.dumps(row, default=str, ensure_ascii=False)
    yield f"output: {target}, {found.rows} rows"


def _first_rows(folder: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import parquet

    left = SHOWN_ROWS
    for path in sorted(folder.rglob("*.parquet")):
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=SHOWN_ROWS):
                for row in batch.slice(0, left).to_pylist():
                    left -= 1
                    yield row
                if not left:
                    return


def _is_ours(target: Path) -> bool:
    return target.is_dir() and ((target / ".dyff-method-test").exists() or not any(target.iterdir()))
