"""Builds, cached by the hash of their recipe: a second run costs nothing, and runs at the same time build once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from tests.engines.recipes import Recipe, Unavailable


def root() -> Path:
    """The folder of builds and runs, outside the work tree."""
    folder = Path(os.environ.get("DYFF_ENGINES_DIR") or Path.home() / ".cache/dyff-engines").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fingerprint(recipe: Recipe) -> str:
    """Changes with every file of the recipe, and with what else its build depends on."""
    digest = hashlib.sha256(recipe.identity())
    for path in sorted(each for each in recipe.folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(recipe.folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def build(recipe: Recipe) -> Path:
    """Return the folder of what was built, now or earlier.

    Raises:
        Unavailable: This machine lacks what is needed to build or to run it.
        EngineError: The build failed.
    """
    target = root() / f"{recipe.name}-{fingerprint(recipe)}"
    if reason := recipe.lacking(target.exists()):
        raise Unavailable(f"{recipe.title}: {reason}")
    with FileLock(root() / f"{recipe.name}.lock"):
        if not target.exists():
            for left in root().glob(f".{recipe.name}-*"):  # by a build that was killed
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=root(), prefix=f".{recipe.name}-") as folder:
                unfinished = Path(folder) / "build"
                unfinished.mkdir()
                recipe.build(unfinished)
                unfinished.rename(target)
    return target
