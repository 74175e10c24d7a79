"""The one table of what stores answer: their error codes, and HTTP statuses for answers that have none.

Sources: the error lists of S3, of Google Cloud Storage's XML API, and of Azure Blob Storage. Compatible servers use S3's.
"""

from __future__ import annotations

import re

import msgspec

from dyff.kernel.concerns import UNKNOWN, Concern, Row

_CODE = re.compile(r"<Code>([A-Za-z0-9_.-]{1,64})</Code>")
_STATUS = re.compile(r"status code: ([1-5][0-9][0-9])")
_REDIRECT = "redirect without LOCATION"
_IN_BODY = "Server returned error response"

_GRANT = "the credentials are known, but not allowed to do this to this key: change the bucket's policy, or the rights of the credentials"
_KEYS = "the store does not accept the credentials: check those in this process's environment"
_CLOCK = "the clocks of this machine and of the store differ too much for a signature: set them; the credentials are not the cause"
_EXPIRED = "the credentials have expired: give this process new ones"
_REGION = "the bucket is in another region, or under another endpoint: set region and endpoint in objects.url"
_BUCKET = "the store has no such bucket: check its name in objects.url, or create it again"
_ACCOUNT = "the account of the store is suspended or not paid for: its owner must act"
_ARCHIVED = "the object is in an archive: restore it to a class that can be read, and exempt the bucket from archiving"
_KEPT = "a rule of the bucket (retention, a lock, a lease) protects this object: nothing can change it before that ends"
_LARGE = "it is larger than the store accepts"
_SPACE = "the store has no space left, or its quota is used up: its operator must make space"
_BUSY = "the store is too busy"
_FAULT = "a fault of the store"
_MISSING_FEATURE = "the store does not have a feature that is needed"
_NO_OBJECT = "there is no such object"
_TAKEN = "there is already such an object, or it changed meanwhile"


def _rows(concern: Concern, advice: str, *names: str | int) -> dict[str | int, Row]:
    return dict.fromkeys(names, Row(concern, advice))


