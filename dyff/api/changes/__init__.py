"""Changes of entities as they come: one tail of the log for all streams of a server (docs/console-data.md)."""
