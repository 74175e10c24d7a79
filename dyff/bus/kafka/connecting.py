"""How to reach the brokers, and their errors as ours. The vendor's exceptions stop in this package."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from aiokafka import errors as kafka

from dyff.kernel import errors

STOP_S = 10.0
"""How long a client may take to end. It is never cancelled in it: it would leave its tasks and its membership behind."""

SETTINGS_WRONG = (
    kafka.AuthenticationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationMethodNotSupported,
    kafka.UnsupportedSaslMechanismError,
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.UnsupportedCodecError,
    kafka.KafkaConfigurationError,
    ssl.SSLCertVerificationError,
)
"""What no repetition mends."""

FENCED = (kafka.ProducerFenced, kafka.InvalidProducerEpoch, kafka.InvalidProducerIdMapping)


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the brokers are and who we are to them.

    `bootstrap_servers`: `host:port`, separated by commas. `tls`: None: plain text. `sasl_mechanism`: `PLAIN`,
    `SCRAM-SHA-256` or `SCRAM-SHA-512`; None: no authentication. `request_timeout_s`: after which a broker that does not
    answer is taken to be away. `replication`: of topics that we create; None: three, or as many as there are brokers.
    `compression`: of what is published: `zstd`, `lz4`, `snappy`, `gzip`; None: none. `session_timeout_s`: a member of a
    group that is not heard of for so long loses its partitions. `prefix`: of the names of all topics, groups and owners,
    so that several installations can share brokers.
    """

    bootstrap_servers: str
    tls: ssl.SSLContext | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    client_id: str = "dyff"
    request_timeout_s: float = 20.0
    session_timeout_s: float = 10.0
    replication: int | None = None
    compression: str | None = "zstd"
    max_message_bytes: int = 16 * 2**20
    prefix: str = ""

    def named(self, name: str) -> str:
        """What a topic, a group or an owner is called on the brokers."""
        return self.prefix + name

    def options(self) -> dict[str, Any]:
        """What every client is given."""
        security = ("SASL_" if self.sasl_mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")
        given: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "request_timeout_ms": int(self.request_timeout_s * 1000),
            "security_protocol": security,
            "ssl_context": self.tls,
        }
        if self.sasl_mechanism is not None:
            given |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return given


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns the vendor's errors into ours, for calls that change nothing. `what`: was tried, for people, such as `reading a/0`.

    Raises:
        Misconfigured: the settings are wrong, or do not allow it.
        NotFound: there is no such topic or partition.
        Unavailable: anything else.
    """
    try:
        yield
    except SETTINGS_WRONG as error:
        raise errors.Misconfigured(f"{what}: the broker refuses it ({error}); check the settings bus.kafka") from error
    except kafka.UnknownTopicOrPartitionError as error:
        raise errors.NotFound(f"{what}: there is no such topic or partition") from error
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        raise errors.Unavailable(f"{what}: the broker does not answer ({type(error).__name__}: {error})") from error
