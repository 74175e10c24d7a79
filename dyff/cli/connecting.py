"""The client of a command: which server, and which token."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from dyff.cli import credentials, reporting

if TYPE_CHECKING:
    from dyff.sdk import Client

DEFAULT = "http://127.0.0.1:8000/v0"
WITHOUT_OPTION = ("completion", "logout", "new", "test")
"""Commands that ask no server, or name theirs otherwise."""
_META = "dyff.endpoint"
_REFUSED_BY = "httpx._main"


@dataclass(frozen=True)
class Source:
    """A server, a token, and where they come from. `token`: None if there is none."""

    endpoint: str
    token: str | None = field(repr=False)
    of_endpoint: str
    of_token: str

    @property
    def address(self) -> str:
        """Of the server, as people name it."""
        return self.endpoint.removesuffix("/v0")


def with_option(command: click.Command) -> click.Command:
    """Give a command, and all commands of a group, the option `--endpoint`, if it uses the server in use."""
    if command.name in WITHOUT_OPTION:
        return command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            with_option(each)
        return command
    command.params.append(
        click.Option(
            ["--endpoint"], metavar="URL", expose_value=False, callback=_keep, is_eager=True,
            help="The server, in place of DYFF_API_ENDPOINT and of the one of 'dyff login'.",
        )
    )  # fmt: skip
    return command


def _keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[_META] = value


def source(given: str | None = None) -> Source:
    """What this command uses: an option, then the environment, then the file of `dyff login`. `given`: the server, as an argument.

    A token of the environment is sent only to a server that an option or the environment names, or to the default one: a file must not lead
    it elsewhere.

    Raises:
        ValueError: the address is none; the message says what to use.
        credentials.Wrong: the file is not to be trusted.
    """
    from dyff.sdk import transport

    context = click.get_current_context(silent=True)
    option = given or (context.meta.get(_META) if context is not None else None)
    set_address, set_token = os.environ.get("DYFF_API_ENDPOINT"), os.environ.get("DYFF_API_TOKEN")
    file = credentials.place()
    # A program that has set both never depends on the file.
    kept = credentials.Credentials() if set_token else credentials.read(file)
    if option:
        address, of_endpoint = option, "--endpoint" if given is None else "the command line"
    elif set_address:
        address, of_endpoint = set_address, "DYFF_API_ENDPOINT"
    elif kept.current is not None:
        address, of_endpoint = kept.current, str(file)
    else:
        address, of_endpoint = DEFAULT, "the default"
    endpoint = transport.endpoint_of(address)
    if set_token:
        return Source(endpoint, set_token, of_endpoint, "DYFF_API_TOKEN")
    return Source(endpoint, kept.tokens.get(endpoint), of_endpoint, str(file))


@contextmanager
def connected(**options: Any) -> Iterator[Client]:
    """The client of this process; its errors end the command. `options`: of `Client`, such as its timeout."""
    with translated():
        found = source()
        if found.token is None:
            reporting.stop(
                f"you are not signed in to {found.address}: run 'dyff login {quote(found.address)}', or set DYFF_API_TOKEN",
                reporting.NOT_SIGNED_IN,
            )
        with client(found.endpoint, found.token, **options) as made:
            yield made


@contextmanager
def translated() -> Iterator[None]:
    """As `reporting.translated`, also of the file of `dyff login`."""
    try:
        with reporting.translated():
            yield
    except credentials.Wrong as error:
        reporting.stop(str(error), reporting.NOT_SIGNED_IN)


def client(endpoint: str, token: str, **options: Any) -> Client:
    """A client of that server."""
    _import_httpx()
    from dyff import sdk

    return sdk.Client(endpoint=endpoint, api_token=token, **options)


def _import_httpx() -> None:
    """Import httpx without its own command line, which would load rich and pygments where they are installed (ADR 50)."""
    if "httpx" in sys.modules or _REFUSED_BY in sys.modules:
        return
    sys.modules[_REFUSED_BY] = None  # type: ignore[assignment]  # what `import` takes for a module that is not there
    try:
        import httpx  # noqa: F401  # so that it is loaded
    finally:
        del sys.modules[_REFUSED_BY]
