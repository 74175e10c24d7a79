"""The child process that reads untrusted bytes."""

from __future__ import annotations

import os
import signal

import pytest

from dyff.workflows import confined


def _crash(request: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def _memory(request: bytes) -> bytes:
    try:
        return b"got it" if bytearray(2 * confined.MAX_MEMORY_BYTES) else b""
    except MemoryError:
        return b"refused"


def _loop(request: bytes) -> bytes:
    while True:
        pass


def _write(request: bytes) -> bytes:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with open(request.decode(), "w") as file:
            file.write("x")
    except OSError:
        return b"refused"
    return b"wrote"


def test_it_answers(tmp_path):
    """What it is asked, and what it says, can be larger than a pipe holds; afterwards it is gone."""
    with confined.Child(lambda request: request[-60_000:]) as child:
        assert child.ask(bytes(2**20) + b"end") == bytes(59_997) + b"end"
        pid = child._pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_may_not_take_all_memory():
    """More than the bound is refused, so the machine does not notice."""
    with confined.Child(_memory) as child:
        assert child.ask(b"x") == b"refused"


def test_it_writes_no_files(tmp_path):
    """It only reads."""
    with confined.Child(_write) as child:
        assert child.ask(str(tmp_path / "x").encode()) == b"refused"


@pytest.mark.parametrize("work", [_crash, _loop], ids=["crashes", "loops"])
def test_its_death_is_noticed(monkeypatch, work):
    """A crash, or too much time of the processor, harms nothing else."""
    monkeypatch.setattr(confined, "MAX_CPU_S", 1)
    with confined.Child(work) as child, pytest.raises(confined.Died):
        child.ask(b"x")


def test_one_that_is_not_asked_ends():
    """A step that ends early leaves no process behind."""
    with confined.Child(_loop) as child:
        pid = child._pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
