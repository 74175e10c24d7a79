"""The one table of what brokers answer: the codes of Kafka's protocol, and the vendor's exceptions that have none.

The vendor's library knows the codes up to 72. Those that came later are added to its own table under their names, so that they are
not all called "unknown".
"""

from __future__ import annotations

import ssl

from aiokafka import errors as kafka

from dyff.kernel.concerns import UNKNOWN, Concern, Row

_LATER_CODES = {
    73: "TopicDeletionDisabled", 74: "FencedLeaderEpoch", 75: "UnknownLeaderEpoch", 76: "UnsupportedCompressionType",
    77: "StaleBrokerEpoch", 78: "OffsetNotAvailable", 80: "PreferredLeaderNotAvailable", 81: "GroupMaxSizeReached",
    82: "FencedInstanceId", 83: "EligibleLeadersNotAvailable", 84: "ElectionNotNeeded", 85: "NoReassignmentInProgress",
    86: "GroupSubscribedToTopic", 87: "InvalidRecord", 88: "UnstableOffsetCommit", 89: "ThrottlingQuotaExceeded", 90: "ProducerFencedCode",
    91: "ResourceNotFound", 92: "DuplicateResource", 93: "UnacceptableCredential", 94: "InconsistentVoterSet",
    95: "InvalidUpdateVersion", 96: "FeatureUpdateFailed", 97: "PrincipalDeserializationFailure", 98: "SnapshotNotFound",
    99: "PositionOutOfRange", 100: "UnknownTopicId", 101: "DuplicateBrokerRegistration", 102: "BrokerIdNotRegistered",
    103: "InconsistentTopicId", 104: "InconsistentClusterId", 105: "TransactionalIdNotFound", 106: "FetchSessionTopicIdError",
    107: "IneligibleReplica", 108: "NewLeaderElected", 109: "OffsetMovedToTieredStorage", 110: "FencedMemberEpoch",
    111: "UnreleasedInstanceId", 112: "UnsupportedAssignor", 113: "StaleMemberEpoch", 114: "MismatchedEndpointType",
    115: "UnsupportedEndpointType", 116: "UnknownControllerId", 117: "UnknownSubscriptionId", 118: "TelemetryTooLarge",
    119: "InvalidRegistration", 120: "TransactionAbortable", 121: "InvalidRecordState", 122: "ShareSessionNotFound",
    123: "InvalidShareSessionEpoch", 124: "FencedStateEpoch", 125: "InvalidVoterKey", 126: "DuplicateVoter", 127: "VoterNotFound",
    128: "InvalidRegularExpression", 129: "RebootstrapRequired",
}  # fmt: skip
for _number, _name in _LATER_CODES.items():
    kafka.kafka_errors.setdefault(_number, type(_name, (kafka.BrokerResponseError,), {"errno": _number, "message": _name}))


def _rows(concern: Concern, advice: str, *codes: int) -> dict[int, Row]:
    return dict.fromkeys(codes, Row(concern, advice))


_MOVING = "brokers are starting, stopping or moving partitions"
_RIGHTS = "our user lacks the right for this: add an ACL for the topics, groups and transactional IDs with our prefix (bus.kafka)"
_LOGIN = "the broker does not accept our user: check user, password, mechanism and TLS (bus.kafka)"
_FENCED = "another process has taken over"
_GROUP = "the members of the group are being assigned again"
_TOPIC = "there is no such topic or partition; run 'dyff migrate pre' if it was deleted, and restore its records"
_BROKER = "a setting of the broker or of the topic forbids it: change it there"
_PROTOCOL = "the broker does not support this request: upgrade it"
_CLIENT = "the state of the connection is lost; it is made again"
_DISK = "a disk of the broker has failed or is full: repair it"
_LARGE = "it is larger than the topic accepts: raise max.message.bytes of the topic, or run 'dyff migrate pre'"

