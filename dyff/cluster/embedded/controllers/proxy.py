"""A TCP proxy on a loopback port that outlives its targets.

Plain asyncio protocols: bytes are handed from one transport to the other as they come, with nothing in between. The
port is held by a socket that is bound but does not listen, so while there is no target a connection is refused, as
it is by a Service without ready Pods, and nobody else can take the port.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Sequence
from typing import cast

from dyff.cluster.embedded import ports
from dyff.kernel import errors

_BACKLOG = 1024


class Target:
    """Where connections can lead: a loopback port, and how many lead there now."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0


class Proxy:
    """One port, any number of targets; each new connection goes to the target that has the fewest."""

    def __init__(self, port: int) -> None:
        """`hold` it before anything else."""
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

    async def lead_to(self, target_ports: Sequence[int]) -> None:
        """Lead new connections to these ports; connections that are there stay."""
        known = {each.port: each for each in self._targets}
        self._targets = [known.get(port) or Target(port) for port in target_ports]
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
        """Give the port back and end all connections."""
        for front in list(self._fronts):
            front.abort()
        if self._server is not None:
            self._server.close()
        if self._holder is not None:
            self._holder.close()
        self._server = self._holder = None

    def preference(self) -> list[Target]:
        """The targets, the least busy first; of equals the one that was longest not chosen."""
        return sorted(self._targets, key=lambda target: target.connections)

    def chosen(self, target: Target) -> None:
        """A connection leads there now."""
        target.connections += 1
        if target in self._targets:
            self._targets.remove(target)
            self._targets.append(target)

    def began(self, front: _Front) -> None:
        """A client is connected."""
        self._fronts.add(front)

    def ended(self, front: _Front) -> None:
        """A client is gone."""
        self._fronts.discard(front)

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        try:
            # Both options, since the holder and the listener share the port, and closed connections linger on it.
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
        """`other` None: it is not connected yet."""
        self.transport: asyncio.Transport | None = None
        self.other = other
        self.finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        there = self._there()
        if not there.is_closing():
            there.write(data)

    def eof_received(self) -> bool:
        """One direction is finished; the connection is when both are."""
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
    """The client's end. What it sends before a target is connected waits here."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(None)
        self._proxy = proxy
        self._target: Target | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []

    def abort(self) -> None:
        """End it without ado."""
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
        # Only here, since in `connection_made` uvloop does not read yet and would begin in spite of a pause.
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
        """To the first target that accepts; a client of none is cut off."""
        for target in self._proxy.preference():
            self._proxy.chosen(target)
            self._target = target
            back = _End(self)
            try:
                await asyncio.get_running_loop().create_connection(functools.partial(_itself, back), ports.HOST, target.port)
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
