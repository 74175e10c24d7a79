"""Settings of external engines. A port whose group here names no engine uses the embedded adapter.

No setting holds a secret. A setting names a file that holds it, so settings can be printed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Kafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Kafka or Redpanda cluster.

    `bootstrap_servers`: `host:port`, separated by commas; None for the embedded log. `tls`: whether to use TLS.
    `tls_ca_file`: a file of CA certificates, the only ones to trust; None for those that the system trusts. `sasl_mechanism`:
    `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; None for no authentication. `sasl_username`: the user name.
    `sasl_password_file`: a file that holds the password. `replication`: the replication factor of new topics; None for three,
    or the number of brokers if there are fewer. `compression`: `zstd`, `lz4`, `snappy`, `gzip`, or None for none. `prefix`:
    prefix of the names of topics, groups and owners.
    """

    bootstrap_servers: str | None = None
    tls: bool = False
    tls_ca_file: str | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password_file: str | None = None
    replication: Annotated[int, msgspec.Meta(ge=1)] | None = None
    compression: Literal["zstd", "lz4", "snappy", "gzip"] | None = "zstd"
    prefix: str = ""


class MongoDB(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A database of a MongoDB replica set or cluster.

    `uri`: `mongodb://` or `mongodb+srv://` with hosts and options, without a password; None for the embedded adapter.
    `username`: the user to authenticate as; None to use the URI's. `password_file`: a file that holds the password.
    `tls_ca_file`: a file of CA certificates; if set, TLS is used and only these are trusted. `tls_key_file`: a file with our
    certificate and key. `driver`: `motor` or `pymongo`. `timeout_s`: limit of one call, retries included.
    """

    uri: str | None = None
    username: str | None = None
    password_file: str | None = None
    tls_ca_file: str | None = None
    tls_key_file: str | None = None
    driver: Literal["motor", "pymongo"] = "motor"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 10.0


class QueryDatabase(MongoDB, frozen=True, forbid_unknown_fields=True):
    """The database of the query store. `database`: its name; Dyff owns all of it."""

    database: str = "dyff_query"


class AccountsDatabase(MongoDB, frozen=True, forbid_unknown_fields=True):
    """The database of the accounts. `database`: its name; Dyff owns all of it."""

    database: str = "dyff_accounts"


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query store."""

    mongodb: QueryDatabase = QueryDatabase()


class Accounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The authorization database."""

    mongodb: AccountsDatabase = AccountsDatabase()


class Objects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The object store.

    `url`: `s3://bucket/prefix`, `gs://` or `az://`, with parameters such as `endpoint`; None for a local directory.
    Credentials come from the environment, under the vendors' usual names. `steps_endpoint`: the endpoint under which pods
    reach the store; None for the same one.
    """

    url: str | None = None
    steps_endpoint: str | None = None


class Kubernetes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Kubernetes cluster, of which Dyff uses one namespace.

    `kubeconfig`: a file with the cluster's address and our credentials. `context`: the context in that file; None for the current
    one. `in_cluster`: Dyff runs in the cluster, under a service account. If neither is set, the local cluster is used.
    `timeout_s`: limit of one call.
    """

    kubeconfig: str | None = None
    context: str | None = None
    in_cluster: bool = False
    namespace: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "dyff"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 15.0

    def __post_init__(self) -> None:
        """Refuse two ways to reach the cluster."""
        if self.in_cluster and self.kubeconfig is not None:
            raise ValueError("kubeconfig and in_cluster exclude each other; set one")


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cluster on which workflows run."""

    kubernetes: Kubernetes = Kubernetes()
