"""Runs the method of a folder on this machine: what `dyff method test` does."""
