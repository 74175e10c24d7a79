"""Checks of what callers pass, with errors that name the argument, and say what is expected and how to get it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dyff.kernel import suggestions

_MAX_JSON_CHARS = 1_000_000
_NAMES = {
    str: "a string",
    bytes: "bytes",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    list: "a list",
    tuple: "a tuple",
    dict: "a dict",
    type(None): "None",
}


def called(value: Any) -> str:
    """What a value is, for a message: `a string`, `a Dataset`, `a pandas DataFrame`."""
    known = _NAMES.get(type(value))
    if known:
        return known
    package, name = type(value).__module__.partition(".")[0], type(value).__qualname__
    return f"an object of the type {name}" if package in ("builtins", "dyff", "__main__") else f"a {package} {name}"


def folder(value: Any, name: str) -> Path:
    """Return the path of an existing folder. `name`: that of the argument.

    Raises:
        TypeError: it is no path, but for instance a table.
        FileNotFoundError: there is nothing at that path.
        NotADirectoryError: it is a file.
    """
    path = _path(value, name, "a folder with the files")
    if not path.exists():
        raise FileNotFoundError(f"{name}: the folder {str(path)!r} does not exist (relative paths begin at {str(Path.cwd())!r})")
    if not path.is_dir():
        raise NotADirectoryError(f"{name}: {str(path)!r} is a file; pass the folder that has it, {str(path.parent)!r}")
    return path


def destination(value: Any, name: str) -> Path:
    """Return a path to which something is to be written.

    Raises:
        TypeError: it is no path.
    """
    return _path(value, name, "a new folder")


def have(root: Path, paths: Sequence[str]) -> None:
    """Check that the folder has the files that an entity declares.

    Raises:
        FileNotFoundError: it lacks one; the message names it.
    """
    for path in paths:
        if not (root / path).is_file():
            raise FileNotFoundError(f"the folder {str(root)!r} has no file {path!r}; pass the folder from which the entity was created")


def identifier(value: Any, name: str = "id") -> str:
    """Return an ID.

    Raises:
        TypeError: it is no string, but for instance the entity itself.
        ValueError: it is empty, which would stand for all entities.
    """
    if not isinstance(value, str):
        own = getattr(value, "id", None)
        fix = f"pass its .id, {own!r}" if isinstance(own, str) else "each entity has it as .id"
        raise TypeError(f"{name}: must be an ID, which is a string, not {called(value)}; {fix}")
    if not value:
        raise ValueError("the ID is empty; it must be the ID of one entity")
    return value


def entity(value: Any, name: str, kind: str | None, *attributes: str) -> None:
    """Check that a value is an entity. `kind`: None for any. `attributes`: those that it must have; any object with them is accepted.

    Raises:
        TypeError: it is not.
    """
    if all(hasattr(value, each) for each in ("id", *attributes)):
        return
    group = f"client.{kind.lower()}s.get(id)" if kind else "a get(id) such as client.datasets.get(id)"
    what = f"a {kind}" if kind else "an entity"
    raise TypeError(f"{name}: must be {what} as the client returns it, not {called(value)}; {group} returns one")


def mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a mapping as a dict.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: must be a dict, not {called(value)}{_inside(value)}")
    return dict(value)


def request(value: Any, name: str = "request") -> Any:
    """Return a request (a mapping or a struct) as JSON values.

    Raises:
        TypeError: it is neither, or has a value that JSON does not have; the message names the field.
        ValueError: a number is NaN or infinite.
    """
    if not isinstance(value, Mapping | msgspec.Struct):
        hint = "" if isinstance(value, str) else "; create takes one request" if isinstance(value, list | tuple) else ""
        raise TypeError(f"{name}: must be a dict with the API's field names, not {called(value)}{_inside(value)}{hint}")
    return _json(value, name)


def key(value: Any, name: str) -> Any:
    """Return the value of a query's key.

    Raises:
        TypeError: it is no string and no number.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    fix = f"; pass its .id, {value.id!r}" if isinstance(getattr(value, "id", None), str) else "; `query=` takes lists of values"
    raise TypeError(f"{name}: must be a string, not {called(value)}{fix}")


def choice(value: Any, name: str, known: Sequence[str]) -> str:
    """Return one of a few names.

    Raises:
        ValueError: it is none of them.
    """
    if value not in known:
        hint = f"; did you mean {near!r}?" if isinstance(value, str) and (near := suggestions.nearest(value, known)) else ""
        raise ValueError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {value!r}{hint}")
    return str(value)


def _path(value: Any, name: str, what: str) -> Path:
    if isinstance(value, str | os.PathLike) and str(value):
        return Path(value)
    table = hasattr(value, "to_parquet") or type(value).__module__.startswith(("pyarrow", "pandas", "polars"))
    fix = "; write it to a Parquet file in a folder first, such as prompts/rows.parquet, and pass 'prompts'" if table else ""
    shown = "an empty string" if value == "" and isinstance(value, str) else called(value)
    raise TypeError(f"{name}: must be the path of {what}, not {shown}{fix}")


def _inside(value: Any) -> str:
    """What to do with a string that spells a JSON object."""
    if isinstance(value, str) and len(value) <= _MAX_JSON_CHARS and value.lstrip().startswith("{"):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return ""
        return ", although it contains JSON; pass json.loads(...) of it"
    return ""


def _json(value: Any, at: str) -> Any:
    """The value as JSON values. `at`: its place."""
    if isinstance(value, Mapping):
        for each in value:
            if not isinstance(each, str):
                raise TypeError(f"{at}: names of fields must be strings, not {called(each)}")
        return {each: _json(inner, each if at == "request" else f"{at}.{each}") for each, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner, f"{at}.{n}") for n, inner in enumerate(value)]
    if hasattr(value, "model_dump_json"):
        return json.loads(value.model_dump_json(by_alias=True, exclude_none=True))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{at}: JSON has no {value!r}; use a number or None")
    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{at}: must be a JSON value, not {called(value)}{_fix(value)}") from error


def _fix(value: Any) -> str:
    if type(value).__module__.startswith("pyarrow") and hasattr(value, "serialize"):
        return "; dyff.sdk.schemas.encode makes one of an Arrow schema, and output_schema that of a service's answers"
    return f"; pass str(...) of it, {str(value)!r}" if isinstance(value, os.PathLike) else ""
