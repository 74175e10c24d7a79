"""`dyff.kernel.sqlite`: files that several processes open."""

import threading
from typing import Any

import apsw
import pytest

from dyff.kernel import sqlite

OPENERS, ROUNDS = 4, 60


def _write(path, barrier, failed):
    barrier.wait()
    try:
        connection = sqlite.connect(path, durable=False)
        with sqlite.transaction(connection):
            connection.execute("CREATE TABLE IF NOT EXISTS opened (who)")
            connection.execute("INSERT INTO opened VALUES (1)")
        connection.close()
    except apsw.Error as error:
        failed.append(error)


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path):
    """SQLite refuses all but one who turn a new file into WAL mode at the same time, without waiting: we wait for it."""
    for round_ in range(ROUNDS):
        path, barrier = tmp_path / f"{round_}.sqlite", threading.Barrier(OPENERS)
        failed: list[Any] = []
        threads = [threading.Thread(target=_write, args=(path, barrier, failed)) for _ in range(OPENERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert sqlite.connect(path, durable=False).execute("SELECT count(*) FROM opened").fetchone() == (OPENERS,)


def test_a_file_that_stays_locked_is_reported(tmp_path):
    """The wait has an end: `busy_s`."""
    holder = apsw.Connection(str(tmp_path / "held.sqlite"))
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(apsw.BusyError):
        sqlite.connect(tmp_path / "held.sqlite", durable=False, busy_s=0.05)
