"""What trusted proxies say about a request: the client's address, and the URL that the client used.

Anyone can send these headers. They count only if the connection comes from a proxy that the setting `api.trusted_proxies` names, and
only as far as trusted proxies wrote them: the addresses are read from the end, up to the first that is not a trusted proxy's. Only the
family of headers that `api.forwarded_headers` names is read, because a proxy passes on what it does not know, as its client sent it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from dyff.kernel import settings, web_addresses

BASE = "dyff.base"
"""The key of an ASGI scope with the URL by which the client reached a trusted proxy, such as `https://host`; absent if none said so."""

MAX_HOPS = 32
"""The most addresses that are read; what is before them is ignored."""

_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')
_PORT = re.compile(r"(\[.*\]|[^:]*)(?::[0-9]{1,5}|:_[\w.-]+)?", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Headers = Iterable[tuple[bytes, bytes]]


class Origin(msgspec.Struct, frozen=True):
    """Where a request comes from. `client`: its address. `base`: the URL that the client used, up to the host; None if it is not known."""

    client: str
    base: str | None = None


class Proxies:
    """The proxies that are trusted."""

    def __init__(self, chosen: settings.Api) -> None:
        """Of these settings."""
        self._networks = [ipaddress.ip_network(each, strict=False) for each in chosen.trusted_proxies]
        self._standard = chosen.forwarded_headers == "forwarded"

    def trusts(self, host: str) -> bool:
        """Whether this address is a trusted proxy's."""
        found = address(host) if self._networks else None
        return found is not None and any(found in each for each in self._networks)

    def origin(self, peer: str, headers: Headers) -> Origin:
        """The origin of a request from the trusted proxy `peer`. Of what is malformed, nothing is believed."""
        return self._of_forwarded(peer, headers) if self._standard else self._of_x_forwarded(peer, headers)

    def client(self, scope: Mapping[str, Any]) -> tuple[str, int] | None:
        """The client of an ASGI scope whose `client` is the other end of the connection; None if the transport has no addresses."""
        peer: tuple[str, int] | None = scope.get("client")
        if peer is None or not self.trusts(peer[0]):
            return peer
        return self.origin(peer[0], scope["headers"]).client, 0

    def _of_x_forwarded(self, peer: str, headers: Headers) -> Origin:
        read = {name: _list(headers, b"x-forwarded-" + name) for name in (b"for", b"proto", b"host")}
        return Origin(self._client(peer, read[b"for"]), _base(_last(read[b"proto"]), _last(read[b"host"])))

    def _of_forwarded(self, peer: str, headers: Headers) -> Origin:
        hops = [_pairs(each) for each in _elements(_joined(headers, b"forwarded"))]
        last = hops[-1] if hops else {}
        return Origin(self._client(peer, [each.get("for", "") for each in hops]), _base(last.get("proto"), last.get("host")))

    def _client(self, peer: str, hops: Sequence[str]) -> str:
        """The last address that is not a trusted proxy's, or the first of the trusted ones that is known."""
        known = peer
        for hop in list(reversed(hops))[:MAX_HOPS]:
            found = address(_without_port(hop))
            if found is None:
                break
            known = str(found)
            if not self.trusts(known):
                break
        return known


def address(text: str) -> Address | None:
    """An IP address, as IPv4 if that is what an IPv6 address stands for; None if the text is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def _without_port(hop: str) -> str:
    """The address in `1.2.3.4:80`, `[::1]:80` or `::1`."""
    match = _PORT.fullmatch(hop)
    return match[1].strip("[]") if match is not None else hop


def _base(scheme: str | None, host: str | None) -> str | None:
    """Scheme and host as a URL; None if one is missing or none. Letters that are no part of a host never get into a URL of ours."""
    if scheme not in ("http", "https") or not host:
        return None
    try:
        return f"{scheme}://{web_addresses.authority(scheme, host)}"
    except ValueError:
        return None


def _joined(headers: Headers, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for each, value in headers if each == name)


def _list(headers: Headers, name: bytes) -> list[str]:
    return [each.strip() for each in _joined(headers, name).split(",")] if name else []


def _last(values: Sequence[str]) -> str | None:
    """That of the nearest proxy."""
    return (values[-1].lower() or None) if values else None


def _elements(text: str) -> Iterator[str]:
    """The elements of a header `Forwarded`; a comma in quotes separates none."""
    start, quoted, escaped = 0, False, False
    for position, letter in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _pairs(element: str) -> dict[str, str]:
    """The parameters of an element, with names in lower case; none if it is malformed or has one twice."""
    found: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None or match[1].lower() in found or element[match.end() : match.end() + 1] not in ("", ";"):
            return {}
        value = match[2]
        found[match[1].lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        position = match.end() + 1
    return found
