"""The only way from the server to a program in a network of its own: a process that hands out sockets of that network.

It listens at a Unix socket in the pod's private folder. The server connects there, gets one new TCP socket, which belongs to the program's
network, and connects it as if it were inside. So no byte of a connection is copied, and a connection ends as any TCP connection does.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import sys
from contextlib import suppress

from dyff.cluster.pods.shim import processes

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

SOCKET = "port.sock"
"""The name of the Unix socket in the pod's directory."""
BACKLOG = 1024
_ENTRANCE_BACKLOG = 64
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_OWNING_USERS = 0xB701
"""The ioctl NS_GET_USERNS."""


def listen(directory: str) -> socket.socket:
    """A listening Unix socket in a pod's directory, whose path can be longer than the address of a socket."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=folder)
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        listener.listen(BACKLOG)
    finally:
        os.close(folder)
    return listener


def enter_network(pid: int, *, as_root: bool) -> None:
    """Move this process, which must have one thread, into the network of the process `pid`.

    A server that is not root must first become the owner of that network, in the namespace of users that it was made in.

    Raises:
        OSError: the process has ended, or the kernel refuses.
    """
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if not as_root:
            users = fcntl.ioctl(network, _OWNING_USERS)
            _set_namespace(users, _NEW_USER)
            os.close(users)
        _set_namespace(network, _NEW_NETWORK)
    finally:
        os.close(network)


def _set_namespace(descriptor: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, kind):
        raise OSError(ctypes.get_errno(), "setns was refused")


def fork(listener: socket.socket, pid: int, *, as_root: bool, ready: socket.socket, proxy_port: int | None) -> None:
    """Start the process. It sends a byte to `ready` when it serves, with a listening socket of the network if `proxy_port` is not None."""
    shim = os.getpid()
    if os.fork() == 0:
        try:
            processes.die_with(shim)
            keep_only(listener.fileno(), ready.fileno())
            enter_network(pid, as_root=as_root)
            _announce(ready, proxy_port)
            _serve(listener)
        except BaseException as error:
            sys.stderr.write(f"the network of the sandbox cannot be entered: {error}\n")
            sys.stderr.flush()
            os._exit(1)


def _announce(ready: socket.socket, proxy_port: int | None) -> None:
    if proxy_port is None:
        ready.send(b"1")
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as entrance:
            entrance.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            entrance.bind(("127.0.0.1", proxy_port))
            entrance.listen(_ENTRANCE_BACKLOG)
            socket.send_fds(ready, [b"1"], [entrance.fileno()])
    ready.close()


def _serve(listener: socket.socket) -> NoReturn:
    while True:
        try:
            caller, _ = listener.accept()
            with caller, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as fresh:
                socket.send_fds(caller, [b"1"], [fresh.fileno()])
        except OSError:
            continue  # the caller is gone, or descriptors are short: it sees its connection end, and tries again


def keep_only(*wanted: int) -> None:
    """Close all other descriptors of the shim, above all its lock."""
    first = 3
    for each in sorted(wanted):
        os.closerange(first, each)
        first = each + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
