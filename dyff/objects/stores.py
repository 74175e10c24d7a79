"""Object stores by URL: how a step reaches the store that the server uses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from dyff.kernel import errors
from dyff.objects import local, port


def open_store(url: str) -> port.Objects:
    """The store at `url`, e.g. `file:///var/lib/dyff/objects`. It cannot sign URLs.

    Raises:
        Misconfigured: there can be no store at such a URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise errors.Misconfigured(f"no object store has the URL {url!r}: it must be file:///absolute/directory")
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise errors.Misconfigured(f"the object store's URL {url!r} must name an absolute directory of this machine, as file:///directory")
    return local.LocalObjects.open(Path(unquote(parts.path)))
