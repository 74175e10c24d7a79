"""The Python client of a Dyff server."""
