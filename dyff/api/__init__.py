"""The HTTP API under /v0."""
