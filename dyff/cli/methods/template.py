"""Writes the folder of a new method."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dyff.cli import reporting

KINDS = ("function", "notebook")
_FOLDERS = Path(__file__).parent / "templates"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLACEHOLDER = "NAME"
_FILLED = (".toml", ".md", ".ipynb")
"""Endings of the files that have the name of the method in them."""


def write(name: str, kind: str, folder: Path) -> None:
    """Write it. `kind`: one of `KINDS`. `folder`: must not exist.

    Raises:
        Ended: it exists, or the name cannot be that of a folder.
    """
    if not _NAME.fullmatch(name):
        reporting.stop(
            f"NAME {name[:100]!r}: use at most 100 letters, digits, '.', '_' and '-', and begin with a letter or a digit", reporting.WRONG
        )
    if folder.exists() or folder.is_symlink():
        reporting.stop(f"{folder} exists already: choose another NAME or --dir", reporting.FAILED)
    shutil.copytree(_FOLDERS / kind, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), copy_function=shutil.copyfile)
    for path in folder.rglob("*"):
        if path.suffix in _FILLED:
            path.write_text(path.read_text(encoding="utf-8").replace(_PLACEHOLDER, name), encoding="utf-8")
