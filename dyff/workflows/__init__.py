"""The programs that pods run. Each reads a manifest file; its exit code says how it ended."""
