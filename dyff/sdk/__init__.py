"""The Python client of a Dyff server."""

from dyff.sdk.client import Client

__all__ = ["Client"]
