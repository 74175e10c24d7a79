"""Reads the folder of a method, and checks all that can be known before anything runs or is uploaded."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dyff.cli.methods import code
from dyff.cli.methods.wrong import Wrong
from dyff.entities import method_code, specs
from dyff.entities.kinds import method
from dyff.kernel import suggestions
from dyff.sdk import folders, schemas

FILES = ("method.toml", "method.json")
"""The file that describes a method. The first that is there counts."""
MAX_FILE_BYTES = 2**20
EXCLUDED = ("__pycache__", "*.pyc", ".ipynb_checkpoints", ".DS_Store")
"""What is not uploaded, as in `.gitignore`."""
PLACEHOLDER = "00000000000040008000000000000000"
"""Stands for the account and the module until they are known."""
_OWN = ("module", "documentation")
_ADDED = ("account", "modules")
_TEXTS = ("title", "summary", "fullPage")


@dataclass(frozen=True)
class Folder:
    """The folder of a method.

    `request`: the fields of the request, without `account` and `modules`. `derived`: whether the function's decorator must say what is
    missing in it. `module`: the folder of the code. `files`: what is uploaded of it, relative. `documentation`: its texts.
    """

    path: Path
    file: Path
    module: Path
    files: list[str]
    request: dict[str, Any]
    documentation: dict[str, str] = field(default_factory=dict)
    derived: bool = False

    @property
    def name(self) -> str:
        """The name of the function or the class, with dots; empty for a notebook."""
        parts = self.request.get("implementation", {})
        named = parts.get("pythonFunction") or parts.get("pythonRubric") or {}
        return str(named.get("fullyQualifiedName", ""))

    def body(self, account: str, module: str) -> dict[str, Any]:
        """The request, with its account and the ID of its module."""
        body = {**json.loads(json.dumps(self.request)), "account": account, "modules": [module]}
        if (notebook := body["implementation"].get("jupyterNotebook")) is not None:
            notebook["notebookModule"] = module
        return body

    def completed(self, described: Mapping[str, Any]) -> Folder:
        """The folder with what the decorator of its function says. What the file says itself counts more.

        Raises:
            Wrong: that is no method.
        """
        known = {name: value for name, value in described.items() if value is not None and name not in _ADDED}
        made = Folder(self.path, self.file, self.module, self.files, {**known, **self.request}, self.documentation)
        _check(made)
        return made


def read(path: Path) -> Folder:
    """Read and check the folder of a method.

    Raises:
        Wrong: something in it is wrong.
    """
    file, document = _document(path)
    for name in _ADDED:
        if name in document:
            raise Wrong(f"{file}: {name}: leave it out, 'dyff method push' adds it")
    module = _module(path, file, document.get("module", "module"))
    files = [each.as_posix() for each in folders.list_files(module, False, None, list(EXCLUDED))]
    if not files:
        raise Wrong(f"{module} has no files; put the code of the method into it")
    request = {name: value for name, value in document.items() if name not in _OWN}
    derived = "output" not in request and _kind(request) == "PythonFunction"
    made = Folder(path, file, module, files, request, _documentation(file, document.get("documentation", {})), derived)
    if derived:
        _check_decorated(made)
    else:
        _encode_columns(file, request)
        _check(made)
    return made


def _document(path: Path) -> tuple[Path, dict[str, Any]]:
    if not path.is_dir():
        raise Wrong(f"{path} is not a folder; 'dyff method new NAME' makes the folder of a method")
    file = next((path / name for name in FILES if (path / name).is_file()), None)
    if file is None:
        raise Wrong(f"{path} has no {' and no '.join(FILES)}, which describes a method; 'dyff method new NAME' makes a folder with one")
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise Wrong(f"{file} has more than {MAX_FILE_BYTES} bytes; it only describes the method")
    try:
        document = tomllib.loads(data.decode()) if file.suffix == ".toml" else json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{file} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise Wrong(f"{file} must be an object with the fields of a method")
    return file, document


def _module(path: Path, file: Path, name: Any) -> Path:
    if not isinstance(name, str) or not (path / name).is_dir() or not (path / name).resolve().is_relative_to(path.resolve()):
        raise Wrong(f"{file}: module: {name!r} is not a folder in {path}; name the one with the code")
    return path / name


def _kind(request: Mapping[str, Any]) -> Any:
    parts = request.get("implementation")
    return parts.get("kind") if isinstance(parts, dict) else None


def _documentation(file: Path, texts: Any) -> dict[str, str]:
    if not isinstance(texts, dict) or not all(isinstance(each, str) for each in texts.values()):
        raise Wrong(f"{file}: documentation: give its texts: {', '.join(_TEXTS)}")
    for name in texts:
        if name not in _TEXTS:
            raise Wrong(f"{file}: documentation.{name} is not known; {suggestions.hint(name, _TEXTS)}")
    return dict(texts)


def _encode_columns(file: Path, request: dict[str, Any]) -> None:
    """Replace the columns of a measurement, names with types, by their schema."""
    output = request.get("output")
    measurement = output.get("measurement") if isinstance(output, dict) else None
    if not isinstance(measurement, dict) or "columns" not in measurement:
        return
    at = f"{file}: output.measurement.columns"
    columns = measurement.pop("columns")
    if "schema" in measurement:
        raise Wrong(f"{at}: there is a schema, too; leave out one of them")
    if not isinstance(columns, dict) or not columns:
        raise Wrong(f'{at}: give the type of each column by its name, such as _index_ = "int64"')
    from dyff.sdk import arrow

    arrow.require("output.measurement.columns")
    import pyarrow as pa

    fields = []
    for name, kind in columns.items():
        try:
            fields.append((name, pa.type_for_alias(kind)))
        except (ValueError, TypeError):
            near = suggestions.hint(str(kind), ("int64", "float64", "string", "bool", "binary", "date32", "timestamp[us]"))
            raise Wrong(f"{at}.{name}: {kind!r} is not a type; {near} A nested type needs output.measurement.schema") from None
    measurement["schema"] = schemas.encode(pa.schema(fields))


def _check(made: Folder) -> None:
    """Check the request as the server does, and that the code is there."""
    parts = made.request.get("implementation")
    if isinstance(parts, dict) and isinstance(parts.get("jupyterNotebook"), dict) and "notebookModule" in parts["jupyterNotebook"]:
        raise Wrong(f"{made.file}: implementation.jupyterNotebook.notebookModule: leave it out, 'dyff method push' adds it")
    try:
        body = made.body(PLACEHOLDER, PLACEHOLDER) if isinstance(parts, dict) else {**made.request, "account": PLACEHOLDER}
        request = msgspec.convert(body, method.MethodCreateRequest)
    except msgspec.ValidationError as error:
        raise Wrong(f"{made.file}: {_sentence(error)}") from error
    except (TypeError, AttributeError) as error:
        raise Wrong(f"{made.file}: it has a value of a type that no field has: {error}") from error
    notebook = request.implementation.jupyterNotebook
    if notebook is not None:
        if problem := method_code.file_problem(made.module.name, notebook.notebookPath, made.files):
            raise Wrong(f"{made.file}: implementation.jupyterNotebook.notebookPath: {problem}")
        code.check_notebook(made.module / notebook.notebookPath)
    else:
        _check_code(made, request.implementation.kind)


def _check_code(made: Folder, kind: str) -> None:
    if made.name.startswith(method.OF_THE_ENVIRONMENT):
        return
    at = f"{made.file}: implementation.{kind[0].lower()}{kind[1:]}.fullyQualifiedName"
    if problem := method_code.name_problem(made.name, [made.files]):
        raise Wrong(f"{at}: {problem}")
    code.check_name(made.module, made.name, at)


def _check_decorated(made: Folder) -> None:
    parts = made.request["implementation"].get("pythonFunction")
    if not isinstance(parts, dict) or not isinstance(parts.get("fullyQualifiedName"), str):
        raise Wrong(f"{made.file}: implementation.pythonFunction.fullyQualifiedName: name the function, such as file.function")
    _check_code(made, "PythonFunction")
    if not code.is_decorated(made.module, made.name):
        raise Wrong(
            f"{made.file}: output is missing: say what the method makes, or let the decorator 'method' of dyff.schema.annotations say it"
        )


def _sentence(error: msgspec.ValidationError) -> str:
    at, sentence = specs.wrong(error, ())
    shown = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in at).lstrip(".")
    unknown = sentence.removeprefix("Object contains unknown field `").removesuffix("`")
    if unknown != sentence and not at:
        names = [each for each in method.MethodCreateRequest.__struct_fields__ if each not in _ADDED] + list(_OWN)
        return f"{unknown} is not a field of a method; {suggestions.hint(unknown, names)}"
    if unknown != sentence:
        return f"{shown} has no field {unknown!r}; leave it out, or correct its name"
    return f"{shown}: {sentence}" if shown else sentence
