"""Backups of a data directory: made while the server serves, and restored into another or the same directory (docs/backup.md)."""
