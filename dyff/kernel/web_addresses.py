"""Base URLs in the one form in which clients send them: what a signature covers, and what is compared, has no second spelling. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252})", re.ASCII)
_PATH = "/~:@!$&'()*+,;="


def normal(url: str) -> str:
    """The base URL as a client sends it: scheme and host in lower case, other letters as IDNA, without a default port and a final slash.

    Raises:
        ValueError: it is no `http://` or `https://` URL of a server, or it has credentials, a query or a fragment; the message says which.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in _PORTS or not parts.netloc:
        raise ValueError("it must begin with http:// or https:// and a host")
    if parts.query or parts.fragment or url.rstrip().endswith(("?", "#")):
        raise ValueError("it must have no query and no fragment")
    if {".", ".."} & {unquote(each) for each in parts.path.split("/")}:
        raise ValueError("its path must have no part '.' or '..', which clients remove")
    return f"{parts.scheme}://{authority(parts.scheme, parts.netloc)}{path(parts.path)}"


def authority(scheme: str, netloc: str) -> str:
    """Host and port in the form in which a client sends them in the header Host, such as `host`, `host:81` or `[::1]:81`.

    Raises:
        ValueError: it is none, or has credentials.
    """
    if "@" in netloc:
        raise ValueError("it must have no user name and no password")
    parts = urlsplit(f"//{netloc}")
    if parts.path or parts.query or parts.fragment:
        raise ValueError("the host has a character that no host has")
    port = parts.port  # it is checked here
    name = host(parts.hostname or "")
    if netloc.startswith("[") != name.startswith("["):
        raise ValueError("an IPv6 address, and nothing else, is in brackets")
    return name if port in (None, _PORTS[scheme]) else f"{name}:{port}"


def host(name: str) -> str:
    """A host name, or an address (IPv6 in brackets), in the form in which clients send it.

    Raises:
        ValueError: it is none.
    """
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name).compressed}]"
    if not name.isascii():
        import idna  # costs some milliseconds, which most hosts do not need

        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError as error:
            raise ValueError(f"the host {name!r} is no host name") from error
    if not _NAME.fullmatch(name.lower()):
        raise ValueError(f"the host {name!r} is no host name")
    return name.lower()


def path(given: str) -> str:
    """A path without a final slash, every character quoted that has to be, and none twice. Its segments stay as they are."""
    return "/".join(quote(unquote_to_bytes(each), safe=_PATH.replace("/", "")) for each in given.rstrip("/").split("/"))


def prefix(base: str | None) -> str:
    """What the paths of a base URL begin with, such as `/dyff/`; empty without a base URL, or if it has no path.

    Raises:
        ValueError: see `normal`.
    """
    found = urlsplit(normal(base)).path if base is not None else ""
    return f"{found}/" if found else ""
