"""A step on a SQLite file is one transaction with its record."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyff.accounts.embedded import EmbeddedAccounts
from dyff.kernel import errors, schema, sqlite
from dyff.kernel.schema_sqlite import SqliteStore
from dyff.serve import numbered

HISTORY = Path(__file__).parents[1] / "histories" / "0.1.0" / "data"
AT, RELEASE = "2026-01-01T00:00:00.000000Z", "0.1.0"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "things.sqlite"
    connection = sqlite.connect(path, durable=True)
    connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, size TEXT); INSERT INTO things VALUES (1, '7'), (2, '8')")
    connection.close()
    return path


def rewrite(connection):
    connection.execute("ALTER TABLE things ADD COLUMN bytes INTEGER; UPDATE things SET bytes = CAST(size AS INTEGER)")


def read(path, statement):
    connection = sqlite.connect_to_read(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def test_what_a_step_did_before_it_failed_is_undone(path):
    """Neither the new column nor the record is there; done again, both are."""

    def fails(connection):
        rewrite(connection)
        raise errors.Unavailable("killed")

    store = SqliteStore("accounts:sqlite", path)
    with pytest.raises(errors.Unavailable):
        await store.apply(schema.Step("0002_sizes.pre", "", fails), AT, RELEASE)
    assert list(await store.applied()) == []
    await store.apply(schema.Step("0002_sizes.pre", "", rewrite), AT, RELEASE)
    assert read(path, "SELECT bytes FROM things") == [(7,), (8,)]


async def test_a_step_that_another_process_did_meanwhile_is_not_repeated(path):
    """So it need not be repeatable here; adding a column twice would be an error."""
    store, step = SqliteStore("accounts:sqlite", path), schema.Step("0002_sizes.pre", "", rewrite)
    for _ in range(2):
        await store.apply(step, AT, RELEASE)
    assert [each.name for each in await store.applied()] == ["0002_sizes.pre"]


async def test_an_old_file_migrated_is_as_a_new_one(tmp_path):
    """What release 0.1.0 made and all migrations changed has the tables, the indexes and the format number of a file made now."""
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    connection = sqlite.connect(old, durable=True)
    connection.execute((HISTORY / "accounts.sql").read_text())
    connection.close()
    for phase in schema.PHASES:
        for step in schema.steps(numbered.load(), "accounts:sqlite", phase):
            await SqliteStore("accounts:sqlite", old).apply(step, AT, RELEASE)
    async with EmbeddedAccounts.open(new):
        pass
    wanted = "SELECT name, sql FROM sqlite_schema WHERE name NOT IN ('migrations', 'sqlite_autoindex_migrations_1') ORDER BY name"
    assert read(old, wanted) == read(new, wanted)
    assert read(old, "PRAGMA user_version") == read(new, "PRAGMA user_version")


async def test_a_damaged_file_is_reported(tmp_path):
    """The message names the store and the file."""
    path = tmp_path / "accounts.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(errors.Fatal, match=r"accounts:sqlite .*accounts\.sqlite"):
        await SqliteStore("accounts:sqlite", path).applied()


async def test_a_file_that_is_locked_is_unavailable(path, monkeypatch):
    """Nothing was done, so it can be run again."""
    other = sqlite.connect(path, durable=True)
    other.execute("BEGIN IMMEDIATE")
    connect = sqlite.connect
    monkeypatch.setattr(sqlite, "connect", lambda where, *, durable: connect(where, durable=durable, busy_s=0.01))
    try:
        with pytest.raises(errors.Unavailable):
            await SqliteStore("accounts:sqlite", path).apply(schema.Step("0002_sizes.pre", "", rewrite), AT, RELEASE)
    finally:
        other.execute("ROLLBACK")
        other.close()
