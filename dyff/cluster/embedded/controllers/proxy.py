"""A TCP proxy on a loopback port that outlives its targets.

It uses plain asyncio protocols: bytes are passed from one transport to the other as they arrive, without a layer in between.
The port is held by a socket that is bound but does not listen. So while there is no target, connections are refused, as with
a Service without ready Pods, and no other process can take the port.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

from dyff.cluster import doors
from dyff.cluster.embedded import ports
from dyff.kernel import errors

_BACKLOG = 1024


class Target:
    """A target for connections: a port, its door (see `doors.connect`), and the number of its present connections."""

    def __init__(self, port: int, door: str | None) -> None:
        self.port, self.door = port, door
        self.connections = 0


class Proxy:
    """One port, any number of targets. Each new connection goes to the target with the fewest connections."""

    def __init__(self, port: int) -> None:
        """Call `hold` before anything else."""
        self.port = port
        self._targets: list[Target] = []
        self._holder: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._fronts: set[_Front] = set()

    def hold(self) -> None:
        """Take the port.

        Raises:
            Unavailable: something else has it.
        """
        if self._holder is None:
            self._holder = self._bound()

    async def lead_to(self, target_ports: Sequence[int], doors: Mapping[int, str] = MappingProxyType({})) -> None:
        """Route new connections to these ports; existing connections stay. `doors`: by port, of programs in a network of their own."""
        known = {(each.port, each.door): each for each in self._targets}
        self._targets = [known.get((port, doors.get(port))) or Target(port, doors.get(port)) for port in target_ports]
        if self._targets and self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Front(self), sock=self._bound(), backlog=_BACKLOG)
        elif not self._targets and self._server is not None:
            self._server.close()
            self._server = None

    def leads_to(self, port: int | None) -> bool:
        """Whether that port is one of the targets."""
        return any(each.port == port for each in self._targets)

    def close(self) -> None:
        """Release the port and close all connections."""
        for front in list(self._fronts):
            front.abort()
        if self._server is not None:
            self._server.close()
        if self._holder is not None:
            self._holder.close()
        self._server = self._holder = None

    def preference(self) -> list[Target]:
        """The targets, the least busy first; among equals, the least recently chosen one."""
        return sorted(self._targets, key=lambda target: target.connections)

    def chosen(self, target: Target) -> None:
        """Record that a connection goes to this target."""
        target.connections += 1
        if target in self._targets:
            self._targets.remove(target)
            self._targets.append(target)

    def began(self, front: _Front) -> None:
        """Record that a client has connected."""
        self._fronts.add(front)

    def ended(self, front: _Front) -> None:
        """Record that a client is gone."""
        self._fronts.discard(front)

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        try:
            # Both options are needed: the holder and the listener share the port, and closed connections linger on it.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.setblocking(False)
            bound.bind((ports.HOST, self.port))
        except OSError as error:
            bound.close()
            raise errors.Unavailable(f"port {self.port} cannot be used: {error.strerror}") from error
        return bound


class _End(asyncio.Protocol):
    """One end of a proxied connection: what arrives here is written to the other end."""

    def __init__(self, other: _End | None) -> None:
        """`other`: None if it is not connected yet."""
        self.transport: asyncio.Transport | None = None
        self.other = other
        self.finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not a subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        there = self._there()
        if not there.is_closing():
            there.write(data)

    def eof_received(self) -> bool:
        """One direction has finished; the connection has when both have."""
        self.finished = True
        there = self._there()
        if there.can_write_eof() and not there.is_closing():
            there.write_eof()
        if self.other is not None and self.other.finished:
            there.close()
            return False
        return True

    def pause_writing(self) -> None:
        there = self._there()
        if not there.is_closing():
            there.pause_reading()

    def resume_writing(self) -> None:
        there = self._there()
        if not there.is_closing():
            there.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        other = self.other.transport if self.other is not None else None
        if other is None:
            return
        if exc is None:
            other.close()
        else:
            other.abort()

    def _here(self) -> asyncio.Transport:
        assert self.transport is not None
        return self.transport

    def _there(self) -> asyncio.Transport:
        assert self.other is not None
        return self.other._here()


class _Front(_End):
    """The client's end. Data that arrives before a target is connected is buffered here."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(None)
        self._proxy = proxy
        self._target: Target | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []

    def abort(self) -> None:
        """Abort the connection at both ends."""
        for end in (self, self.other):
            if end is not None and end.transport is not None:
                end.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.began(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        # Only here: in `connection_made` uvloop does not read yet, and would start to read in spite of a pause.
        self._early.append(data)
        self._here().pause_reading()

    def eof_received(self) -> bool:
        if self.other is not None:
            return super().eof_received()
        self.finished = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.ended(self)
        if self._target is not None:
            self._target.connections -= 1
        if self._connecting is not None:
            self._connecting.cancel()
        super().connection_lost(exc)

    async def _connect(self) -> None:
        """Connect to the first target that accepts. If none does, the client's connection is aborted."""
        for target in self._proxy.preference():
            self._proxy.chosen(target)
            self._target = target
            back = _End(self)
            try:
                reached = await doors.connect(target.port, target.door)
                await asyncio.get_running_loop().create_connection(functools.partial(_itself, back), sock=reached)
            except OSError:
                target.connections -= 1
                self._target = None
                continue
            self._join(back)
            return
        self._here().abort()

    def _join(self, back: _End) -> None:
        self.other = back
        there = self._there()
        there.writelines(self._early)
        self._early.clear()
        if self.finished:
            there.write_eof()
        self._here().resume_reading()


def _itself(end: _End) -> _End:
    return end