CODES: dict[int, Row] = {
    **_rows(Concern.LATER, _MOVING, 5, 6, 7, 8, 9, 11, 13, 41, 74, 75, 77, 78, 80, 83, 84, 85, 107, 108, 60, 14, 15, 16, 52, 116, 129),
    **_rows(Concern.LATER, "too few replicas are in sync: start the brokers that are missing", 19, 20),
    **_rows(Concern.LATER, _GROUP, 22, 23, 25, 27, 68, 69, 79, 81, 82, 110, 111, 113),
    **_rows(Concern.LATER, "another transaction of this owner is ending", 51, 88, 120),
    **_rows(Concern.LATER, "the broker slows us down: raise its quota for our user if this lasts", 89),
    **_rows(Concern.LATER, _CLIENT, -1, 34, 45, 46, 48, 59, 70, 71, 106, 122, 123, 124, 117, 121),
    **_rows(Concern.LATER, "a record is damaged, on the way or on a disk of the broker: see the broker's log if this lasts", 2),
    **_rows(Concern.LATER, "the topic is being created again or was a moment ago", 100, 103),
    **_rows(Concern.LATER, _FENCED, 47, 49, 90, 105),
    **_rows(Concern.OBJECT, _TOPIC, 3),
    **_rows(Concern.OBJECT, "the log does not hold that offset", 1, 99, 109, 98),
    **_rows(Concern.OBJECT, "there is such a thing already, or no longer", 36, 91, 92, 126, 127),
    **_rows(Concern.REQUEST, _LARGE, 10, 18, 118),
    **_rows(Concern.REQUEST, "the broker cannot read the request", 4, 12, 21, 24, 28, 32, 42, 87, 93, 95, 128),
    **_rows(Concern.OPERATOR, _RIGHTS, 29, 30, 31, 53, 65),
    **_rows(Concern.OPERATOR, _LOGIN, 33, 54, 58, 61, 62, 63, 64, 66, 67, 97),
    **_rows(Concern.OPERATOR, _BROKER, 17, 26, 37, 38, 39, 40, 44, 50, 73, 86, 112, 119),
    **_rows(Concern.OPERATOR, _PROTOCOL, 35, 43, 76, 96, 114, 115),
    **_rows(Concern.OPERATOR, _DISK, 56, 57),
    **_rows(Concern.OPERATOR, "the members of the cluster do not fit together", 72, 94, 101, 102, 104, 125),
    **_rows(Concern.LATER, "it was not tried, since another one failed", 55),
}
"""Rows by the protocol's error code."""

CLASSES: dict[type[BaseException], Row] = {
    kafka.AuthenticationFailedError: Row(Concern.OPERATOR, _LOGIN),
    kafka.AuthenticationMethodNotSupported: Row(Concern.OPERATOR, _LOGIN),
    ssl.SSLCertVerificationError: Row(Concern.OPERATOR, "the broker's certificate is not trusted: check bus.kafka.tls_ca_file"),
    kafka.UnsupportedCodecError: Row(Concern.OPERATOR, "the compression of bus.kafka.compression is not installed"),
    kafka.KafkaConfigurationError: Row(Concern.OPERATOR, "the settings bus.kafka do not fit together"),
    kafka.UnrecognizedBrokerVersion: Row(Concern.OPERATOR, _PROTOCOL),
    kafka.IncompatibleBrokerVersion: Row(Concern.OPERATOR, _PROTOCOL),
    kafka.RecordTooLargeError: Row(Concern.REQUEST, _LARGE),
    kafka.QuotaViolationError: Row(Concern.LATER, "the broker slows us down: raise its quota for our user if this lasts"),
    kafka.CommitFailedError: Row(Concern.LATER, _GROUP),
    kafka.ProducerFenced: Row(Concern.LATER, _FENCED),
    kafka.KafkaError: Row(Concern.LATER, "the broker does not answer"),
    OSError: Row(Concern.LATER, "the broker cannot be reached"),
    TimeoutError: Row(Concern.LATER, "the broker does not answer"),
}
"""Rows by class, for exceptions without a code. The nearest base class counts."""


class UnlistedError(kafka.BrokerResponseError):  # type: ignore[misc]
    """A code that neither the vendor's library nor this release knows."""

    def __init__(self, code: int, about: str) -> None:
        self.errno = code
        super().__init__(f"error code {code} {about}")


def error(code: int, about: str) -> kafka.KafkaError:
    """The exception for a code in an answer. `about`: what it was about, and the broker's own words."""
    known = kafka.kafka_errors.get(code)
    return UnlistedError(code, about) if known is None else known(about)


def _code(problem: BaseException) -> int | None:
    """The protocol's error code; None if the exception has none."""
    return getattr(problem, "errno", None) if isinstance(problem, kafka.BrokerResponseError) else None


def row_of(problem: BaseException) -> Row:
    """What an exception of the vendor's library concerns."""
    code = _code(problem)
    if code is not None:
        return CODES.get(code, UNKNOWN)
    return next((CLASSES[base] for base in type(problem).__mro__ if base in CLASSES), UNKNOWN)


def shown(problem: BaseException) -> str:
    """The code, the name and the text, for messages."""
    number = _code(problem)
    code = "" if number is None else f"{number} "
    text = str(problem).removeprefix(f"[Error {code.strip()}] ").removeprefix(type(problem).__name__).removeprefix(": ")
    return f"{code}{type(problem).__name__}" + (f": {text[:300]}" if text else "")
