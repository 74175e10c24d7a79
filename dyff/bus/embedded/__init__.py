"""The bus in one SQLite file: durable, fast and honest; what a laptop and a single server run on.

    publish ──> queue ──> writer thread: one transaction, one fsync for all that waits ──> tails (memory) ──> readers
                              └─> <path> (+ -wal, -shm), then <path>.mark, outside the database

The pieces: `logfile` (the file, what is checked when it is opened), `dyff.kernel.sqlite_writer` (group commit),
`transactions` (what the log does around a commit), `jobs` (what is done in one), `tails` (the newest records in memory,
and who waits for more), `groups` (who has which partition), `reading` and `log` (the port). `history` is for another
process that only reads.
"""

from dyff.bus.embedded.history import EmbeddedHistory
from dyff.bus.embedded.log import EmbeddedBus

__all__ = ["EmbeddedBus", "EmbeddedHistory"]
