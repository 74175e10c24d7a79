"""What the platform gives to the code of every method: `dyff.stats`, as files next to the runner (ADR 41)."""

from __future__ import annotations

import shutil
from pathlib import Path

from dyff import stats
from dyff.entities import codecs
from dyff.kernel import errors
from dyff.objects import hashing

PACKAGES = "packages"
"""The folder next to the runner that is on the import path of the code."""
SOURCE = Path(stats.__file__).parent
NAME = "dyff.stats"


def copy(source: Path, folder: Path) -> None:
    """Copy the package below `folder`, so that `import dyff.stats` finds it there. What is there is replaced.

    Raises:
        Misconfigured: it is not installed as files.
        OSError: the folder cannot be written.
    """
    if not (source / "__init__.py").is_file():
        raise errors.Misconfigured(f"this installation is incomplete: {source} must have the package {NAME}; install Dyff again")
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(source, folder.joinpath(*NAME.split(".")), ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def described(source: Path) -> codecs.Json:
    """The package for the record of a run. `sha256`: of the list of its files, each with its own digest, in the order of their names."""
    files = sorted((path.relative_to(source).as_posix(), hashing.of(path.read_bytes()).sha256) for path in source.rglob("*.py"))
    return {"name": NAME, "version": stats.VERSION, "sha256": hashing.of(codecs.encode(files)).sha256}
