"""The bus in one SQLite file: durable and fast, for a laptop or a single server.

    publish ──> queue ──> writer thread: one transaction, one fsync for all queued writes ──> records (memory) ──> readers
                              └─> <path> (+ -wal, -shm), then <path>.mark, outside the database

The modules: `logfile` (the file, and the checks when it is opened), `dyff.kernel.sqlite_writer` (group commit),
`transactions` (the operations on the log, and what it does around a commit), `records` (what is committed: the newest records in
memory, and the wake-up of readers), `groups` (partition assignment), `reading` and `log` (the port). `history` is for another
process that only reads.
"""

from dyff.bus.embedded.history import EmbeddedHistory
from dyff.bus.embedded.log import EmbeddedBus

__all__ = ["EmbeddedBus", "EmbeddedHistory"]
