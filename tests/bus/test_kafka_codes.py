"""Every error that a broker can answer with, or that the vendor's library raises: what it becomes."""

from __future__ import annotations

import asyncio
import inspect
import ssl

import pytest
from aiokafka import errors as kafka

from dyff.bus import port
from dyff.bus.kafka import codes, producing
from dyff.bus.kafka.connecting import FENCED, Connection, needs_an_operator, translated
from dyff.bus.kafka.log_clock import LogClock
from dyff.kernel import clock, errors
from dyff.kernel.concerns import UNKNOWN, Concern

ALL_CODES = sorted({*kafka.kafka_errors, *range(-1, 130)} - {0})
EXCEPTIONS = [each for each in vars(kafka).values() if inspect.isclass(each) and issubclass(each, kafka.KafkaError)]
WITHOUT_CODE = [each for each in EXCEPTIONS if getattr(each, "errno", None) is None and each is not kafka.BrokerResponseError]
TOPIC = port.Topic("t", 1, False, "epoch")


def test_every_code_has_a_row():
    """Those that the library knows and those of the protocol: none is left to chance."""
    assert [code for code in ALL_CODES if code not in codes.CODES] == []


@pytest.mark.parametrize("code", [*ALL_CODES, 130, 9999])
def test_a_code_becomes_what_it_concerns(code):
    """None is fatal, and the message has the code and what helps; one that is not known is tried again."""
    row = codes.CODES.get(code, UNKNOWN)
    with pytest.raises(errors.DyffError) as caught, translated("reading t/0"):
        raise codes.error(code, "the broker's words")
    found = caught.value
    assert not isinstance(found, errors.Fatal)
    assert {str(code), "broker's words"} <= {part for part in (str(code), "broker's words") if part in found.message}
    assert row.advice in found.message
    if code == 3:
        assert type(found) is errors.NotFound
    else:
        assert type(found) is (errors.Unavailable if row.concern is Concern.LATER else errors.Blocked)


@pytest.mark.parametrize("kind", [*WITHOUT_CODE, OSError, TimeoutError, ssl.SSLCertVerificationError])
def test_an_exception_without_a_code_is_classified(kind):
    """What settings or rights cause needs an operator; everything else is tried again. None is fatal."""
    with pytest.raises(errors.Unavailable) as caught, translated("reading t/0"):
        raise kind("as asked for")
    wanted = isinstance(codes.row_of(kind("x")).concern, Concern) and codes.row_of(kind("x")).concern is not Concern.LATER
    assert isinstance(caught.value, errors.Blocked) == wanted
    assert str(kind("as asked for")).rpartition(": ")[2][:100] in caught.value.message


@pytest.mark.parametrize("code", [29, 30, 31, 53, 58])
def test_rights_and_passwords_are_the_operators(code):
    """They are looked for among the reasons why a client could not start."""
    assert needs_an_operator(codes.error(code, "x"))
    assert not needs_an_operator(codes.error(7, "x"))


@pytest.mark.parametrize("code", [47, 49, 90])
def test_a_fenced_owner_is_recognised_by_each_of_its_codes(code):
    """Newer brokers have a code of their own for it."""
    assert isinstance(codes.error(code, "x"), FENCED)


class Refusing:
    """A producer of which every message is answered with an error."""

    def __init__(self, error, *, at_once=False):
        self._error, self._at_once, self.stopped = error, at_once, False

    async def start(self):
        pass

    async def stop(self):
        self.stopped = True

    async def send(self, *_, **__):
        if self._at_once:
            raise self._error
        future = asyncio.get_running_loop().create_future()
        future.set_exception(self._error)
        return future


@pytest.mark.parametrize("code", [each for each in ALL_CODES if each != 3])
async def test_a_publisher_knows_what_was_certainly_not_appended(code):
    """A refusal of rights is 503 and certain; too large is 413; after anything else the outcome is unknown. The client is replaced."""
    publisher = producing.Publisher(Connection(bootstrap_servers="x"), LogClock(clock.SystemClock()))
    client = Refusing(codes.error(code, "the broker's words"))
    publisher._kept._make = lambda: client
    publisher._kept._client = client
    row = codes.CODES[code]
    wanted = errors.Blocked if row.concern is Concern.OPERATOR else errors.TooLarge if code in (10, 18) else errors.OutcomeUnknown
    with pytest.raises(wanted, match=str(code)) as caught:
        await publisher.publish(TOPIC, [(0, port.Message(b"k", b"v"))])
    assert type(caught.value) is wanted
    assert client.stopped == (wanted is not errors.TooLarge)


async def test_a_message_that_was_never_sent_was_not_appended():
    """The library refuses it before it sends anything."""
    publisher = producing.Publisher(Connection(bootstrap_servers="x"), LogClock(clock.SystemClock()))
    publisher._kept._client = Refusing(kafka.NodeNotReadyError("none"), at_once=True)
    with pytest.raises(errors.Unavailable):
        await publisher.publish(TOPIC, [(0, port.Message(b"k", b"v"))])
