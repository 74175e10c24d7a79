"""The samples of an evaluation, read from stored Parquet by a bounded program (docs/console-data.md)."""
