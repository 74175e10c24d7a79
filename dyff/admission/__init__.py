"""Decides which entities can run now, from their dependencies and quotas. Pure."""
