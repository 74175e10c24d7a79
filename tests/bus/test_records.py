"""The embedded bus: the newest records in memory."""

from __future__ import annotations

from dyff.bus import port
from dyff.bus.embedded import records
from tests.bus.logs import message, opened, texts
from tests.narrowing import sure


def test_a_tail_is_bounded_and_without_holes(monkeypatch):
    """The newest records are kept up to a size; for what is older the answer is that it is elsewhere."""
    monkeypatch.setattr(records, "MAX_BYTES", 1000)
    tail = records.Tail()
    assert tail.get(0, 10) is None
    for offset in range(100):
        tail.extend([port.Record("t", 0, offset, 0, b"k" * 10, b"v" * 90)])
    assert tail.get(0, 10) is None
    assert [record.offset for record in sure(tail.get(98, 10))] == [98, 99]
    assert sum(tail.get(offset, 1) is not None for offset in range(100)) <= 10
    tail.extend([port.Record("t", 0, 100, 0, b"", b"v" * 5000)])
    assert tail.get(100, 1) is None


async def test_old_and_new_records_join_without_a_gap(tmp_path, monkeypatch):
    """A reader that begins on the disk and ends in memory sees every record once."""
    monkeypatch.setattr(records, "MAX_BYTES", 2000)
    async with opened(tmp_path / "log.db") as bus:
        for number in range(200):
            await bus.publish("t", [message(str(number))])
        assert await texts(bus) == list(map(str, range(200)))
