"""The programs that pods run: they get a manifest file and exit 0 or not."""
