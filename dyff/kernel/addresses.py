"""Which addresses are on the Internet. Everything else is part of an internal network, whose services trust the addresses in it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""Networks whose last 32 bits are an IPv4 address: for translation, for old tunnels, and for translation without state."""
_ALSO_INTERNAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10", "5f00::/16")))
"""Reserved for local use, but public to some releases of Python."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def plain(host: str) -> str:
    """A host in the form in which hosts are compared: lower case, without brackets and without a final dot."""
    return host.strip("[]").rstrip(".").lower()


def host_and_port(place: str) -> tuple[str, int]:
    """The host, in the form of `plain`, and the port of a text such as `10.0.0.7:8080` or `[fd00::7]:8080`.

    Raises:
        ValueError: it is no such text.
    """
    host, colon, port = place.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    known = plain(host)
    if not colon or not known or (":" in known) != is_bracketed or not re.fullmatch(r"[a-z0-9:._-]+", known):
        raise ValueError(f"{place!r} is no host and port such as 10.0.0.7:8080, model.example.com:443 or [fd00::7]:8080")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{place!r} has no port from 1 to 65535, as 10.0.0.7:8080 has")
    return known, int(port)


def is_public(address: str) -> bool:
    """Whether an address is on the Internet. An IPv6 address that stands for an IPv4 address is as public as that one."""
    found = ipaddress.ip_address(address)
    return all(map(_is_global, (found, *_embedded(found))))


def _is_global(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in each for each in _ALSO_INTERNAL)


def _embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address can end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in each for each in _EMBEDDING):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
