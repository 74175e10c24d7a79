"""How to reach the brokers, and the translation of their errors. The vendor's exceptions do not leave this package."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from aiokafka import errors as kafka

from dyff.bus import port
from dyff.bus.kafka import codes
from dyff.kernel import errors
from dyff.kernel.concerns import Concern

STOP_S = 10.0
"""How long a client may take to stop. It is not cancelled earlier, since it would leave its tasks and its membership behind."""

FENCED = (kafka.ProducerFenced, kafka.InvalidProducerEpoch, kafka.InvalidProducerIdMapping, kafka.kafka_errors[90])


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect to the brokers, and as whom.

    `bootstrap_servers`: `host:port`, separated by commas. `tls`: None for plain text. `sasl_mechanism`: `PLAIN`,
    `SCRAM-SHA-256` or `SCRAM-SHA-512`; None for no authentication. `request_timeout_s`: a broker that does not answer within this
    time is considered unavailable. `replication`: the replication factor of topics that we create; None for three, or the number
    of brokers if there are fewer. `compression`: of published records: `zstd`, `lz4`, `snappy`, `gzip`; None for none.
    `session_timeout_s`: a member of a group that is silent for this long loses its partitions. `prefix`: prefix of the names of all
    topics, groups and owners, so that several installations can share brokers. `used`: the number of partitions that the log has, by
    topic; what somebody added to a topic later is not used, since keys would move. A topic that is not named is used as it is.
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
    max_message_bytes: int = port.MAX_MESSAGE_BYTES
    prefix: str = ""
    used: Mapping[str, int] = {}

    def named(self, name: str) -> str:
        """The name of a topic, a group or an owner on the brokers."""
        return self.prefix + name

    def options(self) -> dict[str, Any]:
        """Options that all clients share."""
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
    """Translate the vendor's errors into ours, for calls that change nothing. `what`: the operation for messages, e.g. `reading a/0`.

    Raises:
        NotFound: the topic or partition does not exist.
        Blocked: not before someone has changed a setting or a right.
        Unavailable: any other error.
    """
    try:
        yield
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        raise ours(what, error) from error


def ours(what: str, error: BaseException) -> errors.DyffError:
    """Our error for one of the vendor's, if nothing was done. `what`: as for `translated`."""
    row = codes.row_of(error)
    text = f"{what}: {row.advice} ({codes.shown(error)})"
    if isinstance(error, kafka.UnknownTopicOrPartitionError):
        return errors.NotFound(text)
    return errors.Unavailable(text) if row.concern is Concern.LATER else errors.Blocked(text)


def needs_an_operator(error: BaseException) -> bool:
    """Whether it lasts until someone changes a setting or a right."""
    return codes.row_of(error).concern is Concern.OPERATOR
