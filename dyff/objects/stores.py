"""Object stores by URL: how a step reaches the store that the server uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dyff.kernel import errors
from dyff.objects import local, port

_CLOUDS = ("s3", "gs", "az")


def open_store(url: str, environment: Mapping[str, str]) -> port.Objects:
    """The store at `url`: `file:///var/lib/dyff/objects`, or `s3://bucket/prefix?endpoint=https://host`, `gs://`, `az://`.

    A local one cannot sign URLs. A cloud's credentials come from `environment`, that of this process (the vendor's library
    looks there, too); opening it blocks for two requests.

    Raises:
        Misconfigured: there can be no store at such a URL, or it is not fit for us.
        Unavailable, OutcomeUnknown: it does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme in _CLOUDS:
        from dyff.objects import cloud  # only now: whoever has a local store shall not load the vendor's library

        return cloud.CloudObjects.open(cloud.Connection.from_url(url, environment))
    if parts.scheme != "file":
        raise errors.Misconfigured(
            f"no object store has the URL {url!r}: it must be file:///absolute/directory, s3://bucket, gs:// or az://"
        )
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise errors.Misconfigured(f"the object store's URL {url!r} must name an absolute directory of this machine, as file:///directory")
    return local.LocalObjects.open(Path(unquote(parts.path)))
