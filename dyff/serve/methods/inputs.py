"""Prepares the folder that the runner reads, from folders of this machine, as `fetch-analysis` does it from the store."""

from __future__ import annotations

import base64
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dyff.cli.methods.folder import Folder
from dyff.cli.methods.wrong import Wrong
from dyff.entities import analysis_data, specs
from dyff.entities.kinds import method as methods
from dyff.kernel import analysis_settings, suggestions
from dyff.workflows import fetch_analysis, manifests, provided

ACCOUNT = "local"
_NOW = "2020-01-01T00:00:00Z"
_SYSTEM = {
    "spec": {
        "id": uuid.UUID(int=0, version=4).hex,
        "account": ACCOUNT,
        "kind": "Model",
        "name": "the system under test",
        "status": "Ready",
        "creationTime": _NOW,
        "source": {"kind": "Mock"},
        "artifact": {"kind": "Mock"},
        "resources": {"storage": "0"},
    },
    "documentation": {"title": "The system under test", "summary": "It is not known in a test on this machine.", "fullPage": ""},
}
"""What a notebook reads about the system, which is only known on the server."""


def check(made: Folder, inputs: Mapping[str, str], arguments: Mapping[str, str]) -> None:
    """Check that each input has a folder and each parameter a value.

    Raises:
        Wrong: one is missing, or is none of the method's, or a folder has no data.
    """
    _check_keywords("--input", "input", [each["keyword"] for each in made.request.get("inputs", ())], inputs, "FOLDER")
    _check_keywords("--argument", "parameter", [each["keyword"] for each in made.request.get("parameters", ())], arguments, "VALUE")
    for keyword, folder in inputs.items():
        if not Path(folder).is_dir():
            raise Wrong(f"--input {keyword}: {folder!r} is not a folder; 'dyff download' makes one")
        if next(_tables(Path(folder)), None) is None:
            raise Wrong(f"--input {keyword}: {folder!r} has no Parquet files; name the folder that 'dyff download' has filled")


def arrange(made: Folder, inputs: Mapping[str, str], arguments: Mapping[str, str], inside: Path) -> manifests.Analysis:
    """Fill the folder `inside`; returns the manifest of the run.

    Raises:
        Wrong: the schema of an input cannot be read.
        OSError: a file cannot be copied.
    """
    module, analysis, method_id = (uuid.uuid4().hex for _ in range(3))
    by_keyword = {keyword: uuid.uuid4().hex for keyword in inputs}
    kinds = {each["keyword"]: each["kind"] for each in made.request.get("inputs", ())}
    body = msgspec.convert(made.body(ACCOUNT, module), methods.MethodCreateRequest)
    method = {**msgspec.to_builtins(body), "scores": [each.filled() for each in body.scores], "id": method_id, "kind": "Method"}
    method |= {"status": "Ready", "creationTime": _NOW}
    texts = {**dict.fromkeys(("title", "summary", "fullPage"), ""), **made.documentation}
    data = {analysis_data.USECASE: {"spec": method, "documentation": texts}, analysis_data.SYSTEM: _SYSTEM}
    spec = specs.Analysis(
        id=analysis,
        account=ACCOUNT,
        kind=body.output.kind,
        method=method_id,
        arguments=[specs.Argument(keyword, value) for keyword, value in arguments.items()],
        inputs=[specs.Input(keyword, entity, kinds[keyword]) for keyword, entity in by_keyword.items()],
        modules=[module],
        data=[specs.Data(key, base64.b64encode(json.dumps(value).encode()).decode()) for key, value in data.items()],
    )
    manifest = manifests.Analysis(spec, msgspec.convert(analysis_settings.Analyses().limits, manifests.Limits))
    described: dict[str, Any] = {module: {"schema": None, "files": len(made.files), "sha256": None}}
    for path in made.files:
        target = inside / module / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made.module / path, target)
    for keyword, folder in inputs.items():
        shutil.copytree(folder, inside / by_keyword[keyword], copy_function=shutil.copyfile)
        described[by_keyword[keyword]] = {"schema": _schema(keyword, Path(folder)), "files": 0, "sha256": None}
    own = inside / ".dyff"
    fetch_analysis.copy_runner(fetch_analysis.RUNNER, own / "runner")
    provided.copy(provided.SOURCE, own / provided.PACKAGES)
    fetch_analysis.write_documents(own, manifest, described)
    for top, _, files in os.walk(inside):
        os.chmod(top, 0o755)
        for file in files:
            os.chmod(Path(top, file), 0o644)
    return manifest


def _check_keywords(option: str, what: str, wanted: list[str], given: Mapping[str, str], value: str) -> None:
    for keyword in given:
        if keyword not in wanted:
            fix = suggestions.hint(keyword, wanted) if wanted else f"it has no {what}s"
            raise Wrong(f"{option} {keyword}: the method has no {what} {keyword!r}; {fix}")
    for keyword in wanted:
        if keyword not in given:
            raise Wrong(f"the method has the {what} {keyword!r}: give {option} {keyword}={value}")


def _tables(folder: Path) -> Any:
    return (each for each in folder.rglob("*.parquet") if not any(part.startswith(".") for part in each.relative_to(folder).parts))


def _schema(keyword: str, folder: Path) -> str:
    """The schema of the first file, which on the server is that of the entity; columns that are folders are texts."""
    import pyarrow as pa
    from pyarrow import parquet

    path = min(_tables(folder))
    try:
        return base64.b64encode(parquet.read_schema(path).remove_metadata().serialize().to_pybytes()).decode()
    except (pa.ArrowException, OSError) as error:
        raise Wrong(f"--input {keyword}: {path} is not a Parquet file: {error}; download it again") from error
