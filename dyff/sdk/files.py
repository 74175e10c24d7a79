"""The files of a dataset in a local directory: which ones belong to it, and under which paths they are stored."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dyff.adapters import partitions
from dyff.entities import tree_paths
from dyff.sdk import folders

_MARKER = "_SUCCESS"
"""Spark writes this empty file when it has written all others."""


def listed(folder: Path) -> dict[str, Path]:
    """Return all files of a dataset by the path under which they are stored, sorted.

    As the published client does: every file below the directory, whatever its name, also behind symbolic links. Names that begin
    with a dot are left out, with all that is below them. Unlike there, an empty `_SUCCESS` is left out too: it has no rows.

    Raises:
        ValueError: it is no directory, or a file cannot be part of a dataset; the message names all such files.
        OSError: a directory cannot be read.
    """
    if not folder.is_dir():
        what = "is a file: give the directory that it is in" if folder.exists() else "does not exist"
        raise ValueError(f"{str(folder)!r} {what}")
    found: dict[str, Path] = {}
    wrong: list[str] = []
    folders.require_text([folder])
    for local in sorted(_walk(folder, "", ())):
        folders.require_text([folder / local])
        path, problem = partitions.decoded(local)
        if problem is None and (reason := _problem(folder / local) or tree_paths.artifact_problem(path)):
            problem = reason if path == local else f"means {path!r}, which {reason}: {partitions.INSTEAD}"
        if problem is None and path in found:
            problem = f"is stored as {path!r}, and so is {found[path].relative_to(folder).as_posix()!r}"
        if problem is not None:
            wrong.append(f"{local!r} {problem}")
        found[path] = folder / local
    if wrong:
        raise ValueError(sentence(wrong))
    if found and (reason := tree_paths.tree_problem(found)):
        raise ValueError(f"the files below {str(folder)!r} cannot be stored: {reason}")
    return dict(sorted(found.items()))


def sentence(problems: list[str], most: int = 10) -> str:
    """Join what is wrong with files."""
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


def _walk(folder: Path, below: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the paths of all files, relative to `folder`. `above`: the identities of the directories that lead here."""
    here = folder / below
    info = here.stat()
    identity = (info.st_dev, info.st_ino)
    if identity in above:
        raise ValueError(f"{below!r} is a symbolic link to a directory that contains it; remove it")
    with os.scandir(here) as entries:
        names = sorted((each.name, each.is_dir()) for each in entries if not each.name.startswith("."))
    for name, is_directory in names:
        path = f"{below}/{name}" if below else name
        if is_directory:
            yield from _walk(folder, path, (*above, identity))
        elif not (name == _MARKER and _is_empty(folder / path)):
            yield path


def _is_empty(file: Path) -> bool:
    return file.is_file() and file.stat().st_size == 0


def _problem(file: Path) -> str | None:
    """Why what is there is no file, as the end of a sentence; None if it is one."""
    try:
        kind = file.stat().st_mode
    except FileNotFoundError:
        return "is a symbolic link to nothing; remove it, or restore its target"
    return None if stat.S_ISREG(kind) else "is no regular file; remove it"
