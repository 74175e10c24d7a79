"""Where the API server is and who we are to it: a kubeconfig, or the service account of the pod that we run in."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import yaml
from kubernetes_asyncio import config as vendor
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.client.rest import RESTClientObject

from dyff.kernel import errors

_BEARER = "BearerToken"


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster, and which namespace of it.

    `kubeconfig`: a file; `context`: of it, None: its current one. `in_cluster`: as the service account of our own pod.
    `timeout_s`: of a call; a watch lasts as long as it is asked to.
    """

    kubeconfig: str | None = None
    context: str | None = None
    in_cluster: bool = False
    namespace: str = "dyff"
    timeout_s: float = 15.0


class Access:
    """The way to the API server: its address, its TLS, and a token that may change."""

    def __init__(self, connection: Connection, configuration: Any, loader: Any) -> None:
        """Use `open`."""
        self._connection, self._configuration, self._loader = connection, configuration, loader
        self._client = RESTClientObject(configuration)

    @classmethod
    async def open(cls, connection: Connection) -> Access:
        """Read what is needed. Nothing is sent, but a kubeconfig may run a program of its own for a token.

        Raises:
            Misconfigured: it cannot be read, or lacks something.
        """
        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # watches and followed logs keep one each, for as long as they last
        try:
            loader = await _load(connection, configuration)
            return cls(connection, configuration, loader)
        except (vendor.ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            where = "in_cluster" if connection.in_cluster else f"kubeconfig {connection.kubeconfig}"
            raise errors.Misconfigured(f"cluster.kubernetes: {where} cannot be used: {error}") from error

    @property
    def url(self) -> str:
        """Of the API server, without a slash at its end."""
        return str(self._configuration.host).rstrip("/")

    @property
    def session(self) -> aiohttp.ClientSession:
        """What requests are sent by."""
        session: aiohttp.ClientSession = self._client.pool_manager
        return session

    @property
    def tls(self) -> Any:
        """The TLS that the API server is spoken to with; None: none."""
        return self.session.connector._ssl if self.url.startswith("https") else None  # type: ignore[union-attr]

    def options(self) -> dict[str, Any]:
        """What each request needs besides its own."""
        given = {"proxy": self._client.proxy, "proxy_headers": self._client.proxy_headers, "server_hostname": self._client.server_hostname}
        return {name: value for name, value in given.items() if value}

    async def headers(self) -> dict[str, str]:
        """Who we are. A service account's token is read again from its file now and then: it changes."""
        token = await self._configuration.get_api_key_with_prefix(_BEARER)
        return {"Authorization": token} if token else {}

    async def renew(self) -> None:
        """Look again who we are, since we were not believed.

        Raises:
            Misconfigured: that cannot be read any more.
        """
        try:
            self._loader = await _load(self._connection, self._configuration)
        except (vendor.ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise errors.Misconfigured(f"cluster.kubernetes: the credentials cannot be read again: {error}") from error

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()


async def _load(connection: Connection, configuration: Any) -> Any:
    if connection.in_cluster:
        vendor.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return None
    return await vendor.load_kube_config(connection.kubeconfig, connection.context, configuration, persist_config=False)
