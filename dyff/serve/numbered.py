"""Loads the folder `migrations/`: one numbered file for each migration.

A file `NNNN_words.py` has a docstring whose first sentence describes the migration, and `PRE` and `POST`, each a
`dyff.kernel.schema.Steps`. In a wheel the folder is next to this file, in a checkout at the top level.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from dyff.kernel import schema

_NAME = re.compile(r"\d{4}_[a-z0-9_]+")


def folder() -> Path:
    """The folder with the migrations."""
    packaged = Path(__file__).parent / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"


@functools.cache
def load(where: Path | None = None) -> tuple[schema.Migration, ...]:
    """All migrations of a folder; None for our own folder.

    Raises:
        ValueError: the folder is empty, a file has no number, or the numbers are not 1, 2, 3 and so on.
    """
    where = where or folder()
    files = sorted(where.glob("*.py"))
    for number, file in enumerate(files, start=1):
        if not _NAME.fullmatch(file.stem) or int(file.stem[:4]) != number:
            raise ValueError(f"{file}: the name of this migration must begin with {number:04}_")
    if not files:
        raise ValueError(f"there are no migrations in {where}: Dyff is not installed as a whole")
    return tuple(_loaded(file) for file in files)


def _loaded(file: Path) -> schema.Migration:
    spec = importlib.util.spec_from_file_location(f"dyff_migrations.{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = (module.__doc__ or "").partition(". ")[0].strip().rstrip(".")
    return schema.Migration(file.stem, description, module.PRE, module.POST)
