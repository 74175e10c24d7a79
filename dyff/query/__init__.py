"""The read model: a view of the log that can be dropped and rebuilt."""
