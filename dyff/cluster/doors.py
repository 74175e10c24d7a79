"""Connects to programs of pods, which listen on a loopback port of this machine, or of a network of their own behind a door.

A door is a Unix socket that hands out sockets of that network (`dyff/cluster/pods/shim/door.py`).
"""

from __future__ import annotations

import array
import asyncio
import os
import socket

import anyio

HOST = "127.0.0.1"
_PATIENCE_S = 5.0
"""A door that does not answer for this long is stuck; it answers within a millisecond."""


async def connect(port: int, door: str | None) -> socket.socket:
    """A connected TCP socket. `port`: where the program listens. `door`: the path of its Unix socket; None if it has no network of its own.

    Raises:
        OSError: nothing listens there, or the pod has ended.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM) if door is None else await _handed_out(door)
    try:
        found.setblocking(False)
        await asyncio.get_running_loop().sock_connect(found, (HOST, port))
    except BaseException:
        found.close()
        raise
    return found


async def _handed_out(door: str) -> socket.socket:
    with _at(door) as asked:
        try:
            with anyio.fail_after(_PATIENCE_S):
                await anyio.wait_readable(asked)
        except TimeoutError as error:
            raise ConnectionRefusedError(f"{door} does not answer") from error
        return _received(asked)


def _at(door: str) -> socket.socket:
    """Connect to a Unix socket, whose path can be longer than an address may be. Does not wait."""
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        caller.setblocking(False)
        folder = os.open(os.path.dirname(door), os.O_PATH | os.O_DIRECTORY)
        try:
            caller.connect(f"/proc/self/fd/{folder}/{os.path.basename(door)}")
        finally:
            os.close(folder)
    except BaseException:
        caller.close()
        raise
    return caller


def _received(asked: socket.socket) -> socket.socket:
    numbers = array.array("i")
    _, ancillary, _, _ = asked.recvmsg(1, socket.CMSG_SPACE(numbers.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: numbers.itemsize])
    if not numbers:
        raise ConnectionRefusedError("the pod has ended")
    return socket.socket(fileno=numbers[0])
