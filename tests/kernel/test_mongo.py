"""The one file of a driver's calls: what both drivers must do, and whose errors become which of ours."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import time

import anyio
import msgspec
import pytest
from pymongo import errors as vendor

from dyff.kernel import errors, mongo
from dyff.kernel.mongo_errors import translated
from tests import certificates as certificates_of_tests
from tests import waiting
from tests.contracts import mongodb

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""PyMongo Async leaves the sockets of attempts that failed to the garbage collector."""

NAME = "the test's database"
LIMIT_S = 1.0


@pytest.fixture(autouse=True)
def collected():
    """So that such a socket does not fail the test after."""
    yield
    gc.collect()


@pytest.fixture(params=mongodb.params("driver"))
async def connection(request):
    async with mongodb.database(request.param) as given:
        yield given


@pytest.fixture
async def wire(connection):
    """The network, and a collection behind it with one document."""
    network = mongodb.Wire(connection.uri)
    async with (
        network.before(msgspec.structs.replace(connection, timeout_s=LIMIT_S)) as through,
        mongo.Database.open(through, NAME) as database,
    ):
        collection = database.collection("things")
        await collection.insert({"_id": "a", "n": 0})
        yield network, collection


def bulk(*codes: int, concern: tuple[int, ...] = ()) -> vendor.BulkWriteError:
    failed = [{"index": 0, "code": code, "errmsg": "no"} for code in codes]
    return vendor.BulkWriteError({"writeErrors": failed, "writeConcernErrors": [{"code": code} for code in concern]})


def without_writes(error: vendor.PyMongoError) -> vendor.PyMongoError:
    error._add_error_label("NoWritesPerformed")
    return error


@pytest.mark.parametrize(
    ("error", "want_reading", "want_changing"),
    [
        (vendor.ServerSelectionTimeoutError("none"), errors.Unavailable, errors.Unavailable),
        (vendor.WaitQueueTimeoutError("none is free"), errors.Unavailable, errors.Unavailable),
        (without_writes(vendor.AutoReconnect("gone")), errors.Unavailable, errors.Unavailable),
        (vendor.AutoReconnect("gone"), errors.Unavailable, errors.OutcomeUnknown),
        (vendor.NetworkTimeout("late"), errors.Unavailable, errors.OutcomeUnknown),
        (vendor.ExecutionTimeout("late", 50), errors.Unavailable, errors.OutcomeUnknown),
        (vendor.WTimeoutError("not everywhere", 64), errors.Unavailable, errors.OutcomeUnknown),
        (vendor.OperationFailure("odd", 1), errors.Unavailable, errors.OutcomeUnknown),
        (bulk(112), errors.Unavailable, errors.OutcomeUnknown),
        (bulk(concern=(64,)), errors.Unavailable, errors.OutcomeUnknown),
        (vendor.OperationFailure("Authentication failed.", 18), errors.Blocked, errors.Blocked),
        (vendor.OperationFailure("not authorized", 13), errors.Blocked, errors.Blocked),
        (vendor.InvalidURI("odd"), errors.Blocked, errors.Blocked),
        (vendor.ConfigurationError("odd"), errors.Blocked, errors.Blocked),
        (vendor.DocumentTooLarge("17 MB"), errors.TooLarge, errors.TooLarge),
        (vendor.OperationFailure("BSONObjectTooLarge", 10334), errors.TooLarge, errors.TooLarge),
        (bulk(17419), errors.TooLarge, errors.TooLarge),
    ],
    ids=repr,
)
def test_what_may_have_changed_something_is_unknown(error, want_reading, want_changing):
    """A call that reads did nothing; one that changes something did nothing only where no server was asked, or the server says so."""
    for changing, wanted in [(False, want_reading), (True, want_changing)]:
        with pytest.raises(wanted, match=NAME) as caught, translated(NAME, changing=changing):
            raise error
        assert type(caught.value) is wanted


