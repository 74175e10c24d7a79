"""Every answer of MongoDB that is known, for one collection and for a while: what it becomes, and that all else continues."""

from __future__ import annotations

import gc
import inspect
from typing import Any

import bson.errors
import pytest
from pymongo import errors as vendor

from dyff.kernel import errors, mongo, mongo_codes
from dyff.kernel.concerns import UNKNOWN, Concern
from dyff.kernel.mongo_errors import translated
from tests.contracts import mongodb
from tests.kernel import op_msg

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
NAME = "the test's database"
RETRIED = (189, 262, 11600)
"""The drivers repeat these until the time limit, and then speak of that."""
UNKNOWN_CODES = (0x7FFFFFF0, 90001)


@pytest.fixture(autouse=True)
def collected():
    """So that a socket that the driver left does not fail the test after."""
    yield
    gc.collect()


@pytest.mark.parametrize("code", [*sorted(mongo_codes.CODES), *UNKNOWN_CODES])
def test_a_code_becomes_what_it_concerns(code):
    """None is fatal. The message has the code and the advice. A write that was refused was not done; any other one may have been."""
    row = mongo_codes.CODES.get(code, UNKNOWN)
    for changing in (False, True):
        with pytest.raises(errors.DyffError, match=NAME) as caught, translated(NAME, changing=changing):
            raise vendor.OperationFailure("odd", code)
        found = caught.value
        assert not isinstance(found, errors.Fatal)
        assert row.advice in found.message
        assert str(code) in found.message
        if code in mongo_codes.TOO_LARGE:
            assert type(found) is errors.TooLarge
        elif row.concern is Concern.LATER:
            assert type(found) is (errors.OutcomeUnknown if changing else errors.Unavailable)
        elif row.concern is Concern.REQUEST:
            assert type(found) is (errors.Blocked if changing else errors.FixRequest)
        else:
            assert type(found) is errors.Blocked


@pytest.mark.parametrize("code", [64, 79, 91, 100, 189, 10107])
def test_a_write_without_its_confirmation_is_unknown(code):
    """A write concern's error comes after the write, whatever its code says."""
    with pytest.raises(errors.OutcomeUnknown, match=str(code)), translated(NAME, changing=True):
        raise vendor.WriteConcernError("not confirmed", code)


EXCEPTIONS = [each for each in vars(vendor).values() if inspect.isclass(each) and issubclass(each, vendor.PyMongoError)]
OPERATORS = (vendor.ConfigurationError, vendor.InvalidName, vendor.EncryptionError)


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_an_exception_of_the_driver_is_never_fatal(kind):
    """Only what settings cause is an operator's; all others are tried again."""
    made = {
        vendor.BulkWriteError: {"writeErrors": [], "writeConcernErrors": []},
        vendor.EncryptionError: ValueError("x"),
        vendor.EncryptedCollectionError: ValueError("x"),
    }
    arguments: tuple[Any, ...] = (made.get(kind, "x"),)
    if kind is vendor.EncryptedCollectionError:
        arguments = (ValueError("x"), {})
    if kind is vendor.ClientBulkWriteException:
        arguments = ({"error": None, "writeErrors": [], "writeConcernErrors": []}, False)
    with pytest.raises(errors.Unavailable) as caught, translated(NAME):
        raise kind(*arguments)
    assert isinstance(caught.value, errors.Blocked) == issubclass(kind, OPERATORS)


@pytest.mark.parametrize("error", [bson.errors.InvalidDocument("x"), OverflowError("x")], ids=repr)
def test_a_value_that_cannot_be_encoded_is_this_requests(error):
    """In a question it is the caller's; in what is to be stored it concerns that document."""
    with pytest.raises(errors.FixRequest), translated(NAME):
        raise error
    with pytest.raises(errors.Blocked), translated(NAME, changing=True):
        raise error


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
@pytest.mark.parametrize("code", [13, 18, 189, 262, 121, 11600, 90001])
async def test_one_collection_is_refused_for_a_while(driver, code):
    """The other one is served; the message says why; afterwards both are, with the same client."""
    async with (
        op_msg.running() as server,
        mongo.Database.open(mongo.Connection(uri=server.uri, driver=driver, timeout_s=2.0), NAME) as database,
    ):
        one, other = database.collection("one"), database.collection("other")
        server.refuse("one", code)
        said = NAME if code in RETRIED else str(code)
        for _ in range(2):
            with pytest.raises(errors.Unavailable, match=said):
                await one.get({})
            with pytest.raises((errors.Unavailable, errors.OutcomeUnknown), match=said):
                await one.insert({"_id": "a"})
            assert await other.get({}) == {"_id": "a"}
            assert await other.insert({"_id": "a"})
        server.refusals.clear()
        assert await one.get({}) == {"_id": "a"}
        assert await one.insert({"_id": "a"})


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
async def test_a_name_that_cannot_be_looked_up_may_be_looked_up_later(driver):
    """`mongodb+srv` needs DNS at the start. The drivers call its failure a wrong setting; it is none, and it passes."""
    connection = mongo.Connection(uri="mongodb+srv://cluster.dyff.invalid/", driver=driver, timeout_s=1.0)
    with pytest.raises(errors.Unavailable, match="DNS") as caught:
        async with mongo.Database.open(connection, NAME):
            pass
    assert not isinstance(caught.value, errors.Blocked)
