"""The side of a program that reads untrusted bytes (`dyff.api.programs`): its own limits, frames in, lines out."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any

ADDRESS_SPACE_BYTES = 2**30
"""With Arrow, the program itself takes a third of it."""

CPU_S = 30


def limit(address_space_bytes: int = ADDRESS_SPACE_BYTES, cpu_s: int = CPU_S) -> None:
    """Limit what this process may use: memory and time; it may write no file and leave no core dump."""
    for what, amount in (
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (amount, amount))


def serve(look: Callable[[bytes], Any]) -> None:
    """Answer each frame with what `look` returns of it, within the limits, until the input ends."""
    limit()
    ready()
    for frame in frames():
        answer(look(frame))


def frames() -> Iterator[bytes]:
    """Yield the frames on standard input, until it ends."""
    read = sys.stdin.buffer.read
    while len(length := read(4)) == 4:
        yield read(int.from_bytes(length, "big"))


def ready() -> None:
    """Write the line that says that frames will be read."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def answer(value: Any) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
