"""The Python client of a Dyff server: `Client`, and `AsyncClient` for event loops."""

from dyff.sdk.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
