"""The number of partitions that the records show, against the setting."""

from __future__ import annotations

import pytest

from dyff.bus import envelope, evidence, port, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.kernel import errors
from dyff.kernel.clock import SystemClock
from dyff.kernel.ids import RandomIds

KEYS = [b"entity-%d" % number for number in range(60)]


@pytest.fixture
async def bus(tmp_path):
    async with EmbeddedBus.open(tmp_path / "log.db", clock=SystemClock(), ids=RandomIds()) as made:
        await made.create_topics(topics.specs(6))
        yield made


async def write(bus, partitions):
    await bus.publish(topics.EVENTS, [port.Message(key, b"{}", partition=topics.partition_of(key, partitions)) for key in KEYS])


async def test_nothing_follows_from_an_empty_log(bus):
    """A new installation takes any number."""
    await evidence.require(bus, 6)


async def test_records_that_fit_are_accepted(bus):
    """Markers of the fold are in each partition, under a key of their own, and show nothing."""
    await bus.publish(topics.EVENTS, [port.Message(envelope.MARKER_KEY + b"/3", b"{}", partition=3)])
    await write(bus, 6)
    await evidence.require(bus, 6)


@pytest.mark.parametrize("made_with", [1, 2, 3, 4])
async def test_another_number_is_refused_with_the_right_one(bus, made_with):
    """Also where the topic has as many partitions as the setting says."""
    await write(bus, made_with)
    with pytest.raises(errors.Misconfigured, match=rf"set bus\.partitions to {made_with} again"):
        await evidence.require(bus, 6)


async def test_a_log_that_was_split_fits_no_number(bus):
    """Records that were written with two numbers are not repaired by a setting, and none is advised."""
    await write(bus, 4)
    await write(bus, 6)
    with pytest.raises(errors.Misconfigured, match=r"fit no number.*restore"):
        await evidence.require(bus, 6)
