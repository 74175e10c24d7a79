"""Every answer of a store that is known, for one key and for a while: who is concerned, what is said, and that all else continues."""

from __future__ import annotations

import contextlib

import pytest

from dyff.kernel import errors
from dyff.kernel.concerns import UNKNOWN, Concern
from dyff.objects.cloud import Connection, codes, sigv4
from dyff.objects.cloud.store import PART_BYTES, CloudObjects
from tests.objects import faulty

STATUS = {
    Concern.REQUEST: 400,
    Concern.OBJECT: 409,
    Concern.LATER: 503,
    Concern.OPERATOR: 403,
}
"""The status with which a code of that concern is sent here; the code decides."""
REFUSED = {"RequestTimeTooSkewed": 403, "SignatureDoesNotMatch": 403, "OperationAborted": 409, "ConditionalRequestConflict": 409}
ABSENT = {"NoSuchKey", "NoSuchVersion", "BlobNotFound", "ResourceNotFound"}
TAKEN = {"PreconditionFailed", "BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}


@pytest.fixture(scope="module")
def server():
    with faulty.a_store() as state:
        yield state


@pytest.fixture
def objects(server):
    keys = sigv4.Credentials("key", "secret", None)
    store = CloudObjects.open(Connection(bucket="bucket", endpoint=server.url, credentials=keys, timeout_s=5.0))
    store._store = store._once  # the vendor's own repetitions take seconds
    server.refusals.clear()
    yield store
    server.refusals.clear()
    server.post_refusals.clear()


def status_of(code: str) -> int:
    if code in ABSENT or code == "NoSuchBucket":
        return 404
    return 412 if code in TAKEN else REFUSED.get(code) or STATUS[codes.BY_CODE[code].concern]


@pytest.mark.parametrize("code", sorted(map(str, codes.BY_CODE)))
async def test_an_error_code_concerns_one_key_and_says_what_helps(server, objects, code):
    """Nothing that is answered is fatal. The message has the code and the advice; the other key is served; afterwards both are."""
    await objects.put("one", b"1")
    row = codes.BY_CODE[code]
    server.refusals["one"] = (status_of(code), code)
    with pytest.raises(errors.DyffError) as read:
        await objects.get("one")
    assert not isinstance(read.value, errors.Fatal)
    if code in ABSENT:
        assert type(read.value) is errors.NotFound
    else:
        wanted = {Concern.REQUEST: errors.FixRequest, Concern.LATER: errors.Unavailable}.get(row.concern, errors.Blocked)
        assert isinstance(read.value, wanted)
        assert isinstance(read.value, errors.Blocked) == (wanted is errors.Blocked)
        assert row.advice in read.value.message
        assert code in read.value.message
    with pytest.raises(errors.DyffError) as written:
        await objects.put("one", b"2", if_absent=True)
    assert not isinstance(written.value, errors.Fatal)
    with contextlib.suppress(errors.Unavailable, errors.FixRequest):  # nothing else, and nothing fatal
        await objects.delete("one")
    await objects.put("two", b"2")
    assert await objects.get("two") == b"2"
    server.refusals.clear()
    assert await objects.get("one") == b"1"


@pytest.mark.parametrize("status", [*sorted(map(int, codes.BY_STATUS)), 402, 418, 451, 505, 599])
@pytest.mark.parametrize("code", [None, "SomethingNew"])
async def test_a_status_alone_is_classified_too(server, objects, status, code):
    """Without a code that is known the status decides, and an unknown one is tried again, with what was answered in the message."""
    await objects.put("one", b"1")
    server.refusals["one"] = (status, code)
    row = codes.BY_STATUS.get(status, UNKNOWN)
    with pytest.raises(errors.DyffError) as caught:
        await objects.get("one")
    assert not isinstance(caught.value, errors.Fatal)
    if status not in (404,):
        assert row.advice in caught.value.message
        assert (code or "") in caught.value.message or 300 < status < 400  # the vendor drops the body of a redirect
    server.refusals.clear()
    assert await objects.get("one") == b"1"


async def test_a_clock_is_not_called_credentials(server, objects):
    """`RequestTimeTooSkewed` passes when the clock is set, and the message leads its reader to the clock."""
    server.refusals["one"] = (403, "RequestTimeTooSkewed")
    with pytest.raises(errors.Unavailable, match="clocks") as caught:
        await objects.put("one", b"1")
    assert not isinstance(caught.value, errors.Blocked)
    assert "check" not in caught.value.message


async def test_a_bucket_that_is_gone_is_no_missing_object(server, objects):
    """To a HEAD both are a bare 404. Taken for a missing object, it would end entities whose data is only out of reach."""
    server.objects.pop("one", None)
    assert await objects.head("one") is None
    server.refusals["one"] = (404, "NoSuchBucket")
    for call in (objects.head, objects.get):
        with pytest.raises(errors.Blocked, match="no such bucket"):
            await call("one")


@pytest.mark.parametrize(
    ("status", "code"), [(403, "RequestTimeTooSkewed"), (403, "InvalidAccessKeyId"), (400, "ExpiredToken"), (403, "AccessDenied")]
)
async def test_the_reason_of_a_bare_status_is_asked_for(server, objects, status, code):
    """An answer to HEAD has no body, so a wrong clock would look like a lack of rights."""
    server.refusals["one"] = (status, code)
    with pytest.raises(errors.Unavailable, match=code) as caught:
        await objects.head("one")
    assert codes.BY_CODE[code].advice in caught.value.message


@pytest.mark.parametrize(("status", "code"), [(409, "OperationAborted"), (409, "ConditionalRequestConflict")])
async def test_a_conflict_of_requests_is_not_a_taken_key(server, objects, status, code):
    """Nothing was stored, and nothing of the same name is there: it is put again later."""
    server.refusals["one"] = (status, code)
    for if_absent in (False, True):
        with pytest.raises(errors.Unavailable, match=code):
            await objects.put("one", b"1", if_absent=if_absent)


@pytest.mark.parametrize(
    ("status", "code", "known"),
    [(500, "InternalError", False), (502, None, False), (504, None, False), (503, "SlowDown", True), (403, "AccessDenied", True)],
)
async def test_only_a_refusal_is_known_to_have_done_nothing(server, objects, status, code, known):
    """After a fault of the store a write may have been done; after a refusal it was not."""
    server.refusals["one"] = (status, code)
    with pytest.raises(errors.Unavailable if known else errors.OutcomeUnknown):
        await objects.put("one", b"1")


@pytest.mark.parametrize(("status", "code", "wanted"), [
    (403, "InvalidAccessKeyId", errors.Misconfigured),
    (403, "AccessDenied", errors.Misconfigured),
    (404, "NoSuchBucket", errors.Misconfigured),
    (301, "PermanentRedirect", errors.Misconfigured),
    (403, "RequestTimeTooSkewed", errors.Unavailable),
    (503, "SlowDown", errors.Unavailable),
    (418, "SomethingNew", errors.Unavailable),
])  # fmt: skip
def test_only_a_start_ends_for_what_an_operator_must_do(server, objects, status, code, wanted):
    """Settings that have never worked are answered at once; what passes by itself is not."""
    server.refusals["dyff:marker"] = (status, code)
    with pytest.raises(wanted) as caught:
        CloudObjects.open(objects._connection)
    assert type(caught.value) is wanted


async def two_parts():
    """More than one request takes."""
    for _ in range(3):
        yield b"x" * PART_BYTES


@pytest.mark.parametrize(
    ("when", "status", "code", "wanted"),
    [
        ("begin", 503, "SlowDown", errors.Unavailable),
        ("begin", 403, "AccessDenied", errors.Blocked),
        ("begin", 404, "NoSuchBucket", errors.Blocked),
        ("begin", 403, "RequestTimeTooSkewed", errors.Unavailable),
        ("begin", 500, "InternalError", errors.OutcomeUnknown),
        ("begin", 200, "InternalError", errors.OutcomeUnknown),
        ("part", 503, "SlowDown", errors.Unavailable),
        ("part", 403, "AccessDenied", errors.Blocked),
        ("part", 404, "NoSuchUpload", errors.Unavailable),
        ("complete", 503, "SlowDown", errors.Unavailable),
        ("complete", 200, "InternalError", errors.OutcomeUnknown),
        ("complete", 400, "InvalidPart", errors.Blocked),
        ("complete", 403, "AccessDenied", errors.Blocked),
    ],
)
async def test_an_upload_in_parts_fails_with_what_the_store_says(server, objects, when, status, code, wanted):
    """At whichever of its requests, and while data still comes: the error is ours, and the next attempt stores it."""
    if when == "part":
        server.refusals["large"] = (status, code)
    else:
        server.post_refusals[when] = (status, code)
    with pytest.raises(wanted):
        await objects.put("large", two_parts())
    assert "large" not in server.objects
    server.refusals.clear()
    server.post_refusals.clear()
    await objects.put("large", two_parts())
    assert len(server.objects.pop("large")) == 3 * PART_BYTES


async def test_the_error_of_the_data_is_not_hidden_by_that_of_the_store(server, objects):
    """If the sender breaks off, the upload is given up, and its own error arrives."""

    async def broken():
        yield b"x" * PART_BYTES
        yield b"x" * PART_BYTES
        raise errors.TooLarge("no more")

    with pytest.raises(errors.TooLarge, match="no more"):
        await objects.put("large", broken())
    assert "large" not in server.objects


async def test_a_deletion_in_a_bucket_that_is_gone_is_not_done(server, objects):
    """The object is only out of reach; that of one that is absent is done."""
    await objects.delete("absent")
    server.post_refusals["delete"] = (404, "NoSuchBucket")
    with pytest.raises(errors.Blocked, match="no such bucket"):
        await objects.delete("one")
