"""Which hosts a step may connect to for data that a user chose: public ones, and those that an administrator allows.

A URL of a user, and every place that it redirects to, could otherwise lead to the services of an internal network, which trust the
addresses of this one. Names are resolved here, once, and the connection goes to an address that was checked.

Environment, optional: `DYFF_FETCH_ALLOWED_HOSTS`, a comma-separated list of names and addresses that may be internal.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from dyff.kernel.addresses import is_public, plain
from dyff.workflows import endings

VARIABLE = "DYFF_FETCH_ALLOWED_HOSTS"


def allowed_hosts() -> frozenset[str]:
    """The hosts that may be internal, in lower case."""
    given = os.environ.get(VARIABLE, "").split(",")
    return frozenset(plain(each.strip()) for each in given if each.strip())


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, all of which a step may connect to. It blocks; call it in a thread.

    Raises:
        Ending: one of them is internal, and the host is not allowed.
        OSError: it cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(plain(host), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host[:100]!r} is not a host name") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if plain(host) not in allowed_hosts() and not all(map(is_public, addresses)):
        raise refused(host)
    return addresses


def refused(host: str) -> endings.Ending:
    """The end of a step that would have to connect to an internal host. It does not say which address that has."""
    return endings.Ending(
        endings.WRONG_DATA,
        f"{host[:100]} is a host of an internal network, from which nothing is fetched. Use a public one, or ask an administrator to "
        f"name it in the setting operator.fetch_allowed_hosts.",
    )


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a URL; None if the step connects to its host itself."""
    if urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies()
    return found.get(scheme) or found.get("all")


class _Guard:
    """The addresses that are allowed although they are internal, and whether another internal one was tried."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed, self.has_refused = allowed, False


_guarding: ContextVar[_Guard | None] = ContextVar("guarding", default=None)


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """In this context, and in threads that are started from it, Python's own sockets connect to public and allowed addresses only.

    For libraries that make their connections themselves. Connections of an event loop are not seen. `what`: is connected to, for messages.

    Raises:
        Ending: an internal address was tried, and the context failed.
    """
    _install()
    guard = _Guard(_allowed_addresses())
    token = _guarding.set(guard)
    try:
        yield
    except Exception as error:
        if guard.has_refused:
            raise refused(what) from error
        raise
    finally:
        _guarding.reset(token)


def _allowed_addresses() -> frozenset[str]:
    """The addresses of allowed hosts and of the proxies that the environment names."""
    proxies = (urlsplit(each if "://" in each else f"http://{each}").hostname for each in urllib.request.getproxies().values())
    found: set[str] = set()
    for host in {*allowed_hosts(), *(each for each in proxies if each)}:
        with contextlib.suppress(OSError, UnicodeError):
            found |= {str(each[4][0]) for each in socket.getaddrinfo(host, None)}
    return frozenset(found)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Called by the interpreter before a socket connects, with the address that was really chosen."""
    if event != "socket.connect":
        return
    guard = _guarding.get()
    if guard is None or arguments[0].family not in (socket.AF_INET, socket.AF_INET6):
        return
    address = str(arguments[1][0])
    if address not in guard.allowed and not is_public(address):
        guard.has_refused = True
        raise PermissionError(f"{address} is an internal address")  # an OSError, so that the socket is closed


_installed = False


def _install() -> None:
    """An audit hook cannot be removed, so there is one, which looks at the context."""
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
