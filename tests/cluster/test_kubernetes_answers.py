"""What an API server's answers mean, by answers that real ones gave: one row for each (docs/adr/0032)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dyff.cluster.kubernetes import answers
from dyff.kernel import errors

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATE, LIST, WATCH, PATCH, DELETE = "create", "list", "watch", "patch", "delete"
RBAC = (
    'jobs.batch is forbidden: User "system:serviceaccount:dyff:dyff-operator" cannot {} resource "jobs" in API group "batch" '
    'in the namespace "dyff"'
)
GATEKEEPER = 'admission webhook "validation.gatekeeper.sh" denied the request: [owner] all jobs must have an owner'
KYVERNO = (
    'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource Job/dyff/a was blocked due to the following policies'
)
VAP = "jobs.batch \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: false"
WEBHOOK_DOWN = (
    'Internal error occurred: failed calling webhook "v.example": failed to call webhook: Post "https://v.svc:443/": no endpoints available'
)


def status(code: int, reason: str, message: str = "because", verb: str = CREATE, **details) -> answers.Refusal:
    return answers.Refusal("creating Job a", code, {"kind": "Status", "reason": reason, "message": message, "details": details}, verb)


# What the server answers, our error, a part of its message, and whether it is reported as a trouble of the whole process.
CASES = {
    "a name that is taken": (status(409, "AlreadyExists", 'jobs.batch "a" already exists'), errors.AlreadyExists, "already exists", False),
    "a name that is being deleted": (
        status(409, "AlreadyExists", "object is being deleted: a already exists"),
        errors.AlreadyExists,
        "",
        False,
    ),
    "an older version": (status(409, "Conflict", "the object has been modified", PATCH), errors.StaleVersion, "modified", False),
    "a quota that changed": (status(409, "Conflict", "cannot be fulfilled on resourcequotas"), errors.Refused, "resourcequotas", False),
    "a field": (
        status(422, "Invalid", causes=[{"reason": "FieldValueInvalid", "message": "must be a DNS name", "field": "metadata.name"}]),
        errors.InvalidFields,
        "metadata.name: must be a DNS name",
        False,
    ),
    "a uid that is another's": (
        status(422, "Invalid", causes=[{"message": "immutable", "field": "metadata.uid"}]),
        errors.StaleVersion,
        "another object",
        False,
    ),
    "causes that are none": (status(422, "Invalid", "wrong", causes="x"), errors.InvalidFields, "wrong", False),
    "a body that is none": (status(400, "BadRequest", "cannot be handled as a Job"), errors.InvalidFields, "cannot be handled", False),
    "a list with a wrong version": (
        status(400, "BadRequest", 'invalid resource version "x"', LIST),
        errors.WatchExpired,
        "invalid",
        False,
    ),
    "a read that cannot be answered": (
        status(400, "BadRequest", "container is waiting to start", "get"),
        answers.NotReadable,
        "waiting to start",
        False,
    ),
    "a page of a proxy for 400": (answers.Refusal("creating Job a", 400, {"message": "Bad Request"}, CREATE), errors.Refused, "Bad", False),
    "a page of a proxy for 422": (answers.Refusal("creating Job a", 422, {}, CREATE), errors.Refused, "status 422", False),
    "a name that is taken, without a reason": (
        answers.Refusal("creating Job a", 409, {"message": 'jobs.batch "a" already exists'}, CREATE),
        errors.AlreadyExists,
        "already exists",
        False,
    ),
    "an object that is missing, without details": (
        answers.Refusal("creating Job a", 404, {"message": 'jobs.batch "a" not found'}, PATCH),
        errors.NotFound,
        "not found",
        False,
    ),
    "a namespace that is missing, without details": (
        answers.Refusal("creating Job a", 404, {"message": 'namespaces "a" not found'}, PATCH),
        errors.Blocked,
        "not found",
        True,
    ),
    "a namespace that is going, by its cause": (
        status(403, "Forbidden", "no new content", causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]),
        errors.Refused,
        "no new content",
        False,
    ),
    "one object that is said to be gone": (status(410, "Gone", "gone", "get"), errors.Unavailable, "gone", False),
    "one object that is too much to read": (status(413, "", "too large", "get"), errors.Unavailable, "too large", False),
    "an object that is missing": (status(404, "NotFound", "not found", PATCH, name="a", kind="jobs"), errors.NotFound, "not found", False),
    "a type that is missing": (status(404, "NotFound", "could not find the requested resource"), errors.Blocked, "manifests crds", True),
    "a type that is missing, on a list": (
        status(404, "NotFound", "the server could not find", LIST),
        errors.Blocked,
        "manifests crds",
        True,
    ),
    "a page of a proxy instead": (answers.Refusal("creating Job a", 404, {}, LIST), errors.Blocked, "status 404", True),
    "a namespace that is missing": (
        status(404, "NotFound", 'namespaces "x" not found', name="x", kind="namespaces"),
        errors.Blocked,
        "make the namespace",
        True,
    ),
    "a verb that is not offered": (
        status(405, "MethodNotAllowed", "does not allow this method", PATCH),
        errors.Blocked,
        "does not allow",
        True,
    ),
    "a form that is not offered": (
        status(406, "NotAcceptable", "only the following media types", LIST),
        errors.Blocked,
        "media types",
        True,
    ),
    "who is not known": (status(401, "Unauthorized", "Unauthorized"), errors.Unavailable, "cluster.kubernetes", True),
    "who is not known, on a watch": (status(401, "Unauthorized", "Unauthorized", WATCH), errors.Unavailable, "cluster.kubernetes", True),
    **{
        f"who may not {verb}": (status(403, "Forbidden", RBAC.format(verb), verb), errors.Blocked, "manifests rbac", True)
        for verb in ("create", "get", "list", "watch", "patch", "update", "delete")
    },
    "who may not, on a subresource": (
        status(403, "Forbidden", 'User "x" cannot patch resource "models/status" in API group "dyff.io"', PATCH),
        errors.Blocked,
        "rbac",
        True,
    ),
    "who may not, with a hint": (
        status(403, "Forbidden", RBAC.format("create") + ': RBAC: role.rbac.authorization.k8s.io "r" not found'),
        errors.Blocked,
        "rbac",
        True,
    ),
    "who may not own": (
        status(403, "Forbidden", "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"),
        errors.Blocked,
        "blockOwnerDeletion",
        True,
    ),
    "a proxy that forbids reads": (answers.Refusal("creating Job a", 403, {}, LIST), errors.Blocked, "status 403", True),
    "a proxy that forbids a write": (answers.Refusal("creating Job a", 403, {}, CREATE), errors.Refused, "status 403", False),
    "Gatekeeper": (status(403, "Forbidden", GATEKEEPER), errors.Refused, "must have an owner", False),
    "Gatekeeper that quotes RBAC": (
        status(403, "Forbidden", 'admission webhook "w" denied the request: User "x" cannot create resource "jobs"'),
        errors.Refused,
        "",
        False,
    ),
    "Kyverno": (status(400, "BadRequest", KYVERNO), errors.Refused, "was blocked", False),
    "a webhook without an explanation": (
        status(403, "Forbidden", 'admission webhook "w" denied the request without explanation'),
        errors.Refused,
        "without",
        False,
    ),
    **{
        f"a webhook with {code}": (status(code, "", 'admission webhook "w" denied the request: no'), errors.Refused, "no", False)
        for code in (401, 402, 404, 409, 413, 418, 429, 451, 500, 503)
    },
    "a policy of the server": (status(422, "Invalid", VAP, causes=[{"message": VAP}]), errors.InvalidFields, "denied request", False),
    "a policy of the server with 403": (status(403, "Forbidden", VAP), errors.Refused, "denied request", False),
    "a policy of the server with 401": (status(401, "Unauthorized", VAP), errors.Refused, "denied request", False),
    "a policy on the status": (status(403, "Forbidden", GATEKEEPER, PATCH), errors.Refused, "owner", False),
    "a policy on a deletion": (status(403, "Forbidden", GATEKEEPER, DELETE), errors.Refused, "owner", False),
    "Pod Security": (
        status(403, "Forbidden", 'pods "a" is forbidden: violates PodSecurity "restricted:latest"'),
        errors.Refused,
        "violates",
        False,
    ),
    "LimitRanger": (
        status(403, "Forbidden", 'pods "a" is forbidden: maximum cpu usage per Container is 1'),
        errors.Refused,
        "maximum",
        False,
    ),
    "a quota that is used up": (
        status(403, "Forbidden", 'jobs.batch "a" is forbidden: exceeded quota: q'),
        errors.Refused,
        "exceeded",
        False,
    ),
    "a quota that is not known yet": (status(403, "Forbidden", "status unknown for quota: q"), errors.Refused, "unknown", False),
    "a namespace that is going": (status(403, "Forbidden", "because it is being terminated"), errors.Refused, "terminated", False),
    "admission that is starting": (status(403, "Forbidden", "not yet ready to handle request"), errors.Refused, "not yet ready", False),
    "a webhook that does not answer": (status(500, "InternalError", WEBHOOK_DOWN), errors.Refused, "no endpoints", False),
    "a conversion that fails": (
        status(500, "InternalError", "conversion webhook for dyff.io/v1, Kind=Model failed: Post", PATCH),
        errors.Refused,
        "conversion",
        False,
    ),
    "a conversion that fails, on a list": (
        status(500, "InternalError", "conversion webhook for dyff.io/v1, Kind=Model failed: Post", LIST),
        errors.Unavailable,
        "conversion",
        False,
    ),
    "too much": (status(413, "RequestEntityTooLarge"), errors.TooLarge, "", False),
    "too much for etcd": (status(500, "", "etcdserver: request is too large"), errors.TooLarge, "etcdserver", False),
    "too much for etcd's connection": (status(500, "", "trying to send message larger than max (1 vs. 2)"), errors.TooLarge, "", False),
    "a version that is forgotten": (
        status(410, "Expired", "too old resource version: 1 (200)", WATCH),
        errors.WatchExpired,
        "too old",
        False,
    ),
    "a page that is forgotten": (
        status(410, "Expired", "The provided continue parameter is too old", LIST),
        errors.WatchExpired,
        "",
        False,
    ),
    "a version that is not there yet": (
        status(
            504,
            "Timeout",
            "Too large resource version: 9, current: 7",
            LIST,
            causes=[{"reason": "ResourceVersionTooLarge"}],
            retryAfterSeconds=1,
        ),
        errors.WatchExpired,
        "Too large",
        False,
    ),
    "the same with 500": (
        status(500, "", "because", WATCH, causes=[{"reason": "ResourceVersionTooLarge", "message": "x"}]),
        errors.WatchExpired,
        "",
        False,
    ),
    "the same without a cause": (
        status(504, "Timeout", "Too large resource version: 9, current: 7", WATCH),
        errors.WatchExpired,
        "",
        False,
    ),
    "compacted": (
        status(500, "", "etcdserver: mvcc: required revision has been compacted", WATCH),
        errors.WatchExpired,
        "compacted",
        False,
    ),
    "gone as a write's answer": (status(410, "Gone", "gone"), errors.Unavailable, "gone", False),
    "a server that is starting": (status(503, "ServiceUnavailable"), errors.Unavailable, "does not answer as it should", False),
    "a busy server": (status(429, "TooManyRequests", "too many requests"), errors.Unavailable, "too many", False),
    "a slow server": (
        status(504, "Timeout", "request did not complete within the allotted timeout"),
        errors.Unavailable,
        "allotted",
        False,
    ),
    "a defect of the server": (status(500, "InternalError", "runtime error"), errors.Unavailable, "runtime error", False),
    "a proxy before it": (answers.Refusal("creating Job a", 502), errors.Unavailable, "status 502", False),
    "a redirect": (answers.Refusal("creating Job a", 302), errors.Unavailable, "status 302", False),
    "an odd code for a write": (answers.Refusal("creating Job a", 451, {}, CREATE), errors.Refused, "status 451", False),
    "an odd code for a read": (answers.Refusal("creating Job a", 451, {}, LIST), errors.Unavailable, "status 451", False),
}


@pytest.mark.parametrize("case", CASES)
def test_each_answer_is_the_error_that_callers_act_on(case):
    """Its message says what was tried, what is wrong, and for people what to do; what concerns more than one object is a trouble."""
    refusal, kind, words, is_trouble = CASES[case]
    error = answers.error(refusal)
    assert type(error) is kind
    assert words in error.message
    assert isinstance(error, errors.InvalidFields) or "creating Job a" in error.message
    assert (answers.trouble(refusal, "jobs.batch") is not None) is is_trouble
    assert not isinstance(error, errors.Fatal)


PASSING = (
    "a namespace that is going, by its cause",
    "a quota that changed",
    "a quota that is used up",
    "a quota that is not known yet",
    "a namespace that is going",
    "admission that is starting",
    "a webhook that does not answer",
    "a conversion that fails",
)


@pytest.mark.parametrize("case", [each for each in CASES if CASES[each][1] is errors.Refused])
def test_a_refusal_says_whether_it_is_known_to_pass(case):
    """A quota becomes free by itself, and a program that is down is started again; a policy has to be changed by somebody."""
    error = answers.error(CASES[case][0])
    assert isinstance(error, errors.Refused)
    assert error.passing is (case in PASSING)


def test_a_long_message_is_cut():
    """A policy can write what it wants, and its words become part of a status."""
    error = answers.error(status(403, "Forbidden", "denied the request: " + "x" * 1_000_000))
    assert len(error.message) < answers.MAX_MESSAGE_CHARS + 100


@pytest.mark.parametrize(
    ("obj", "kind"),
    [
        ({"code": 410, "reason": "Expired", "message": "x"}, errors.WatchExpired),
        ({"code": 410, "reason": "Gone", "message": "x"}, errors.WatchExpired),
        ({"reason": "Expired"}, errors.WatchExpired),
        ({"code": "410", "reason": "Expired"}, errors.WatchExpired),
        ({"code": 500, "message": "too old resource version: 1 (2)"}, errors.WatchExpired),
        ({"code": 504, "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}, errors.WatchExpired),
        ({"code": 401}, errors.Unavailable),
        ({"code": 403}, errors.Blocked),
        ({"code": 429}, errors.Unavailable),
        ({"code": 0}, errors.Unavailable),
        ({}, errors.Unavailable),
        (None, errors.Unavailable),
        ("x", errors.Unavailable),
        ([], errors.Unavailable),
    ],
)
def test_an_error_in_a_watch_means_what_the_same_answer_means(obj, kind):
    """With or without a code, and also if it is no `Status` at all."""
    assert type(answers.error(answers.of_event("watching jobs", obj))) is kind


@pytest.mark.parametrize(
    ("refusal", "header", "want_s"),
    [
        (status(429, "TooManyRequests", retryAfterSeconds=1), None, 1.0),
        (status(429, "TooManyRequests"), "3", 3.0),
        (status(429, "TooManyRequests"), "3600", answers.MAX_WAIT_S),
        (status(429, "TooManyRequests"), "9" * 60, answers.MAX_WAIT_S),
        (status(429, "TooManyRequests"), None, 1.0),
        (status(429, "TooManyRequests"), "0", 0.0),
        (status(429, "TooManyRequests"), "-1", 1.0),
        (status(429, "TooManyRequests"), "nan", 1.0),
        (status(429, "TooManyRequests"), "Thu, 01 Jan 2026 00:00:05 GMT", 5.0),
        (status(429, "TooManyRequests"), "Thu, 01 Jan 2020 00:00:05 GMT", 1.0),
        (status(429, "TooManyRequests", retryAfterSeconds="x"), None, 1.0),
        (status(503, "ServiceUnavailable"), "2", 2.0),
        (status(503, "ServiceUnavailable"), None, None),
        (status(409, "Conflict"), "2", None),
        (status(429, "", 'admission webhook "w" denied the request: no'), "2", None),
        (status(500, "", "too old resource version", WATCH), "2", None),
    ],
)
def test_what_was_not_done_may_be_asked_again(refusal, header, want_s):
    """After the time that the server asks for, within reason; and only what it says it has not done."""
    assert answers.retry_after_s(refusal, header, NOW) == want_s


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "status 403"),
        (b" \n", "status 403"),
        (b"[]", "[]"),
        (b"\x00\x00", "status 403"),
        (b"Blocked by the firewall.\n", "Blocked by the firewall."),
        (b"<html><head><title>No entry</title></head>\n<body>by <b>rule</b> 7</body></html>", "No entry by rule 7"),
        (b'{"message": "\xff"}', '{"message": "\ufffd"}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 10),
        (b'{"message": "  "}', "status 403"),
    ],
)
def test_an_answer_that_is_no_status_still_says_why(body, words):
    """A proxy's page, half an answer, or bytes that are no text: the owner sees what they say."""
    refusal = answers.Refusal("creating Job a", 403, answers.status(body), CREATE)
    error = answers.error(refusal)
    assert type(error) is errors.Refused
    assert error.message.startswith(f"creating Job a: {words}")
    assert len(error.message) < answers.MAX_MESSAGE_CHARS + 100
