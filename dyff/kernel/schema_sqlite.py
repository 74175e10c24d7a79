"""The schema of a SQLite file: a step and its record are written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread
import apsw

from dyff.kernel import schema, sqlite

_TABLE = "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, at TEXT NOT NULL, release TEXT NOT NULL) STRICT"
_REMEDY = "restore a backup; 'dyff docs production' says what each file is needed for"
_IS_THERE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'"


class SqliteStore:
    """See `dyff.kernel.schema.Store`. Opens the file for each call; no server may have it open exclusively."""

    def __init__(self, name: str, path: Path) -> None:
        """`name`: the key in `dyff.kernel.schema.Steps`. `path`: created by the first step, accessible only to its owner."""
        self.name, self._path = name, path

    async def applied(self) -> Sequence[schema.Applied]:
        with sqlite.translated(f"{self.name} ({self._path})", _REMEDY):
            return await anyio.to_thread.run_sync(self._applied)

    async def apply(self, step: schema.Step, at: str, release: str) -> None:
        """The step is called with an `apsw.Connection` within a transaction; it is not a coroutine function."""
        with sqlite.translated(f"{self.name} ({self._path})", _REMEDY):
            await anyio.to_thread.run_sync(self._apply, step, schema.Applied(step.name, at, release))

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        return []

    def _applied(self) -> list[schema.Applied]:
        if not self._path.exists():
            return []
        connection = sqlite.connect(self._path, durable=True)
        try:
            return _recorded(connection)
        finally:
            connection.close()

    def _apply(self, step: schema.Step, applied: schema.Applied) -> None:
        self._path.touch(mode=0o600)
        connection = sqlite.connect(self._path, durable=True)
        try:
            with sqlite.transaction(connection):
                # Another process may have applied it while this one waited for the lock.
                if applied.name not in {each.name for each in _recorded(connection)}:
                    step.run(connection)
                    connection.execute(_TABLE)
                    connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (applied.name, applied.at, applied.release))
        finally:
            connection.close()


def _recorded(connection: apsw.Connection) -> list[schema.Applied]:
    if connection.execute(_IS_THERE).fetchone() is None:
        return []
    return [schema.Applied(*row) for row in connection.execute("SELECT name, at, release FROM migrations ORDER BY at, name")]
