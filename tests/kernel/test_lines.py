"""Lines that are written in the background, to real pipes and to sinks that fail."""

from __future__ import annotations

import os
import re
import threading

import pytest

from dyff.kernel import lines


def notice(lost: int) -> bytes:
    return f"{lost} lost\n".encode()


class Failing:
    """A sink that can be broken. `written` holds what it took."""

    def __init__(self):
        self.written = b""
        self.broken = False
        self.took = threading.Event()
        self.failed = threading.Event()

    def write(self, data):
        if self.broken:
            self.failed.set()
            raise OSError(28, "No space left on device")
        self.written += data
        self.took.set()
        return len(data)

    def idle(self):
        return None

    def close(self):
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Retries come soon."""
    monkeypatch.setattr(lines, "RETRY_S", 0.01)


def read(fd: int, until: bytes) -> bytes:
    text = b""
    while until not in text:
        text += os.read(fd, 65536)
    return text


def test_a_pipe_that_nothing_reads_blocks_no_one_and_loses_the_newest(monkeypatch):
    """What fits in the pipe and in memory is kept, in order; the rest is counted, and a notice stands where it would have been."""
    monkeypatch.setattr(lines, "MAX_WAITING", 100)
    reader, writer = os.pipe()
    subject = lines.Lines(lines.Descriptor(writer), notice)
    wide = b"x" * 999 + b"\n"
    for _ in range(2000):  # more than a pipe and the memory hold
        subject.put(wide)
    lost = subject.state().lost
    assert 1500 < lost < 2000
    text, noticed = b"", 0
    while noticed < lost:  # where the thread starts late, there are two notices, with lines in between
        text += read(reader, b"\n")
        noticed = sum(int(each) for each in re.findall(rb"^(\d+) lost$", text, re.MULTILINE))
    assert noticed == lost
    subject.put(b"end\n")
    text += read(reader, b"end\n")
    assert text.count(wide) == 2000 - lost
    subject.close(5)


def test_what_a_sink_that_fails_does_not_take_is_counted():
    """When it works again, the first line says how many are missing, and later lines are written."""
    sink = Failing()
    sink.broken = True
    subject = lines.Lines(sink, notice)
    subject.put(b"one\n")
    assert sink.failed.wait(10)
    while subject.state().lost < 1:
        sink.failed.clear()
        sink.failed.wait(10)
    subject.put(b"two\n")
    assert subject.state() == lines.State(2, "No space left on device")
    sink.broken = False
    assert sink.took.wait(10)
    while subject.state().reason is not None:
        sink.took.wait(0.01)
    subject.put(b"three\n")
    subject.close(10)
    assert sink.written == b"2 lost\nthree\n"


def test_lines_that_are_kept_wait_for_the_sink():
    """With `keep`, a failure loses nothing that fits in memory."""
    sink = Failing()
    sink.broken = True
    subject = lines.Lines(sink, notice, keep=True)
    subject.put(b"one\n")
    assert sink.failed.wait(10)
    subject.put(b"two\n")
    sink.broken = False
    subject.close(10)
    assert (sink.written, subject.state().lost) == (b"one\ntwo\n", 0)


def test_a_failing_sink_does_not_hold_up_the_end():
    """Closing returns when the time is over, or when the last attempt has failed."""
    sink = Failing()
    sink.broken = True
    for keep in (True, False):
        subject = lines.Lines(sink, notice, keep=keep)
        subject.put(b"one\n")
        subject.close(10)
        assert not subject._thread.is_alive()


def test_a_descriptor_that_another_process_made_non_blocking_is_waited_for():
    """A full pipe then answers at once; nothing is lost while it is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    subject = lines.Lines(lines.Descriptor(writer), notice)
    wide = b"x" * 9999 + b"\n"
    for _ in range(50):
        subject.put(wide)
    subject.put(b"end\n")
    assert read(reader, b"end\n") == wide * 50 + b"end\n"
    subject.close(5)


def test_a_line_can_be_made_by_the_thread_that_writes():
    """The caller only hands over what makes it. Such lines are written in order with the others."""
    sink = Failing()
    subject = lines.Lines(sink, notice, linger_s=0.05)
    makers = []

    def make() -> bytes:
        makers.append(threading.current_thread())
        return b"two\n"

    for each in (b"one\n", make, b"three\n"):
        subject.put(each)
    subject.close(5)
    assert sink.written == b"one\ntwo\nthree\n"
    assert makers != []
    assert threading.current_thread() not in makers


def test_a_line_that_cannot_be_made_is_counted_and_takes_no_other_with_it():
    """It is lost, and a notice says so; the thread lives on."""
    sink = Failing()
    subject = lines.Lines(sink, notice)

    def fail() -> bytes:
        raise ValueError("no line")

    subject.put(fail)
    subject.put(b"next\n")
    subject.close(5)
    assert sorted(sink.written.splitlines()) == [b"1 lost", b"next"]
    assert subject.state().lost == 1


def test_lines_that_are_not_made_yet_are_bounded_by_their_number_and_size(monkeypatch):
    """While nothing can be written, no more of them wait than of finished lines."""
    monkeypatch.setattr(lines, "MAX_LATER", 10)
    sink = Failing()
    sink.broken = True
    subject = lines.Lines(sink, notice, keep=True)
    subject.put(b"first\n")
    assert sink.failed.wait(10)
    for _ in range(15):
        subject.put(lambda: b"later\n")
    assert subject.state().lost == 5
    sink.broken = False
    subject.close(5)
    assert sink.written.count(b"later\n") == 10
    assert b"5 lost\n" in sink.written
