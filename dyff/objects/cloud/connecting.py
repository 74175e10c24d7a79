"""The address of a store, and the vendor's client objects for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from obstore import exceptions as vendor
from obstore.store import AzureStore, GCSStore, S3Store

from dyff.entities import tree_paths
from dyff.kernel import errors, web_addresses
from dyff.objects.cloud import sigv4

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Service = Literal["s3", "gs", "az"]
Store = S3Store | GCSStore | AzureStore

REGION = "us-east-1"
CONNECT_S, TIMEOUT_S = 5.0, 20.0
_RETRIES = 3
_LONGEST = timedelta(days=1)
"""Time limit of a whole request. The effective limit is how long it may be idle."""
_PARAMETERS = ("endpoint", "public_endpoint", "region", "account", "timeout_s", "ambient")
CREDENTIALS: dict[Service, tuple[str, ...]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_CLIENT_ID"),
}
"""The variables of which one must be set, by service, the usual one first. The vendor's library finds others that belong to them."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect to a store, and as whom.

    `bucket`: Azure's container. `prefix`: of all keys, without slashes at its ends; several installations can share a
    bucket. `endpoint`: the URL under which we reach it; None for the service's own. `public_endpoint`: the URL under which clients
    reach it, with which signed URLs begin; None for the same. `region`: of S3. `account`: of Azure. `credentials`:
    of S3; None to use what the vendor's library finds in the environment, which is not enough to sign URLs of S3. `timeout_s`:
    a request that is idle for this long has failed. `ambient`: if the environment has no credentials, request those of the
    machine's role; only on demand, since that is not what is meant when a variable was forgotten.
    """

    service: Service = "s3"
    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str = REGION
    account: str | None = None
    credentials: sigv4.Credentials | None = None
    timeout_s: float = TIMEOUT_S
    ambient: bool = False

    @classmethod
    def from_url(cls, url: str, environment: Mapping[str, str], *, anonymous: bool = False) -> Connection:
        """Parse a URL such as `s3://bucket/prefix?endpoint=https://host`, also `gs://` and `az://`; credentials only from the environment.

        Parameters: `endpoint`, `public_endpoint`, `region`, `account`, `timeout_s`, `ambient` (`true`). `anonymous`: do not require
        credentials, because the connection is only used to pass its address on.

        Raises:
            Misconfigured: the URL is not that of a store, or `environment` has no credentials for it.
        """
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        if "@" in parts.netloc:  # never repeat the URL: it contains a secret
            raise errors.Misconfigured("the object store's URL must have no credentials: set them in the environment, as AWS_ACCESS_KEY_ID")
        unknown = sorted(given.keys() - set(_PARAMETERS))
        if parts.scheme not in get_args(Service) or not parts.netloc or parts.fragment or unknown:
            why = f"the parameter {unknown[0]!r} is unknown" if unknown else "it must be s3://bucket/prefix, gs:// or az://"
            raise errors.Misconfigured(f"the object store's URL {url!r}: {why}; its parameters are {', '.join(_PARAMETERS)}")
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or REGION
        account = environment.get("AZURE_STORAGE_ACCOUNT_NAME")
        endpoint = environment.get("AWS_ENDPOINT_URL") if parts.scheme == "s3" else None
        named = {"service": parts.scheme, "bucket": unquote(parts.netloc), "prefix": unquote(parts.path).strip("/")}
        try:
            made = msgspec.convert({"region": region, "account": account, "endpoint": endpoint, **given, **named}, cls, strict=False)
        except msgspec.ValidationError as error:
            raise errors.Misconfigured(f"the object store's URL {url!r}: {error}") from error
        made = msgspec.structs.replace(made, credentials=_credentials(environment) if parts.scheme == "s3" else None)
        made.check()
        names = CREDENTIALS[made.service]
        if not anonymous and not made.ambient and not any(environment.get(name) for name in names):
            others = f"or one of {', '.join(names[1:])}, or ambient=true in its URL for the role of this machine"
            raise errors.Misconfigured(f"the object store {made.url()} needs credentials: set {names[0]} and what belongs to it, {others}")
        return made

    def url(self, *, endpoint: str | None = None) -> str:
        """The URL of this connection, without credentials and without `public_endpoint`, which steps never need.

        `endpoint`: the endpoint under which the receivers reach the store; None for ours.
        """
        defaults = {"region": REGION, "timeout_s": TIMEOUT_S, "ambient": False}
        values = {name: getattr(self, name) for name in _PARAMETERS if name != "public_endpoint"}
        values["endpoint"] = endpoint or self.endpoint
        said = {name: value for name, value in values.items() if value != defaults.get(name)}
        query = urlencode({name: "true" if value is True else value for name, value in said.items()})
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"{self.service}://{quote(self.bucket)}{path}" + (f"?{query}" if query else "")

    def check(self) -> None:
        """Validate the connection.

        Raises:
            Misconfigured: it cannot be that of a store.
        """
        problem = tree_paths.path_problem(self.prefix) if self.prefix else None
        if problem:
            raise errors.Misconfigured(f"the object store's prefix {self.prefix!r} {problem}")
        for name in ("endpoint", "public_endpoint"):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                web_addresses.normal(value)
            except ValueError as error:
                raise errors.Misconfigured(f"the object store's {name} is no URL of a store: {error}") from error
        if self.service == "az" and not self.account:
            raise errors.Misconfigured(
                "an object store of Azure needs the name of its account: give account, or AZURE_STORAGE_ACCOUNT_NAME"
            )

    def public_base(self) -> str:
        """The beginning of signed URLs of S3, including the bucket."""
        endpoint = self.public_endpoint or self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        return f"{web_addresses.normal(endpoint)}/{self.bucket}"

    def connect(self, *, retries: bool = True, public: bool = False) -> Store:
        """The vendor's store object. `retries`: whether it retries calls. `public`: with the public endpoint. Sends nothing yet.

        Raises:
            Misconfigured: the vendor's library refuses the settings.
        """
        endpoint = self.public_endpoint if public and self.public_endpoint else self.endpoint
        endpoint = web_addresses.normal(endpoint) if endpoint is not None else None
        client: ClientConfig = {
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(CONNECT_S, self.timeout_s)),
            "read_timeout": timedelta(seconds=self.timeout_s),
            "timeout": _LONGEST,
        }
        policy: RetryConfig = {"max_retries": _RETRIES if retries else 0, "retry_timeout": timedelta(seconds=self.timeout_s)}
        try:
            return self._store(endpoint, client, policy)
        except (vendor.BaseError, ValueError, OSError) as error:
            raise errors.Misconfigured(f"the object store {self.service}://{self.bucket}: {first_line(error)}") from error

    def _store(self, endpoint: str | None, client: ClientConfig, policy: RetryConfig) -> Store:
        given: dict[str, Any] = {"client_options": client, "retry_config": policy}
        if endpoint:
            given["base_url" if self.service == "gs" else "endpoint"] = endpoint
        if self.service == "gs":
            return GCSStore(self.bucket, **given)
        if self.service == "az":
            return AzureStore(self.bucket, account_name=self.account, **given)
        if self.credentials is not None:
            names = ("access_key_id", "secret_access_key", "session_token")
            given |= {name: value for name in names if (value := getattr(self.credentials, name)) is not None}
        return S3Store(self.bucket, region=self.region, virtual_hosted_style_request=False, **given)


def first_line(error: BaseException) -> str:
    """The first line of the vendor's message, for people; the full text can be pages long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _credentials(environment: Mapping[str, str]) -> sigv4.Credentials | None:
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        raise errors.Misconfigured("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together")
    return sigv4.Credentials(key, secret, environment.get("AWS_SESSION_TOKEN") or None) if key and secret else None
