"""Settings of the engines that others operate: a port whose group here names none has the embedded adapter.

No secret is a setting: a setting names a file with it, and settings can be printed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Kafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Kafka or Redpanda cluster.

    `bootstrap_servers`: `host:port`, separated by commas; None: the log is the embedded one. `tls`: speak TLS;
    `tls_ca_file`: trust only what this file's certificates sign, None: what the system trusts. `sasl_mechanism`: `PLAIN`,
    `SCRAM-SHA-256` or `SCRAM-SHA-512`, None: no authentication; `sasl_username`; `sasl_password_file`: a file with the
    password. `replication`: of topics that are created, None: three, or as many as there are brokers. `compression`:
    `zstd`, `lz4`, `snappy`, `gzip`, None: none. `prefix`: of the names of topics, groups and owners.
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

    `uri`: `mongodb://` or `mongodb+srv://` with hosts and options, without a password; None: the adapter is the embedded
    one. `username`: who we are, None: as the URI says; `password_file`: a file with the password. `tls_ca_file`: given, TLS
    is spoken and only what its certificates sign is trusted. `tls_key_file`: our certificate and key. `driver`: `motor` or
    `pymongo`. `timeout_s`: of a call, with all its repetitions.
    """

    uri: str | None = None
    username: str | None = None
    password_file: str | None = None
    tls_ca_file: str | None = None
    tls_key_file: str | None = None
    driver: Literal["motor", "pymongo"] = "motor"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 10.0


class QueryDatabase(MongoDB, frozen=True, forbid_unknown_fields=True):
    """The query store's. `database`: all of which is ours."""

    database: str = "dyff_query"


class AccountsDatabase(MongoDB, frozen=True, forbid_unknown_fields=True):
    """The accounts'. `database`: all of which is ours."""

    database: str = "dyff_accounts"


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query store."""

    mongodb: QueryDatabase = QueryDatabase()


class Accounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The authorization database."""

    mongodb: AccountsDatabase = AccountsDatabase()


class Objects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The object store.

    `url`: `s3://bucket/prefix`, `gs://`, `az://` with parameters such as `endpoint`; None: a directory of this machine.
    Credentials come from the environment, under the names that the vendors gave them. `steps_endpoint`: the endpoint as pods
    reach it; None: the same.
    """

    url: str | None = None
    steps_endpoint: str | None = None


class Kubernetes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Kubernetes cluster, of which we use one namespace.

    `kubeconfig`: a file that says where it is and who we are, `context`: of it, None: its current one. `in_cluster`: we run in
    it, as a service account. Neither: the cluster is the local one. `timeout_s`: of a call.
    """

    kubeconfig: str | None = None
    context: str | None = None
    in_cluster: bool = False
    namespace: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "dyff"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 15.0

    def __post_init__(self) -> None:
        """Refuse two ways to one cluster."""
        if self.in_cluster and self.kubeconfig is not None:
            raise ValueError("kubeconfig and in_cluster exclude each other; set one")


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where workflows run."""

    kubernetes: Kubernetes = Kubernetes()
