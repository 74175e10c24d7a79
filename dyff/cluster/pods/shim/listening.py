"""Where the processes of a container listen. Without a network of their own, only Landlock bounds that, and it does so only in part.

Landlock bounds the ports that a program can bind, but not the addresses, and a program that listens without binding gets any free port.
Both would let others reach the program, and let it hand out what it has read. So the supervisor looks.
"""

from __future__ import annotations

import os

_LISTENS = "0A"
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_IPV4_DIGITS = 8
_LOOPBACK_IPV6 = ("0" * 31 + "1", "0" * 20 + "FFFF7F")
"""::1 and ::ffff:127.0.0.0/104, as `_plain` writes them."""


def forbidden(port: int | None, uid: int | None, pids: list[int]) -> str | None:
    """An address at which the processes listen although they may not, as text; None if there is none.

    `port`: where they may, at an address of the machine's own; None if nowhere. `uid`: the user of these processes and of no others. If it
    is None, their open files are compared: a process that hides these from its own user hides this, too.
    """
    sockets: set[str] | None = None
    for path in _TABLES:
        for line in _lines(path):
            _, local, _, state, _, _, _, owner, _, inode, *_ = line.split()
            if state != _LISTENS or (uid is not None and owner != str(uid)):
                continue
            address, _, number = local.partition(":")
            if port is not None and int(number, 16) == port and _loopback(_plain(address)):
                continue
            if uid is None:
                sockets = _sockets(pids) if sockets is None else sockets
                if inode not in sockets:
                    continue
            return f"{'any address' if not int(address, 16) else 'an address'}, port {int(number, 16)}"
    return None


def _loopback(address: str) -> bool:
    return address.startswith("7F") if len(address) == _IPV4_DIGITS else address.startswith(_LOOPBACK_IPV6)


def _plain(address: str) -> str:
    """The bytes of an address in the usual order, in hexadecimal. The kernel writes each 4 bytes as a number of this machine."""
    words = [address[at : at + 8] for at in range(0, len(address), 8)]
    plain = ["".join(reversed([word[at : at + 2] for at in range(0, 8, 2)])) for word in words]
    return "".join(plain)


def _sockets(pids: list[int]) -> set[str]:
    """The numbers of the sockets that these processes hold."""
    found = set()
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return list(file)[1:]
    except OSError:
        return []
