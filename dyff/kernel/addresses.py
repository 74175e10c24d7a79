"""Which addresses are on the Internet. Everything else is part of an internal network, whose services trust the addresses in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""Networks whose last 32 bits are an IPv4 address: for translation, for old tunnels, and for translation without state."""
_ALSO_INTERNAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10", "5f00::/16")))
"""Reserved for local use, but public to some releases of Python."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def plain(host: str) -> str:
    """A host in the form in which hosts are compared: lower case, without brackets and without a final dot."""
    return host.strip("[]").rstrip(".").lower()


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