def test_the_file_of_authorities_switches_tls_on():
    """A CA file or a key file alone is enough; without either the URI decides, and what it says of user and password stays."""
    plain = mongo.Connection(uri="mongodb://x").options()
    assert {"tls", "tlsCAFile", "username", "password"} & set(plain) == set()
    assert mongo.Connection(uri="mongodb://x", tls_ca_file="ca.pem").options()["tls"]
    given = mongo.Connection(uri="mongodb://x", tls_key_file="key.pem", username="u", password="p", timeout_s=2.5).options()
    assert (given["tls"], given["tlsCertificateKeyFile"], given["username"], given["password"]) == (True, "key.pem", "u", "p")
    assert given["timeoutMS"] == 2500


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
async def test_a_server_that_is_not_there_is_unavailable(driver):
    """No server listens: reported within the time limit, and nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    before = asyncio.all_tasks()
    started = time.monotonic()
    with pytest.raises(errors.Unavailable, match=NAME):
        async with mongo.Database.open(mongo.Connection(uri=f"mongodb://127.0.0.1:{port}/", driver=driver, timeout_s=0.3), NAME):
            pass
    assert time.monotonic() - started < 5
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
@pytest.mark.parametrize("given", [{"uri": "http://x"}, {"uri": "mongodb://x", "tls_ca_file": "no-such-file.pem"}], ids=["uri", "ca"])
async def test_settings_that_cannot_work_are_reported_at_once(driver, given):
    """A URI of something else, or a file that is not there."""
    with pytest.raises(errors.Misconfigured, match=NAME):
        async with mongo.Database.open(mongo.Connection(driver=driver, timeout_s=0.3, **given), NAME):
            pass


async def test_a_user_that_the_server_does_not_know_is_misconfigured(connection):
    """No repetition helps."""
    wrong = msgspec.structs.replace(connection, username="nobody", password="wrong", timeout_s=5.0)
    with pytest.raises(errors.Misconfigured, match="check user, password and roles"):
        async with mongo.Database.open(wrong, NAME):
            pass


async def test_nothing_is_left_of_a_client(connection):
    """Closed, and also where its user is cancelled, its tasks have ended."""
    before = asyncio.all_tasks()
    async with mongo.Database.open(connection, NAME) as database:
        await database.collection("things").insert({"_id": "a"})
    assert asyncio.all_tasks() == before
    with anyio.move_on_after(0.1) as scope:
        async with mongo.Database.open(connection, NAME) as database:
            while True:
                await database.collection("things").get({"_id": "a"})
    assert scope.cancelled_caught
    assert asyncio.all_tasks() == before


async def test_it_reads_and_writes_with_majority_at_the_primary(connection):
    """Whatever the URI says."""
    weak = msgspec.structs.replace(connection, uri=f"{connection.uri}?w=1&readPreference=secondary&readConcernLevel=local")
    async with mongo.Database.open(weak, NAME) as database:
        collection = database.collection("things")._collection
        assert collection.write_concern.document == {"w": "majority", "j": True}
        assert collection.read_concern.level == "majority"
        assert collection.read_preference.mode == 0


async def test_a_server_that_does_not_answer_is_given_up(wire):
    """A read did nothing, a write may have been done; both are reported within the limit, and afterwards it continues by itself."""
    network, things = wire
    network.hold()
    started = time.monotonic()
    with pytest.raises(errors.Unavailable):
        await things.get({"_id": "a"})
    with pytest.raises((errors.OutcomeUnknown, errors.Unavailable)):
        await things.update({"_id": "a"}, {"$set": {"n": 1}})
    assert time.monotonic() - started < 10 * LIMIT_S
    network.release()
    with anyio.fail_after(20):
        while True:
            try:
                assert (await things.get({"_id": "a"}))["n"] in (0, 1)
                return
            except errors.Unavailable:
                await waiting.a_moment()


async def test_a_write_whose_answer_was_lost_is_unknown(wire):
    """The server has done it, and we cannot know that."""
    network, things = wire
    network.replies = False
    with pytest.raises(errors.OutcomeUnknown, match=NAME):
        await things.update({"_id": "a", "n": 0}, {"$set": {"n": 1}})
    network.replies = True
    network.cut()
    with anyio.fail_after(20):
        while True:
            try:
                assert (await things.get({"_id": "a"}))["n"] == 1
                return
            except errors.Unavailable:
                await waiting.a_moment()


async def test_a_connection_that_breaks_is_made_again(wire):
    """The call after a break succeeds, and a change is made once."""
    network, things = wire
    for number in range(3):
        network.cut()
        # real time: the break is noticed by the driver's own threads or tasks, and nothing reports it
        await asyncio.sleep(0.01)
        assert (await things.get({"_id": "a"}))["n"] == number
        network.cut()
        # real time: the break is noticed by the driver's own threads or tasks, and nothing reports it
        await asyncio.sleep(0.01)
        assert await things.update({"_id": "a"}, {"$inc": {"n": 1}})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, with a certificate for 127.0.0.1; and another authority."""
    return certificates_of_tests.make(tmp_path_factory.mktemp("certificates"))


async def test_tls_is_spoken_and_the_server_is_checked(connection, certificates):
    """With its authority it works; with another one, or in plain text, there is no connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "ours.pem", certificates / "ours.key")
    async with mongodb.Wire(connection.uri).before(msgspec.structs.replace(connection, timeout_s=2.0), context) as through:
        trusting = msgspec.structs.replace(through, tls_ca_file=str(certificates / "ours.pem"))
        async with mongo.Database.open(trusting, NAME) as database:
            assert await database.collection("things").insert({"_id": "a"})
        for wrong in (through, msgspec.structs.replace(through, tls_ca_file=str(certificates / "other.pem"))):
            with pytest.raises(errors.Unavailable):
                async with mongo.Database.open(wrong, NAME):
                    pass
