"""Lines that are written in the background: a caller never waits, and gets no error.

A thread writes them. While its writes wait, lines wait in bounded memory; what does not fit there is lost and counted. So are, unless they
are kept, those whose write fails. A notice stands in their place that says how many are missing.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

MAX_WAITING = 20_000
MAX_WAITING_BYTES = 8 * 2**20
"""The most lines that wait to be written, and their size. Further ones are lost."""
MAX_BATCH_BYTES = 256 * 2**10
RETRY_S = 1.0
"""The pause after a failed write."""
LATER_BYTES = 1024
"""About the size of a line that is not made yet: what lines are made of is cut to some hundred characters."""
MAX_LATER = MAX_WAITING_BYTES // LATER_BYTES
"""No further line that is not made yet is taken if so many lines wait."""
MADE_AT_ONCE = 32
"""So many lines are made, then other threads may run: a tenth of a millisecond."""
STALLED_S = 5.0
"""A write that takes longer is reported as a trouble: the reader has stopped reading."""


Line = bytes | Callable[[], bytes]
"""A line, which ends with a line break, or what makes it in the thread that writes."""


class Sink(Protocol):
    """Where lines go. Only the thread calls it."""

    def write(self, data: bytes) -> int:
        """Write whole lines, or the first part of them; returns how many bytes. May block.

        Raises:
            OSError: nothing was written; the same is tried again later.
        """

    def idle(self) -> float | None:
        """There is nothing to write. Returns after how many seconds to call this again; None: not before the next line.

        Raises:
            OSError: what was to be done is tried again later.
        """

    def close(self) -> None:
        """Nothing more comes."""


class State(msgspec.Struct, frozen=True):
    """How the writing goes. `lost`: lines since the start. `reason`: why nothing can be written at present; None if all is well."""

    lost: int
    reason: str | None


class Lines:
    """The lines of one output. Any thread may use it."""

    def __init__(self, sink: Sink, notice: Callable[[int], bytes], *, keep: bool = False, linger_s: float = 0.0) -> None:
        """`notice`: makes a line that says that as many lines were lost. `keep`: lines whose write failed wait, too, until it succeeds.
        `linger_s`: how long to collect lines before they are written.
        """
        self._sink, self._notice, self._keep, self._linger_s = sink, notice, keep, linger_s
        self._lock = threading.Lock()
        self._waiting: deque[Line] = deque()
        self._size = 0
        self._wake = threading.Event()
        self._lost = self._unreported = 0
        self._error: str | None = None
        self._busy_since: float | None = None
        self._torn = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Write a line soon. Never blocks."""
        if isinstance(line, bytes):
            self._put(line, len(line))
        elif self._keep and not self._unreported and len(self._waiting) < MAX_LATER:
            self._waiting.append(line)  # without the lock, since appending is atomic, and nothing has to be counted
        else:
            self._put(line, 0)
        if not self._wake.is_set():
            self._wake.set()

    def _put(self, line: Line, size: int) -> None:
        later = 0 if isinstance(line, bytes) else LATER_BYTES
        with self._lock:
            failing = self._error is not None and not self._keep
            is_full = len(self._waiting) >= (MAX_LATER if later else MAX_WAITING) or self._size + size + later > MAX_WAITING_BYTES
            if failing or is_full:
                self._lost += 1
                self._unreported += 1
                return
            if self._unreported:
                self._report_lost()
            self._waiting.append(line)
            self._size += size

    def state(self) -> State:
        """How it goes at present."""
        since, reason = self._busy_since, self._error
        if reason is None and since is not None and time.monotonic() - since > STALLED_S:
            reason = "nothing is read at its other end"
        return State(self._lost, reason)

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s` seconds. What is put later is lost."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        due: float | None = None
        while True:
            if not self._wake.wait(due):
                due = self._attempt(self._sink.idle)
                continue
            if self._linger_s:
                self._closing.wait(self._linger_s)
            self._wake.clear()
            self._drain()
            due = self._attempt(self._sink.idle)
            if self._closing.is_set():
                self._attempt(self._sink.close)
                return

    def _drain(self) -> None:
        """Write until nothing waits; when closing, until something fails."""
        while batch := self._batch():
            while batch:
                is_last_attempt = self._closing.is_set()
                try:
                    batch = batch[self._write(batch) :]
                    continue
                except OSError as error:
                    self._error = error.strerror or str(error)
                if is_last_attempt:
                    return
                if self._keep:
                    self._closing.wait(RETRY_S)
                else:
                    self._discard(batch)
                    self._recover()
                    batch = b""

    def _write(self, data: bytes) -> int:
        self._busy_since = time.monotonic()
        try:
            written = self._sink.write(data)
        finally:
            self._busy_since = None
        self._error = None
        self._torn = written > 0 and data[written - 1 : written] != b"\n"
        return written

    def _discard(self, batch: bytes) -> None:
        with self._lock:
            lost = batch.count(b"\n") + len(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._lost += lost
            self._unreported += lost

    def _recover(self) -> None:
        """Try to write the notice until that succeeds; then lines are accepted again."""
        is_last_attempt = False
        while not is_last_attempt:
            is_last_attempt = self._closing.wait(RETRY_S)
            missing = self._unreported
            line = (b"\n" if self._torn else b"") + self._notice(missing)
            try:
                while line:
                    line = line[self._write(line) :]
            except OSError as error:
                self._error = error.strerror or str(error)
                continue
            with self._lock:
                self._unreported -= missing
            return

    def _batch(self) -> bytes:
        taken: list[Line] = []
        with self._lock:
            if not self._waiting and self._unreported:
                self._report_lost()
            size = 0
            while self._waiting and size < MAX_BATCH_BYTES:
                line = self._waiting.popleft()
                taken.append(line)
                counted = len(line) if isinstance(line, bytes) else 0
                self._size -= counted
                size += counted or LATER_BYTES
        return b"".join(self._made(taken))

    def _made(self, taken: list[Line]) -> Iterator[bytes]:
        """Finished lines. One that cannot be made is lost, and no other is with it."""
        for number, line in enumerate(taken, 1):
            if isinstance(line, bytes):
                yield line
                continue
            try:
                yield line()
            except Exception:
                with self._lock:
                    self._lost += 1
                    self._unreported += 1
            if number % MADE_AT_ONCE == 0:
                time.sleep(0)

    def _report_lost(self) -> None:
        """Put the notice where the lost lines would have been. Called with the lock held."""
        line = self._notice(self._unreported)
        self._waiting.append(line)
        self._size += len(line)
        self._unreported = 0

    def _attempt(self, act: Callable[[], float | None]) -> float | None:
        try:
            return act()
        except OSError as error:
            self._error = error.strerror or str(error)
            return RETRY_S


class Descriptor:
    """Writes to an open file descriptor: a file, a pipe, a terminal."""

    def __init__(self, fd: int) -> None:
        """`fd`: stays open."""
        self._fd = fd

    def write(self, data: bytes) -> int:
        """See `Sink`."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # another process has made it non-blocking
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(RETRY_S * 1000)
            return 0

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