BY_CODE: dict[str | int, Row] = {
    **_rows(Concern.OBJECT, _NO_OBJECT, "NoSuchKey", "NoSuchVersion", "BlobNotFound", "ResourceNotFound"),
    **_rows(Concern.OBJECT, _TAKEN, "PreconditionFailed", "BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"),
    **_rows(Concern.OBJECT, _ARCHIVED, "InvalidObjectState", "BlobArchived", "BlobBeingRehydrated", "ObjectNotInActiveTierError"),
    **_rows(Concern.OBJECT, _KEPT, "MethodNotAllowed", "ObjectLocked", "RetentionPolicyNotMet", "ObjectUnderActiveHold"),
    **_rows(Concern.OBJECT, _KEPT, "BlobImmutableDueToPolicy", "LeaseIdMissing", "LeaseAlreadyPresent", "SnapshotsPresent"),
    **_rows(Concern.OBJECT, "the upload in parts is gone; it is sent again as a whole", "NoSuchUpload", "InvalidPart", "InvalidPartOrder"),
    **_rows(Concern.REQUEST, _LARGE, "EntityTooLarge", "MaxMessageLengthExceeded", "RequestBodyTooLarge", "EntityTooSmall"),
    **_rows(Concern.REQUEST, "the key is longer than the store accepts", "KeyTooLongError", "KeyTooLong", "InvalidURI", "OutOfRangeInput"),
    **_rows(Concern.REQUEST, "that range is not in the object", "InvalidRange"),
    **_rows(Concern.REQUEST, "the bytes are not those that were announced", "BadDigest", "InvalidDigest", "Md5Mismatch", "IncompleteBody"),
    **_rows(
        Concern.REQUEST, "the store cannot read the request", "MalformedXML", "InvalidArgument", "InvalidRequest", "MissingContentLength"
    ),
    **_rows(Concern.LATER, _CLOCK, "RequestTimeTooSkewed", "RequestExpired"),
    **_rows(Concern.LATER, _BUSY, "SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "ServerBusy", "Throttling"),
    **_rows(
        Concern.LATER,
        _BUSY,
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "RateLimitExceeded",
        "BandwidthLimitExceeded",
    ),
    **_rows(Concern.LATER, _FAULT, "InternalError", "InternalServerError", "OperationTimedOut", "XMinioServerNotInitialized"),
    **_rows(Concern.LATER, "the request took too long", "RequestTimeout", "RequestTimedOut", "UploadTimeout"),
    **_rows(Concern.LATER, "another request changes the same object or bucket", "OperationAborted", "ConditionalRequestConflict"),
    **_rows(Concern.LATER, "another request changes the same object or bucket", "ContainerBeingDeleted", "RestoreAlreadyInProgress"),
    **_rows(Concern.LATER, "the bucket was moved a moment ago", "TemporaryRedirect"),
    **_rows(
        Concern.OPERATOR, "the secret of the credentials does not fit their key: check both in the environment", "SignatureDoesNotMatch"
    ),
    **_rows(Concern.OPERATOR, _GRANT, "AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch", "AllAccessDisabled"),
    **_rows(Concern.OPERATOR, _GRANT, "InsufficientAccountPermissions", "AuthorizationSourceIPMismatch", "AuthorizationProtocolMismatch"),
    **_rows(Concern.OPERATOR, _KEYS, "InvalidAccessKeyId", "InvalidToken", "InvalidSecurity", "AuthenticationRequired", "Unauthorized"),
    **_rows(
        Concern.OPERATOR, _KEYS, "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation", "UnauthorizedAccess"
    ),
    **_rows(Concern.OPERATOR, _KEYS, "KeyBasedAuthenticationNotPermitted", "MissingSecurityHeader", "AccessKeyDisabled"),
    **_rows(Concern.OPERATOR, _EXPIRED, "ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"),
    **_rows(
        Concern.OPERATOR, _REGION, "PermanentRedirect", "Redirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"
    ),
    **_rows(
        Concern.OPERATOR, _BUCKET, "NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "ContainerDisabled", "InvalidResourceName"
    ),
    **_rows(
        Concern.OPERATOR, _ACCOUNT, "AccountProblem", "AccountIsDisabled", "UserProjectAccountProblem", "UserProjectMissing", "NotSignedUp"
    ),
    **_rows(Concern.OPERATOR, _SPACE, "XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "QuotaExceededException"),
    **_rows(Concern.OPERATOR, _MISSING_FEATURE, "NotImplemented", "UnsupportedHeader", "FeatureNotEnabled"),
    **_rows(
        Concern.OPERATOR,
        "the key that encrypts the bucket cannot be used: enable it, and let the credentials use it",
        "KMS.DisabledException",
        "KMS.NotFoundException",
        "KMS.AccessDeniedException",
        "KMS.KMSInvalidStateException",
    ),
}
"""Rows by error code."""

BY_STATUS: dict[str | int, Row] = {
    **_rows(Concern.OPERATOR, _REGION, 301, 302, 307, 308),
    **_rows(Concern.REQUEST, "the store cannot read the request", 411, 414, 416),
    **_rows(Concern.REQUEST, _LARGE, 413),
    **_rows(Concern.OPERATOR, _KEYS, 401),
    **_rows(Concern.OPERATOR, f"the store says no more than that (a clock that is wrong has the same answer); if it lasts, {_GRANT}", 403),
    **_rows(Concern.OBJECT, _NO_OBJECT, 404, 410),
    **_rows(Concern.OBJECT, _TAKEN, 409, 412),
    **_rows(Concern.OBJECT, _KEPT, 405, 423),
    **_rows(Concern.OPERATOR, _MISSING_FEATURE, 501),
    **_rows(Concern.OPERATOR, _SPACE, 507),
    **_rows(Concern.LATER, _BUSY, 408, 425, 429, 503),
    **_rows(Concern.LATER, _FAULT, 500, 502, 504),
}
"""Rows by status, of answers whose code is missing (an answer to HEAD has no body) or unknown."""


class Answer(msgspec.Struct, frozen=True):
    """What a store answered. `code`: its error code; `status`: of HTTP; None where the vendor's message has none.

    `refused`: certainly nothing was done.
    """

    row: Row
    code: str | None = None
    status: int | None = None
    refused: bool = False

    @property
    def shown(self) -> str:
        """The code and the status, for messages; empty if there is neither."""
        return " ".join(str(each) for each in (self.status, self.code) if each is not None)


def read(message: str) -> Answer:
    """What the vendor's message says."""
    code, status = _CODE.search(message), _STATUS.search(message)
    number = int(status[1]) if status else None
    name = code[1] if code else None
    refused = number is not None and (number < 500 or number in (501, 503, 507))
    if name is None and number is None and _REDIRECT in message:
        return Answer(Row(Concern.OPERATOR, _REGION), "redirect", None, True)
    row = BY_CODE.get(name or "") or BY_STATUS.get(number or 0) or UNKNOWN
    return Answer(row, name, number, refused and _IN_BODY not in message)
