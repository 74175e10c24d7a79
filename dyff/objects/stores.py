"""Opens object stores by URL, so that a step can reach the store that the server uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dyff.kernel import errors, extras
from dyff.objects import local, port

_CLOUDS = ("s3", "gs", "az")
RELATIVE = "file:objects"
"""The URL, in a Job, of the store of the data directory in which it runs. It cannot be opened as it is."""


def open_store(url: str, environment: Mapping[str, str]) -> port.Objects:
    """Open the store at `url`: `file:///var/lib/dyff/objects`, or `s3://bucket/prefix?endpoint=https://host`, `gs://`, `az://`.

    A local one cannot sign URLs. A cloud's credentials come from `environment`, that of this process (the vendor's library
    reads it, too); opening it blocks for two requests.

    Raises:
        Misconfigured: the URL is not that of a store, or the store lacks a feature that we need.
        Unavailable, OutcomeUnknown: it does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme in _CLOUDS:
        extras.require("cloud", "DYFF_STORAGE_URL")
        from dyff.objects import cloud  # only now, so that the vendor's library is not loaded for a local store

        return cloud.CloudObjects.open(cloud.Connection.from_url(url, environment))
    if parts.scheme != "file":
        raise errors.Misconfigured(
            f"no object store has the URL {url!r}: it must be file:///absolute/directory, s3://bucket, gs:// or az://"
        )
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise errors.Misconfigured(f"the object store's URL {url!r} must name an absolute directory of this machine, as file:///directory")
    root = Path(unquote(parts.path))
    if not root.is_dir():  # a step must not make a store of its own where the server's was before its data directory was moved
        raise errors.Misconfigured(f"there is no object store in {root}: was the data directory moved?")
    return local.LocalObjects.open(root)
