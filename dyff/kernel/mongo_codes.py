"""The one table of what MongoDB answers: the server's error codes (`error_codes.yml` of its source), by what they concern.

The driver's own exceptions are in `mongo_errors`.
"""

from __future__ import annotations

from dyff.kernel.concerns import Concern, Row


def _rows(concern: Concern, advice: str, *codes: int) -> dict[int, Row]:
    return dict.fromkeys(codes, Row(concern, advice))


DUPLICATE = 11000
TOO_LARGE = frozenset({10334, 17280, 17419, 17420})
ABSENT = frozenset({26, 27})
"""NamespaceNotFound, IndexNotFound."""

_ELECTION = "the primary is changing"
_BUSY = "the server is too busy, or the call took too long"
_RIGHTS = "our user lacks the right for this collection: grant it readWrite on the whole database"
_LOGIN = "the server does not accept our user: check user, password and roles"
_SERVER = "the server cannot do this: a replica set of a supported release is needed"
_INDEX = "an index that is there differs from the one that is needed: drop it, then run 'dyff migrate pre'"
_CONCERN = "the replica set cannot fulfil majority writes: repair its members or its configuration"
_RULE = "a rule of the collection forbids this document: remove the rule, since Dyff owns the database"

CODES: dict[int, Row] = {
    # NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, PrimarySteppedDown, InterruptedDueToReplStateChange
    **_rows(Concern.LATER, _ELECTION, 10107, 13435, 13436, 189, 11602, 10058),
    # InterruptedAtShutdown, ShutdownInProgress, NotYetInitialized, FailedToSatisfyReadPreference
    **_rows(Concern.LATER, "the server is starting or stopping", 11600, 91, 94, 133),
    # HostUnreachable, HostNotFound, NetworkTimeout, NetworkInterfaceExceededTimeLimit, SocketException
    **_rows(Concern.LATER, "servers do not reach each other", 6, 7, 89, 202, 9001),
    # MaxTimeMSExpired, ExceededTimeLimit, LockTimeout, LockBusy, ExceededMemoryLimit, TemporarilyUnavailable, rate limits
    **_rows(Concern.LATER, _BUSY, 50, 262, 24, 46, 146, 365, 462, 16500),
    # WriteConcernTimeout
    **_rows(Concern.LATER, "not enough members have confirmed it in time", 64),
    # ReadConcernMajorityNotAvailableYet, StaleConfig, StaleEpoch, StaleDbVersion, SnapshotUnavailable
    **_rows(Concern.LATER, "the cluster is changing", 134, 13388, 63, 150, 249, 246, 234, 13297),
    # WriteConflict, ConflictingOperationInProgress, BackgroundOperationInProgress, DatabaseDropPending, NoSuchTransaction
    **_rows(Concern.LATER, "another operation is in the way", 112, 117, 12586, 12587, 215, 251),
    # CursorNotFound, CursorKilled, QueryPlanKilled, Interrupted, NoSuchSession, ReauthenticationRequired, AuthenticationAbandoned
    **_rows(Concern.LATER, "the server ended the operation", 43, 237, 175, 11601, 206, 391, 312),
    # InternalError, OperationFailed, UnknownError
    **_rows(Concern.LATER, "a fault of the server", 1, 96, 8),
    **_rows(Concern.OPERATOR, _RIGHTS, 13),  # Unauthorized
    # AuthenticationFailed, UserNotFound, RoleNotFound, MechanismUnavailable, AuthenticationRestrictionUnmet, AtlasError
    **_rows(Concern.OPERATOR, _LOGIN, 18, 11, 31, 334, 279, 8000),
    # IllegalOperation, CommandNotFound, CommandNotSupported, NoReplicationEnabled, IncompatibleServerVersion, API errors
    **_rows(Concern.OPERATOR, _SERVER, 20, 59, 115, 76, 188, 322, 323, 263, 72, 13408),
    # UnknownReplWriteConcern, UnsatisfiableWriteConcern, CannotSatisfyWriteConcern
    **_rows(Concern.OPERATOR, _CONCERN, 79, 100, 75),
    # CannotCreateIndex, IndexOptionsConflict, IndexKeySpecsConflict, IndexAlreadyExists, CannotBuildIndexKeys
    **_rows(Concern.OPERATOR, _INDEX, 67, 85, 86, 68, 201),
    **_rows(Concern.OPERATOR, "the disk of the server is full: make space there", 14031),
    **_rows(Concern.OPERATOR, "writes are blocked there, as during a migration between clusters: end that", 371),
    # InvalidNamespace, ShardKeyNotFound
    **_rows(Concern.OPERATOR, "the name of the database, or a shard key, is not possible: Dyff owns the whole database", 73, 61),
    **_rows(Concern.OBJECT, "there is such a document already", DUPLICATE, 11001, 12582),
    **_rows(Concern.OBJECT, _RULE, 121, 66),  # DocumentValidationFailure, ImmutableField
    **_rows(Concern.OBJECT, "there is no such collection or index", *ABSENT),
    **_rows(Concern.REQUEST, "what is to be stored is too large for one document of MongoDB", *TOO_LARGE),
    # BadValue, FailedToParse, TypeMismatch, Overflow, InvalidLength, InvalidBSON, field names, ConflictingUpdateOperators
    **_rows(Concern.REQUEST, "the server cannot read the request", 2, 9, 14, 15, 16, 22, 52, 54, 56, 57, 40, 51091, 51108),
    # QueryExceededMemoryLimitNoDiskUseAllowed
    **_rows(Concern.REQUEST, "the query needs more memory than the server allows: narrow it", 292),
}
"""Rows by the server's code."""
