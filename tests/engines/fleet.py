"""All servers together: which run, where, and what the tests get to know."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from tests.engines import building, containers, server
from tests.engines.recipes import EngineError, Recipe, Unavailable

_KEPT_LOGS = 10
"""Runs whose logs are kept."""


@dataclass(frozen=True)
class Row:
    """A server that runs."""

    recipe: Recipe
    title: str
    """The server and its version."""
    address: str


@dataclass
class Fleet:
    """What was started and what could not be."""

    folder: Path
    """Where their logs are."""
    rows: list[Row] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Reasons, one for each server that is not here."""

    def variables(self) -> dict[str, str]:
        """What the tests get: where the servers are, and their versions for the summary."""
        versions = {adapter: row.title for row in self.rows for adapter in row.recipe.adapters}
        return {**{row.recipe.variable: row.address for row in self.rows}, "DYFF_TEST_SERVERS": json.dumps(versions)}

    def table(self) -> str:
        """Adapter, server and version, where."""
        lines = [(", ".join(row.recipe.adapters), row.title, _where(row.address)) for row in self.rows]
        widths = [max((len(line[column]) for line in lines), default=0) for column in (0, 1)]
        texts = [f"{adapters:<{widths[0]}}  {title:<{widths[1]}}  {where}" for adapters, title, where in lines]
        return "\n".join([*texts, f"logs: {self.folder}", *(f"NOT HERE, its tests are skipped: {reason}" for reason in self.absent)])


def _where(address: str) -> str:
    """Host and port, without a password; or a file."""
    if address.startswith("/"):
        return address
    parts = urlsplit(f"//{address.split('//')[-1]}")
    return f"{parts.hostname}:{parts.port}"


@contextmanager
def running(recipes: Sequence[Recipe], *, required: bool) -> Iterator[Fleet]:
    """Build and start these servers in fresh folders; all are stopped at the end, whatever happens.

    A server whose variable is set already is taken as it is. One that is Unavailable is left out, unless it is `required`.

    Raises:
        EngineError: One did not come up, or is required and missing.
    """
    in_containers = containers.wanted()
    with _fresh_folder() as folder, ExitStack() as stack:
        fleet = Fleet(folder)
        for recipe in recipes:
            try:
                fleet.rows.append(stack.enter_context(_row(recipe, folder, in_containers)))
            except Unavailable as error:
                if required:
                    raise EngineError(f"it must be here: {error}") from error
                fleet.absent.append(str(error))
        yield fleet


@contextmanager
def _row(recipe: Recipe, folder: Path, in_containers: bool) -> Iterator[Row]:
    if address := os.environ.get(recipe.variable):
        yield Row(recipe, "a server of yours", address)
    elif in_containers and recipe.variable in containers.IMAGES:
        with containers.running(recipe) as address:
            yield Row(recipe, containers.IMAGES[recipe.variable][0], address)
    else:
        with server.running(recipe, building.build(recipe), folder / recipe.name) as started:
            yield Row(recipe, recipe.title, started.address)


@contextmanager
def _fresh_folder() -> Iterator[Path]:
    """A folder of this run. Its data are removed at the end, also those of earlier runs that were killed; the last logs stay."""
    runs = building.root() / "runs"
    runs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=runs))
    with FileLock(folder.with_suffix(".lock")):
        _clean(runs)
        try:
            yield folder
        finally:
            _remove_data(folder)


def _remove_data(folder: Path) -> None:
    for data in folder.glob("*/data"):
        shutil.rmtree(data, ignore_errors=True)


def _clean(runs: Path) -> None:
    folders = sorted((each for each in runs.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime, reverse=True)
    for number, folder in enumerate(folders):
        lock = folder.with_suffix(".lock")
        with suppress(Timeout), FileLock(lock, timeout=0):
            _remove_data(folder)
            if number >= _KEPT_LOGS:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)
