"""What an API server's answers mean, by answers that a real one gave."""

from __future__ import annotations

import pytest

from dyff.cluster.kubernetes import answers
from dyff.kernel import errors


def status(code: int, reason: str, message: str = "because", **details) -> answers.Refusal:
    return answers.Refusal("creating Job a", code, {"kind": "Status", "reason": reason, "message": message, "details": details})


CASES = {
    "a name that is taken": (status(409, "AlreadyExists", 'jobs.batch "a" already exists'), errors.AlreadyExists, "already exists"),
    "an older version": (status(409, "Conflict", "the object has been modified"), errors.StaleVersion, "modified"),
    "a field": (
        status(422, "Invalid", causes=[{"reason": "FieldValueInvalid", "message": "must be a DNS name", "field": "metadata.name"}]),
        errors.InvalidFields, "metadata.name: must be a DNS name",
    ),
    "a uid that is another's": (
        status(422, "Invalid", causes=[{"message": "field is immutable", "field": "metadata.uid"}]), errors.StaleVersion, "another object",
    ),
    "a body that is none": (status(400, "BadRequest", "cannot be handled as a Job"), errors.InvalidFields, "cannot be handled"),
    "an object that is missing": (status(404, "NotFound", 'jobs.batch "a" not found', name="a", kind="jobs"), errors.NotFound, "not found"),
    "a type that is missing": (status(404, "NotFound", "could not find the requested resource"), errors.Misconfigured, "manifests crds"),
    "a namespace that is missing": (
        status(404, "NotFound", 'namespaces "x" not found', name="x", kind="namespaces"), errors.Misconfigured, "make the namespace",
    ),
    "who is not known": (status(401, "Unauthorized"), errors.Misconfigured, "cluster.kubernetes"),
    "who may not": (status(403, "Forbidden", 'User "x" cannot create resource "jobs"'), errors.Misconfigured, "manifests rbac"),
    "a quota that is used up": (status(403, "Forbidden", "exceeded quota: q"), errors.Unavailable, "exceeded quota"),
    "a namespace that is going": (status(403, "Forbidden", "because it is being terminated"), errors.Unavailable, "terminated"),
    "a version that is forgotten": (status(410, "Expired", "too old resource version: 1 (200)"), errors.WatchExpired, "too old"),
    "too much": (status(413, "RequestEntityTooLarge"), errors.TooLarge, ""),
    "a server that is starting": (status(503, "ServiceUnavailable"), errors.Unavailable, "does not answer as it should"),
    "a proxy before it": (answers.Refusal("creating Job a", 502), errors.Unavailable, "status 502"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_answer_is_the_error_that_callers_act_on(case):
    """And its message says what was tried, what is wrong, and for people what to do."""
    refusal, kind, words = CASES[case]
    error = answers.error(refusal)
    assert type(error) is kind
    assert words in error.message
    assert isinstance(error, errors.InvalidFields) or "creating Job a" in error.message


@pytest.mark.parametrize(
    ("refusal", "header", "want_s"),
    [
        (status(429, "TooManyRequests", retryAfterSeconds=1), None, 1.0),
        (status(429, "TooManyRequests"), "3", 3.0),
        (status(429, "TooManyRequests"), "3600", answers.MAX_WAIT_S),
        (status(429, "TooManyRequests"), None, 1.0),
        (status(503, "ServiceUnavailable"), "2", 2.0),
        (status(503, "ServiceUnavailable"), None, None),
        (status(409, "Conflict"), "2", None),
    ],
)
def test_what_was_not_done_may_be_asked_again(refusal, header, want_s):
    """After the time that the server tells, within reason; and only what it says it has not done."""
    assert answers.retry_after_s(refusal, header) == want_s


def test_an_answer_that_is_no_status_is_understood_as_none():
    """A proxy's page, or half an answer."""
    assert answers.status(b"<html>") == {}
    assert answers.status(b"[]") == {}
