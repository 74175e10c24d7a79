"""Catch what a notebook prints, also what processes print that it starts, and pass it on to the log.

Both descriptors, 1 and 2, are pipes that one thread reads. Before anything else is added to the outputs, a mark goes through the pipes, so
that the order stays as it was.
"""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import io
import os
import secrets
import selectors
import sys
import threading
from collections.abc import Callable

from .child import WHERE

NAMES = {1: "stdout", 2: "stderr"}
SETTLE_S = 10.0
"""How long a mark may take through a pipe. Only a machine that stands still takes longer, and then only the order may differ."""
_CHUNK = 2**16


class Streams:
    """The two pipes, from construction until `restore`."""

    def __init__(self, taken: Callable[[str, str], None]) -> None:
        """`taken` is called in a thread, with `stdout` or `stderr` and a text."""
        self._taken = taken
        self._mark = b"\0dyff " + secrets.token_hex(8).encode() + b"\0"
        self._arrived = {1: threading.Event(), 2: threading.Event()}
        self._kept = {number: os.dup(number) for number in NAMES}
        self._log = self._kept[1]
        self._pipes: dict[int, int] = {}
        self._restored = False
        self.flush()
        for number in NAMES:
            read, write = os.pipe()
            os.dup2(write, number)
            os.close(write)
            self._pipes[read] = number
        for number, name in NAMES.items():
            raw = open(number, "wb", 0, closefd=False)  # noqa: SIM115 - it lives as long as the process
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True))
        # A thread that holds the interpreter's lock keeps the reader from its work, so these do not go through the pipes.
        faulthandler.enable(self._log)
        faulthandler.register(WHERE, file=self._log, all_threads=True, chain=False)
        self._reader = threading.Thread(target=self._read, name="dyff-streams", daemon=True)
        self._reader.start()

    def flush(self) -> None:
        """Pass on what is in Python's buffers."""
        for name in NAMES.values():
            with contextlib.suppress(Exception):
                getattr(sys, name).flush()

    def settle(self) -> None:
        """Wait until all that was printed has been taken."""
        if self._restored or threading.current_thread() is self._reader or not self._reader.is_alive():
            return
        self.flush()
        for number, arrived in self._arrived.items():
            arrived.clear()
            with contextlib.suppress(OSError):
                os.write(number, self._mark)
                arrived.wait(SETTLE_S)

    def print(self, text: str) -> None:
        """Write to the log only."""
        with contextlib.suppress(OSError):
            os.write(self._log, text.encode("utf-8", "backslashreplace"))

    def restore(self) -> None:
        """Take what is left, and print to the log again. A repetition does nothing: its marks would be in the log."""
        if not self._kept:
            return
        self.settle()
        self._restored = True  # a process that the code left can keep the pipes open, but no mark goes through them any more
        for number, kept in self._kept.items():
            os.dup2(kept, number)
        self._kept = {}

    def _read(self) -> None:
        decoders = {number: codecs.getincrementaldecoder("utf-8")("replace") for number in NAMES}
        held = dict.fromkeys(NAMES, b"")
        with selectors.DefaultSelector() as selector:
            for pipe in self._pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    number = self._pipes[key.fd]
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        selector.unregister(key.fd)
                    held[number] = self._divided(number, held[number] + data, decoders[number])

    def _divided(self, number: int, data: bytes, decoder: codecs.IncrementalDecoder) -> bytes:
        """Take what is before and after marks. Returns what may be the beginning of one."""
        *parts, rest = data.split(self._mark)
        for part in parts:
            self._pass(number, part, decoder)
            self._arrived[number].set()
        begun = rest.rfind(b"\0", -len(self._mark) + 1)
        while begun > 0 and not self._mark.startswith(rest[begun:]):
            begun = rest.rfind(b"\0", max(0, len(rest) - len(self._mark) + 1), begun)
        if begun < 0 or not self._mark.startswith(rest[begun:]):
            begun = len(rest)
        self._pass(number, rest[:begun], decoder)
        return rest[begun:]

    def _pass(self, number: int, data: bytes, decoder: codecs.IncrementalDecoder) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view:
                view = view[os.write(self._log, view) :]
        text = decoder.decode(data)
        if text:
            self._taken(NAMES[number], text)
