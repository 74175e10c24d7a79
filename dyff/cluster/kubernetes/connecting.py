"""Address and credentials of the API server: from a kubeconfig, or from the service account of our own pod."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
import anyio
import msgspec
import yaml
from kubernetes_asyncio import config as vendor
from kubernetes_asyncio.client import Configuration

from dyff.kernel import errors

_BEARER = "BearerToken"
_READ_BYTES = 2**21
"""A line of a watch contains a whole object, and etcd stores objects of up to 1.5 MiB."""
_UNUSABLE = (vendor.ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError)
"""Exceptions that the vendor raises for an invalid or incomplete kubeconfig."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster, and a namespace of it.

    `kubeconfig`: a file; `context`: in that file, None for its current one. `in_cluster`: use the service account of our own pod.
    `timeout_s`: of a request; a watch lasts as long as its caller wants.
    """

    kubeconfig: str | None = None
    context: str | None = None
    in_cluster: bool = False
    namespace: str = "dyff"
    timeout_s: float = 15.0


class Access:
    """Access to the API server: its address, its TLS settings, and a token that can change."""

    def __init__(self, connection: Connection, configuration: Any) -> None:
        """Use `open`."""
        self._connection, self._configuration = connection, configuration
        self.renewals = 0
        """How often the credentials were read again."""
        self._renewing = anyio.Lock()
        self._tls = _tls(configuration)
        # No limit: each watch and each followed log occupies a connection while it lasts.
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        self.session = aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=_READ_BYTES)
        """The session that sends requests."""

    @classmethod
    async def open(cls, connection: Connection) -> Access:
        """Read the configuration. Nothing is sent, but a kubeconfig can run a program to get a token.

        Raises:
            Misconfigured: the configuration cannot be read, or is incomplete.
        """
        configuration = Configuration()
        try:
            await _load(connection, configuration)
            return cls(connection, configuration)
        except _UNUSABLE as error:
            where = "in_cluster" if connection.in_cluster else f"kubeconfig {connection.kubeconfig}"
            raise errors.Misconfigured(f"cluster.kubernetes: {where} cannot be used: {error}") from error

    @property
    def url(self) -> str:
        """The URL of the API server, without a trailing slash."""
        return str(self._configuration.host).rstrip("/")

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context for the API server; None if its URL is not https."""
        return self._tls if self.url.startswith("https") else None

    def options(self) -> dict[str, Any]:
        """Options that are passed to every request."""
        known = self._configuration
        given = {"proxy": known.proxy, "proxy_headers": known.proxy_headers, "server_hostname": known.tls_server_name}
        return {name: value for name, value in given.items() if value}

    async def headers(self) -> dict[str, str]:
        """The authorization header. A service account's token is read again from its file periodically, since it changes."""
        try:
            token = await self._configuration.get_api_key_with_prefix(_BEARER)
        except _UNUSABLE as error:
            raise _unreadable(error) from error
        return {"Authorization": token} if token else {}

    async def renew(self, known: int) -> None:
        """Read the credentials again, after the server has rejected them. `known`: `renewals` when the rejected request was made; if they
        were read since then, that suffices.

        Raises:
            Unavailable: they cannot be read at the moment, for instance because they are being replaced.
        """
        async with self._renewing:
            if self.renewals != known:
                return
            try:
                await _load(self._connection, self._configuration)
                _certify(self._tls, self._configuration)
            except _UNUSABLE as error:
                raise _unreadable(error) from error
            self.renewals += 1

    async def close(self) -> None:
        """Close all connections."""
        await self.session.close()


async def _load(connection: Connection, configuration: Any) -> None:
    if connection.in_cluster:
        vendor.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await vendor.load_kube_config(connection.kubeconfig, connection.context, configuration, persist_config=False)


def _unreadable(error: BaseException) -> errors.Unavailable:
    return errors.Unavailable(f"cluster.kubernetes: the credentials cannot be read again: {error}")


def _certify(context: ssl.SSLContext, configuration: Any) -> None:
    """Load our certificate, if we have one. New connections use it."""
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    _certify(context, configuration)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
