"""Rules about addresses: whether pods and clients can reach what they are sent to."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

from dyff.kernel import web_addresses
from dyff.serve.judging import Case, Finding

_OURS = ("health", "objects", "ready", "v0")
"""The first words of our own paths."""

_INSIDE = (".svc", ".cluster.local", ".local", ".internal")
"""Ends of names that only a cluster or a private network resolves."""


def _host(url: str | None) -> str:
    """The host of a URL in lower case; empty if it has none."""
    try:
        return (urlsplit(url or "").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _url_problem(url: str) -> str | None:
    """Why it is no base URL; None if it is one."""
    try:
        web_addresses.normal(url)
    except ValueError as error:
        return str(error)
    return None


def is_of_this_machine(host: str) -> bool:
    """Whether a host is this machine to everyone: a loopback address, or no certain one."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_open(case: Case) -> bool:
    """Whether clients on other machines can reach the API."""
    chosen = case.settings.api
    return not is_of_this_machine(_host(chosen.public_url)) if chosen.public_url else not _is_loopback(chosen.host)


def _is_loopback(host: str) -> bool:
    return is_of_this_machine(host) and not _is_any(host)


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def steps_endpoint(case: Case) -> Iterator[Finding]:
    """In a pod of Kubernetes, an address such as 127.0.0.1 is the pod itself."""
    if not case.runs_steps or not case.on_kubernetes or case.settings.objects.url is None:
        return
    own = case.settings.objects.steps_endpoint
    endpoint = own or (case.store.endpoint if case.store is not None else None)
    if own is not None and (problem := _url_problem(own)):
        yield Finding(
            settings=("objects.steps_endpoint",),
            problem=f"{own!r} is no URL of a store: {problem}",
            fix="set one such as http://minio:9000",
        )
    elif endpoint is not None and is_of_this_machine(_host(endpoint)):
        yield Finding(
            settings=("objects.steps_endpoint",),
            problem=f"pods of Kubernetes cannot reach the object store at {endpoint}, which is the pod itself there",
            fix="set it to an address of the store that pods can reach",
        )


def public_url(case: Case) -> Iterator[Finding]:
    """The URL that clients follow: valid, and not the server's own loopback address if clients are elsewhere."""
    if not any(row.serves_http for row in case.rows):
        return
    chosen = case.settings.api
    if chosen.public_url is None:
        if _is_any(chosen.host):
            signs = "signed URLs of uploads and downloads" if case.settings.objects.url is None else "the addresses that Dyff prints"
            yield Finding(
                settings=("api.public_url",),
                problem=f"not set, and the API listens on every address ({chosen.host}): {signs} would begin with this machine's loopback "
                "address, which other machines and pods cannot reach",
                fix="set it to the URL by which clients reach the API, without /v0",
                refused=False,
            )
        return
    try:
        first = web_addresses.prefix(chosen.public_url).split("/")[1:2]
    except ValueError as error:
        problem = f"{chosen.public_url!r} is no URL of an API: {error}"
        yield Finding(settings=("api.public_url",), problem=problem, fix="set one such as https://api.example.org")
        return
    if first and first[0] in _OURS and not chosen.public_url.rstrip("/").endswith("/v0"):
        yield Finding(
            settings=("api.public_url",),
            problem=f"its path begins with /{first[0]}, as paths of the API do, so it would not be known which of them a request means",
            fix="choose a path that begins with another word",
        )
    elif urlsplit(chosen.public_url).path.rstrip("/").endswith("/v0"):
        yield Finding(
            settings=("api.public_url",),
            problem="it ends in /v0, which Dyff adds itself, so every signed URL would be wrong",
            fix="remove /v0",
        )
    elif is_of_this_machine(_host(chosen.public_url)) and not _is_loopback(chosen.host):
        yield Finding(
            settings=("api.public_url",),
            problem=f"{chosen.public_url} is the client's own machine to other machines, but the API listens on {chosen.host}",
            fix="set it to the URL by which clients reach the API",
            refused=False,
        )


def signed_urls(case: Case) -> Iterator[Finding]:
    """Clients upload and download at the object store itself; its address for the server may be nothing to them."""
    store = case.store
    if not any(row.serves_http for row in case.rows) or store is None or store.public_endpoint is not None or not _is_open(case):
        return
    host = _host(store.endpoint)
    if is_of_this_machine(host) or host.endswith(_INSIDE):
        yield Finding(
            settings=("objects.url",),
            problem=f"it has no public_endpoint, so clients would be sent to {store.endpoint} for uploads and downloads",
            fix="add public_endpoint=URL, the address of the store for clients",
            refused=False,
        )


def proxies(case: Case) -> Iterator[Finding]:
    """A proxy that is trusted can name any address as the client's."""
    for each in case.settings.api.trusted_proxies:
        if ipaddress.ip_network(each, strict=False).prefixlen == 0 and any(row.serves_http for row in case.rows):
            yield Finding(
                settings=("api.trusted_proxies",),
                problem=f"{each} trusts every client to say which address it has",
                fix="name the addresses of the proxies",
                refused=False,
            )


def level(case: Case) -> Iterator[Finding]:
    """A level of the log that does not exist."""
    if case.settings.log_level.upper() not in logging.getLevelNamesMapping():
        yield Finding(settings=("log_level",), problem=f"{case.settings.log_level!r} is no level", fix="set debug, info, warning or error")
