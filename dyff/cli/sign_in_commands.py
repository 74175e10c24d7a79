"""`dyff login`, `logout` and `whoami`: which server, whose token, and what it allows."""

from __future__ import annotations

import ipaddress
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from dyff.cli import connecting, credentials, reporting, terminals

if TYPE_CHECKING:
    from dyff.sdk import models

MAX_TOKEN_CHARS = 65_536
"""Of a line of standard input. A token with a thousand grants has less."""
SOON_S = 7 * 86_400
_INVITATION = "dyff-invite-"
_url = click.argument("url", required=False, metavar="[URL]")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command()
@_url
@click.option("--status", is_flag=True, help="Only show where you are signed in, and as whom; as 'dyff whoami'.")
@_as_json
def login(url: str | None, status: bool, as_json: bool) -> None:
    """Sign in to the server at URL: store a token, which is asked for, or read from standard input.

    'dyff token create' makes a token on the server. It is checked, and stored in a file that only you can read. This server is used from
    now on; DYFF_API_ENDPOINT and DYFF_API_TOKEN replace it.
    """
    if status:
        if url is not None:
            raise click.UsageError("--status shows the server that commands use: leave out URL, or use --endpoint URL")
        _show(as_json)
        return
    with connecting.translated():
        file, kept = credentials.place(), credentials.read(credentials.place())
        found = connecting.source(url)
        if _is_exposed(found.endpoint):
            reporting.note(f"warning: {found.address} is not encrypted: everybody on the way can read the token")
        token = _token(found.address)
        with connecting.client(found.endpoint, token, retries=0) as client:
            caller = client.caller()
        kept.tokens[found.endpoint], kept.current = token, found.endpoint
        credentials.write(file, kept)
    if as_json:
        reporting.document(_described(found.endpoint, str(file), caller))
        return
    reporting.line(reporting.harmless(f"signed in to {found.address} as {_name(caller)}, until {caller.expires}"))
    reporting.note(f"the token is in {file}; 'dyff logout' removes it")
    if found.of_token == "DYFF_API_TOKEN":
        reporting.note("warning: DYFF_API_TOKEN is set, and is used in place of this token as long as it is")


def _token(address: str) -> str:
    """The token, from a person or from standard input."""
    if terminals.is_person():
        text = click.prompt(f"Token for {reporting.harmless(address)} (it is not shown)", hide_input=True, err=True, prompt_suffix=": ")
    else:
        text = sys.stdin.readline(MAX_TOKEN_CHARS + 1) if sys.stdin is not None else ""
    token = str(text).strip()
    if not token:
        reporting.stop("there is no token on standard input: dyff login URL < FILE, or use a terminal", reporting.WRONG)
    if len(token) > MAX_TOKEN_CHARS or not (token.isascii() and token.isprintable()) or " " in token:
        reporting.stop("that is no token: it is one word of letters, digits, '-', '_' and '.'", reporting.WRONG)
    if token.startswith(_INVITATION):
        reporting.stop(
            "that is the code of an invitation, which belongs to one safety case: set DYFF_API_TOKEN to it, and use 'dyff get' and "
            "'dyff download'",
            reporting.WRONG,
        )
    return token


def _is_exposed(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


@click.command()
@_url
@click.option("--revoke", is_flag=True, help="Also revoke the token on the server, so that no copy of it works any more.")
def logout(url: str | None, revoke: bool) -> None:
    """Remove the token of the server at URL, or of the one in use, from the file of 'dyff login'."""
    with connecting.translated():
        from dyff.sdk import transport

        file = credentials.place()
        kept = credentials.read(file)
        if url is None and kept.current is None:
            reporting.stop("you are not signed in with 'dyff login'", reporting.NOT_SIGNED_IN)
        endpoint = transport.endpoint_of(url) if url is not None else str(kept.current)
        address = endpoint.removesuffix("/v0")
        if (token := kept.tokens.pop(endpoint, None)) is None:
            reporting.stop(f"you are not signed in to {address}", reporting.NOT_SIGNED_IN)
        if revoke:
            with connecting.client(endpoint, token, retries=0) as client:
                caller = client.caller()
                client.accounts.revoke_token(caller.account or caller.subject, caller.token)
        kept.current = None if kept.current == endpoint else kept.current
        credentials.write(file, kept)
    reporting.line(f"signed out of {reporting.harmless(address)}{' and revoked the token' if revoke else ''}")
    if not revoke:
        reporting.note("copies of the token work until it expires or is revoked (--revoke, or 'dyff token revoke' on the server)")


@click.command()
@_as_json
def whoami(as_json: bool) -> None:
    """Check the address and the token: which server answers, whose token it is, what it allows now, and until when."""
    _show(as_json)


def _show(as_json: bool) -> None:
    with connecting.connected() as client:
        caller = client.caller()
        origin = connecting.source()
    found = _described(origin.endpoint, origin.of_token, caller)
    if as_json:
        reporting.document(found)
        return
    reporting.fields(
        [*((name, value) for name, value in found.items() if name != "grants"), *(("grants", _grant(g)) for g in caller.grants)]
    )
    left = _left_s(caller)
    if left is not None and left < SOON_S:
        reporting.note(f"the token expires in {max(0, left / 86_400):.1f} days: make a new one, and run 'dyff login'")


def _left_s(caller: models.Caller) -> float | None:
    try:
        return (datetime.fromisoformat(caller.expires.replace("Z", "+00:00")) - datetime.now(UTC)).total_seconds()
    except ValueError:
        return None


def _described(endpoint: str, token_from: str, caller: models.Caller) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "account": caller.account,
        "name": caller.name,
        "subject": None if caller.account else caller.subject,
        "token": caller.token,
        "tokenFrom": token_from,
        "expires": caller.expires,
        "grants": caller.grants,
    }


def _name(caller: models.Caller) -> str:
    return f"{caller.name} ({caller.account})" if caller.name else caller.account or caller.subject


def _grant(grant: models.AccessGrant) -> str:
    """A grant in one line."""
    parts = ((name, getattr(grant, name)) for name in ("accounts", "entities"))
    where = [f"{name} {', '.join(map(str, values))}" for name, values in parts if values]
    what = f"{', '.join(grant.functions)} on {', '.join(grant.resources)}"
    return " of ".join([what, *(["; ".join(where)] if where else [])])
