"""What the files of a dataset are checked for before anything is sent: all that the server and a run would refuse.

pyarrow is imported only here, and this module only when it is used: that takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from dyff.adapters import arrow_schemas, file_ends, footers, partitions, sendable
from dyff.sdk import arguments, files, indices, requests, schemas, uploads

_NO_INDEX = "each row needs an `_index_` of type int64 that is unique in the dataset; add that column"
_NOT_PARQUET = "write it again, or, if it is not part of the data, move it out of the directory or give it a name that begins with a dot"


class _File(NamedTuple):
    """A file, of which the last `footer_bytes` are its footer. `problem`: why it has none."""

    path: str
    local: Path
    size: int
    footer_bytes: int
    problem: str | None

    def footer(self) -> bytes:
        """Read it. Those of all files together may not fit into memory."""
        with self.local.open("rb") as file:
            file.seek(self.size - self.footer_bytes)
            return file.read(self.footer_bytes)


def described(folder: Path, schema: pa.Schema | None) -> tuple[list[requests.Artifact], requests.DataSchema]:
    """Return the artifacts and the schema of the dataset in a directory, as a request has them.

    `schema`: of its rows; None for that of the files.

    Raises:
        ValueError: it is no dataset; the message names the files and the fix.
    """
    found = _read(files.listed(folder))
    found = [each for each in found if not (each.problem is None and _is_listing(each.footer()))]
    if not found:
        raise ValueError(f"{str(folder)!r} has no Parquet files")
    _require([f"{each.path!r} {each.problem}" for each in found if each.problem])
    declared = arrow_schemas.reduced(_of_files(found) if schema is None else schema)
    _check(found, declared, indices=False)
    indices.check([(each.path, each.local) for each in found], declared)
    artifacts: list[requests.Artifact] = [
        {"kind": "parquet", "path": each.path, "digest": {"md5": uploads.md5_of(each.local)}} for each in found
    ]
    return artifacts, schemas.encode(declared)


def located(folder: Path, paths: list[str], encoded: str | None) -> dict[str, Path]:
    """Return the local files of a dataset by their stored paths, and check them against its schema.

    `encoded`: the schema in base64; None if there is none to check.

    Raises:
        ValueError: they do not fit the schema; nothing was sent.
        FileNotFoundError: a file does not exist.
    """
    exact = {path: folder / path for path in paths}
    renamed = {} if all(file.exists() for file in exact.values()) else files.listed(folder)
    found = {path: file if file.exists() else renamed.get(path, file) for path, file in exact.items()}
    arguments.have(folder, [path for path in paths if not found[path].exists()])
    if encoded is not None:
        read = _read(found)
        _require([f"{each.path!r} {each.problem}" for each in read if each.problem])
        _check(read, schemas.decode(encoded))
    return found


def _read(found: Mapping[str, Path]) -> list[_File]:
    return [_file(path, local) for path, local in found.items()]


def _file(path: str, local: Path) -> _File:
    """A file, with what its first and last bytes say."""
    with local.open("rb") as file:
        begin = file.read(len(file_ends.MAGIC))
        size = file.seek(0, 2)
        file.seek(max(0, size - file_ends.END_BYTES))
        tail = file.read()
        length = file_ends.length(tail)
        problem = file_ends.problem(tail, length, size)
        if problem is None and begin != file_ends.MAGIC:
            problem = "is a damaged Parquet file: its beginning is missing"
    if problem is not None and "is not a Parquet" in problem:
        problem = f"{problem}; {_NOT_PARQUET}"
    return _File(path, local, size, length, problem)


def _is_listing(footer: bytes) -> bool:
    """Whether the file only lists the rows of others, as the `_metadata` that Spark and Dask write."""
    try:
        metadata = footers.read(footer)
        return not footers.is_encrypted(metadata, len(footer)) and footers.is_listing(metadata)
    except (pa.ArrowException, OSError, ValueError):
        return False  # reported by the check


def _of_files(found: list[_File]) -> pa.Schema:
    """The schema of the first file, with the columns of all paths.

    A column of nothing but nulls in the first file has the type that it has in another one.
    """
    known: dict[str, pa.Field[Any]] = {}
    for number, each in enumerate(found):
        try:
            schema = footers.read(each.footer()).schema.to_arrow_schema()
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{each.path!r} cannot be read as a Parquet file ({reason[:200]})") from error
        for field in schema:
            if number == 0 or (field.name in known and pa.types.is_null(known[field.name].type)):
                known[field.name] = field
        if number == 0:
            first = schema
        if not any(pa.types.is_null(field.type) for field in known.values()):
            break
    fields = [known[name] for name in first.names]
    given = partitions.by_path(each.path for each in found)
    fields += [pa.field(name, arrow_schemas.inferred(values)) for name, values in given.items() if name not in known]
    return pa.schema(fields, first.metadata)


def _check(found: list[_File], declared: pa.Schema, *, indices: bool = True) -> None:
    """Check what the footers reveal. `indices`: also of indices; False if they will be read.

    Raises:
        ValueError: the files do not fit the schema.
    """
    if arrow_schemas.INDEX not in declared.names or declared.field(arrow_schemas.INDEX).type != pa.int64():
        raise ValueError(_NO_INDEX)
    _require([f"no request can contain the rows: {problem}" for problem in sendable.problems(declared)])
    reader = footers.Footers(declared, frozenset(partitions.by_path(each.path for each in found)), indices=indices)
    looks = [(each.path, reader.look(each.path, each.footer(), each.size)) for each in found]
    _require([f"{path!r} {_end(look.problems)}" for path, look in looks if look.problems])
    if not any(look.rows for _, look in looks):
        raise ValueError("the dataset has no rows at all")


def _end(problems: list[str]) -> str:
    text = "; ".join(problems)
    return f"is not as the schema declares: {text}" if text.startswith("the field") else text


def _require(problems: list[str]) -> None:
    if problems:
        raise ValueError(files.sentence(problems))
