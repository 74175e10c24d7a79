"""Attacks over the network: the server's ports, other pods, and the world outside. What arrives there is what counts."""

from __future__ import annotations

import ctypes
import os
import select
import socket
from contextlib import suppress

TYPE_CHECKING = False  # see `shim.files`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Targets = dict[str, Any]

_S = 1.0
_WORD = b"attack"
_FAST_OPEN = 0x20000000


def _addresses(at: Targets) -> list[tuple[int, str]]:
    """Where the target's port can be reached: this machine by loopback and by its own addresses, IPv4 and IPv6."""
    found = [(socket.AF_INET, each) for each in ("127.0.0.1", "127.0.0.2", "0.0.0.0", *at["addresses"]) if ":" not in each]
    return found + [(socket.AF_INET6, each) for each in ("::1", "::", "::ffff:127.0.0.1", *at["addresses"]) if ":" in each]


def _each(at: Targets, words: str, attempt: Callable[[int, str], None]) -> str | None:
    for family, address in _addresses(at):
        with suppress(OSError):
            attempt(family, address)
            return f"reached {address}, port {at['port']}, by {words}"
    return None


def connect_by_tcp(at: Targets) -> str | None:
    """The API's port."""

    def attempt(family: int, address: str) -> None:
        with socket.socket(family, socket.SOCK_STREAM) as sender:
            sender.settimeout(_S)
            sender.connect((address, at["port"]))

    return _each(at, "TCP", attempt)


def connect_by_fast_open(at: Targets) -> str | None:
    """A connection that begins with data, in all its forms."""

    def through(send: Callable[[socket.socket, tuple[str, int]], object]) -> Callable[[int, str], None]:
        def attempt(family: int, address: str) -> None:
            with socket.socket(family, socket.SOCK_STREAM) as sender:
                sender.setblocking(False)
                with suppress(BlockingIOError):
                    send(sender, (address, at["port"]))
                select.select([], [sender], [], _S)
                sender.getpeername()

        return attempt

    def by_option(sender: socket.socket, where: tuple[str, int]) -> None:
        sender.setsockopt(socket.IPPROTO_TCP, 30, 1)
        sender.connect(where)
        sender.send(_WORD)

    return (
        _each(at, "sendto with MSG_FASTOPEN", through(lambda sender, where: sender.sendto(_WORD, _FAST_OPEN, where)))
        or _each(at, "sendmsg with MSG_FASTOPEN", through(lambda sender, where: sender.sendmsg([_WORD], [], _FAST_OPEN, where)))
        or _each(at, "TCP_FASTOPEN_CONNECT", through(by_option))
    )


def connect_by_multipath_tcp(at: Targets) -> str | None:
    """MPTCP, SCTP, SMC: other protocols that reach a TCP port or carry data."""

    def attempt(family: int, address: str) -> None:
        with socket.socket(family, socket.SOCK_STREAM, 262) as sender:
            sender.settimeout(_S)
            sender.connect((address, at["port"]))

    for family in (43, 30, 21):
        with suppress(OSError):
            socket.socket(family, socket.SOCK_STREAM).close()
            return f"a socket of family {family} can be made"
    return _each(at, "multipath TCP", attempt)


def send_datagrams(at: Targets) -> str | None:
    """UDP. Whether it arrived is seen by the receiver."""
    for family, address in _addresses(at):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(_WORD, (address, at["port"]))
    return None


def connect_outside(at: Targets) -> str | None:
    """An address that no machine has (RFC 5737): without a network, the kernel refuses at once instead of trying."""
    import errno

    for address in (*at["outside"], "192.0.2.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
            sender.setblocking(False)
            code = sender.connect_ex((address, at["outside_port"]))
            if code in (0, errno.EINPROGRESS):
                return f"a connection to {address} was begun"
    return None


def connect_to_unix_sockets(at: Targets) -> str | None:
    """Sockets with a path, in the abstract namespace, and by a pair of datagram sockets."""
    for name in (at["unix"], "\0" + at["abstract"], *at["unix_others"]):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
                sender.settimeout(_S)
                sender.connect(name)
                return f"connected to the Unix socket {name!r}"
        with suppress(OSError):
            one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            one.sendto(_WORD, at["unix_datagram"])
            return "sent to a Unix socket by a pair of sockets"
    return None


def make_unusual_sockets(at: Targets) -> str | None:
    """Raw and packet sockets, Netlink, and the host of a virtual machine."""
    for family, kind, protocol in (
        (socket.AF_INET, socket.SOCK_RAW, 1),
        (socket.AF_INET, socket.SOCK_DGRAM, 1),
        (socket.AF_INET6, socket.SOCK_RAW, 58),
        (17, socket.SOCK_RAW, 0),
        (16, socket.SOCK_RAW, 0),
        (16, socket.SOCK_RAW, 15),
        (38, socket.SOCK_SEQPACKET, 0),
        (40, socket.SOCK_STREAM, 0),
        (44, socket.SOCK_RAW, 0),
        (29, socket.SOCK_RAW, 1),
        (15, socket.SOCK_RAW, 2),
        (31, socket.SOCK_RAW, 0),
    ):
        with suppress(OSError):
            os.close(_socket(family, kind, protocol))
            return f"a socket of family {family}, type {kind}, protocol {protocol} can be made"
    return None


def _socket(family: int, kind: int, protocol: int) -> int:
    """Python's own class would ask about families that it does not know."""
    made = ctypes.CDLL(None, use_errno=True).socket(family, kind, protocol)
    if made < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return int(made)


def listen_on_foreign_ports(at: Targets) -> str | None:
    """The port of another pod or of the server, as soon as it is free. In a network of its own, that port is another one."""
    if _network() == at["network"]:
        for port in (at["free_port"], 0):
            with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                listener.bind(("127.0.0.1", port))
                return f"port {port} of the machine can be taken"
    return None


def _network() -> int:
    """The number of our network. If it cannot be read, it is assumed to be the machine's."""
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return -1
