"""Runs git so that a repository can do no harm, and so that git connects only to hosts that a step may fetch from.

git does not follow redirects. The place that a repository's URL leads to is found with a client that checks every host
(`dyff.workflows.addresses`), and git is given the addresses that were checked, so it does not resolve the host itself.

Environment, optional: `DYFF_GIT_HOSTS`, a comma-separated list of the hosts that repositories may be on; any host if not set.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import anyio
import anyio.to_thread
import httpx

from dyff.workflows import addresses, downloads, endings

_PASSED = ("PATH", "LANG", "TMPDIR", "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "GIT_SSL_CAINFO")
_PROXIED = ("http", "https", "all")
_LOCATE_S = 60.0
_REFS = "/info/refs"
_OLDEST_GIT = (2, 37)
"""The first version that can be given the addresses of a host."""


async def check() -> None:
    """Check that git is recent enough.

    Raises:
        Ending: it is not.
    """
    done = await anyio.run_process(["git", "version"], check=False)
    found = re.search(rb"(\d+)\.(\d+)", done.stdout)
    if found is None or (int(found[1]), int(found[2])) < _OLDEST_GIT:
        oldest = ".".join(map(str, _OLDEST_GIT))
        raise endings.Ending(endings.MISCONFIGURED, f"Models from Git need git {oldest} or later in the steps image. Ask for an update.")


def command(*arguments: str, settings: Iterable[str] = ()) -> list[str]:
    """A command line of git, with the settings that make it harmless and with `settings`."""
    # Without redirects git does not use a repository's alternates on other hosts either.
    always = ("core.hooksPath=/dev/null", "credential.helper=", "http.followRedirects=false", "transfer.bundleURI=false")
    return ["git", *(word for each in (*always, *settings) for word in ("-c", each)), *arguments]


def environment(directory: Path) -> dict[str, str]:
    """The environment of git. It inherits only the paths, the locale, and the settings for proxies and TLS."""
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        **{f"{scheme}_proxy": proxy for scheme, proxy in urllib.request.getproxies().items() if scheme in _PROXIED},
        "HOME": str(directory),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "https:http",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_LFS_SKIP_SMUDGE": "1",
    }


async def led_to(url: str) -> str:
    """The URL that a repository's URL leads to. If nothing useful is there, git will say what is wrong.

    Raises:
        Ending: it leads to an internal host.
    """
    if allowed_hosts() is not None:
        return url  # an allowed host must not lead to another
    question = f"{url.rstrip('/')}{_REFS}?service=git-upload-pack"
    try:
        with anyio.fail_after(_LOCATE_S):
            async with downloads.client() as http, http.stream("GET", question) as answer:
                found = answer.url
                if not answer.history or answer.status_code != 200 or not found.path.endswith(_REFS):
                    return url
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return url
    return str(found.copy_with(query=None, fragment=None)).removesuffix(_REFS)


async def pinned(url: str) -> list[str]:
    """The setting that gives git the addresses of the URL's host. A proxy that makes the connection resolves the host itself.

    Raises:
        Ending: the host is internal, or it cannot be resolved.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise endings.Ending(endings.WRONG_DATA, f"{shown(url)} is not fetched: its port is not a number below 65536.") from error
    if not host.isascii() or host.endswith("."):  # git's library would compare another form of it with the setting
        raise endings.Ending(endings.WRONG_DATA, f"{shown(url)} is not fetched: write its host in ASCII, without a final dot.")
    try:
        found = await anyio.to_thread.run_sync(addresses.resolve, host, port, abandon_on_cancel=True)
    except OSError as error:
        if addresses.proxy_for(parts.scheme, host) is not None:
            return []
        raise endings.Ending(endings.TRY_AGAIN, f"{shown(url)} cannot be cloned: {host} cannot be resolved. Try again.") from error
    listed = ",".join(f"[{each}]" if ":" in each else each for each in found)
    return [f"http.curloptResolve={host}:{port}:{listed}"] if not _is_address(host) else []


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def allowed_hosts() -> list[str] | None:
    """Return the hosts that repositories may be on; None for any."""
    value = os.environ.get("DYFF_GIT_HOSTS")
    return None if value is None else [each.strip().lower() for each in value.split(",") if each.strip()]


def shown(url: str) -> str:
    """Return a URL in a form that is safe to show: without the parts that could hold a secret."""
    return urlunsplit(urlsplit(without_user(url))._replace(query="", fragment=""))


def without_user(url: str) -> str:
    """Return a URL without its user and password, as git shows it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
