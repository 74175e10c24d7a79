"""The way of a sandboxed program to public addresses and to named places, if its image's setting grants them: a proxy for HTTP.

It serves `CONNECT host:port` and requests with a full URL (http://...). It resolves each name itself, once, and connects only to
addresses that were checked, so a name cannot lead to the machine or to an internal network, and neither can a redirect, which is a new
request. Places that the setting names (`connect`) are served whatever their addresses are. The proxy is a process of its own. It belongs
to the network of the machine, has no rights of the server, and reads nothing but what it forwards.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import time

from dyff.cluster.pods.shim import door, processes, syscalls

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

CONNECTIONS = 64
"""The most connections of one container at the same time. Further ones wait."""
HEAD_BYTES = 64 * 1024
HEAD_S = 10.0
CONNECT_S = 10.0
IDLE_S = 600.0
"""A connection without any data for this long, in either direction, is closed."""
_CHUNK = 64 * 1024
_STACK_BYTES = 256 * 1024
_NO_NEW_PRIVS = 38
_HOP = (b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive")


class Granted:
    """What a program may connect to. `public`: all public addresses. `places`: hosts and ports, whatever their addresses."""

    def __init__(self, public: bool, places: frozenset[tuple[str, int]] = frozenset()) -> None:
        """Constant."""
        self.public, self.places = public, places


PUBLIC = Granted(True)


def granted(network: str, connect: list[str]) -> Granted:
    """What the setting of an image grants: its `network` and `connect`."""
    from dyff.kernel.addresses import host_and_port

    return Granted(network == "outside", frozenset(host_and_port(each) for each in connect))


def environment(port: int) -> dict[str, str]:
    """The variables that lead programs to the proxy at a loopback port."""
    url = f"http://127.0.0.1:{port}"
    found = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), url) | {"NO_PROXY": "localhost,127.0.0.1,::1"}
    return found | {name.lower(): value for name, value in found.items()}


def fork(entrance: socket.socket, uid: int | None, grant: Granted) -> None:
    """Start the process. `entrance`: a listening socket that the program can reach. `uid`: the user that it becomes; None to stay."""
    shim = os.getpid()
    if os.fork() == 0:
        try:
            door.keep_only(entrance.fileno())
            _load()
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            syscalls.prctl(_NO_NEW_PRIVS, 1)
            processes.die_with(shim)  # a change of the user would clear it
            _serve(entrance, grant)
        except BaseException as error:
            sys.stderr.write(f"the proxy to the outside has ended: {error}\n")
            sys.stderr.flush()
            os._exit(1)


def _load() -> None:
    """Import what connections need, since the pod's user may not be able to read the interpreter's folders."""
    for name in ("encodings.idna", "dyff.kernel.addresses"):
        importlib.import_module(name)


def _serve(entrance: socket.socket, grant: Granted) -> NoReturn:
    threading.stack_size(_STACK_BYTES)
    places = threading.Semaphore(CONNECTIONS)
    while True:
        places.acquire()
        try:
            client, _ = entrance.accept()
            threading.Thread(target=_attend, args=(client, places, grant), daemon=True).start()
        except (OSError, RuntimeError):  # it was aborted before, or there are too few descriptors or threads
            places.release()
            time.sleep(0.05)


def _attend(client: socket.socket, places: threading.Semaphore, grant: Granted = PUBLIC) -> None:
    try:
        with client:
            client.settimeout(HEAD_S)
            _forward(client, grant)
    except OSError:
        return  # one of the two is gone
    finally:
        places.release()


def _forward(client: socket.socket, grant: Granted) -> None:
    head, rest = _head(client)
    try:
        host, port, first = _target(head)
        upstream = _connect(host, port, grant)
    except ValueError as error:
        _refuse(client, b"400 Bad Request", str(error))
    except PermissionError as error:
        _refuse(client, b"403 Forbidden", str(error))
    except OSError as error:
        _refuse(client, b"502 Bad Gateway", f"the host cannot be reached: {error.strerror or error}")
    else:
        with upstream:
            upstream.sendall((first or b"") + rest)
            if first is None:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _copy_both(client, upstream)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(_CHUNK)
        if not piece or len(data) + len(piece) > HEAD_BYTES:
            raise ConnectionResetError("no head of a request came")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _target(head: bytes) -> tuple[str, int, bytes | None]:
    """The host and port that a request names, and the head to send there; None for a tunnel.

    Raises:
        ValueError: it is neither of the two that the proxy serves.
    """
    line, *fields = head.split(b"\r\n")
    method, url, version, *more = *line.split(b" "), b"", b""
    if more != [b"", b""] or not version.startswith(b"HTTP/1."):
        raise ValueError("this is not a request of HTTP/1")
    if method == b"CONNECT":
        return *_authority(url, None), None
    if not url.lower().startswith(b"http://"):
        raise ValueError("this proxy serves CONNECT, and URLs that begin with http://")
    authority, slash, path = url[7:].partition(b"/")
    host, port = _authority(authority.rpartition(b"@")[2], 80)
    kept = [field for field in fields if field.partition(b":")[0].strip().lower() not in _HOP]
    request = b" ".join((method, slash + path or b"/", version))
    return host, port, b"\r\n".join((request, *kept, b"Connection: close", b"", b""))


def _authority(text: bytes, default: int | None) -> tuple[str, int]:
    host, colon, number = text.decode("ascii", "replace").rpartition(":")
    if not colon or "]" in number:
        host, number = text.decode("ascii", "replace"), "" if default is None else str(default)
    host = host.strip("[]")
    if not host or not number.isascii() or not number.isdigit() or not 0 < int(number) < 65536:
        raise ValueError("the request names no host and port")
    return host, int(number)


def _connect(host: str, port: int, grant: Granted) -> socket.socket:
    """Connect to one of the host's addresses, if the place is granted by name, or public addresses are and all of them are public.

    Raises:
        PermissionError: it is not granted.
        OSError: none can be reached.
    """
    from dyff.kernel.addresses import is_public, plain

    by_name = (plain(host), port) in grant.places
    if not by_name and not grant.public:
        raise PermissionError(f"the setting of this program's image does not grant a connection to {host[:100]}:{port}")
    try:
        found = socket.getaddrinfo(plain(host), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("it is not a host name") from error
    addresses = list(dict.fromkeys(each[4][0] for each in found))
    if not by_name and not all(is_public(str(each)) and not _is_own(str(each)) for each in addresses):
        raise PermissionError(f"{host[:100]} is a host of an internal network, to which no program of a pod may connect")
    problem: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), CONNECT_S)
        except OSError as error:
            problem = error
    raise problem


def _is_own(address: str) -> bool:
    """Whether an address is one of this machine's, which can be a public one. Then it can be bound, and no other can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _refuse(client: socket.socket, status: bytes, why: str) -> None:
    body = f"dyff: {why}\n".encode()
    fields = b"Content-Type: text/plain\r\nContent-Length: %d\r\nConnection: close" % len(body)
    client.sendall(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, fields, body))


def _copy_both(client: socket.socket, upstream: socket.socket) -> None:
    """Copy in both directions until both have ended, or nothing came for a long time."""
    moved = [time.monotonic()]
    for each in (client, upstream):
        each.settimeout(IDLE_S)
    back = threading.Thread(target=_copy, args=(upstream, client, moved), daemon=True)
    back.start()
    _copy(client, upstream, moved)
    back.join()


def _copy(source: socket.socket, sink: socket.socket, moved: list[float]) -> None:
    try:
        while data := _next(source, moved):
            sink.sendall(data)
            moved[0] = time.monotonic()
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            _abort(each)


def _next(source: socket.socket, moved: list[float]) -> bytes:
    while True:
        try:
            return source.recv(_CHUNK)
        except TimeoutError:
            if time.monotonic() - moved[0] >= IDLE_S:
                raise


def _abort(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
