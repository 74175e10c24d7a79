from __future__ import annotations

import socket

import pytest

from tests.engines import ports


def test_ports_are_free_loopback_ports():
    """Each name gets a port of its own, on which a program can listen on the loopback address."""
    with ports.reserved(["one", "two", "three"]) as numbers:
        assert sorted(numbers) == ["one", "three", "two"]
        assert len(set(numbers.values())) == 3
        for number in numbers.values():
            with socket.create_server(("127.0.0.1", number)):
                pass


def test_a_port_in_use_is_not_taken():
    """A port on which somebody listens is not free."""
    with ports.reserved(["one"]) as numbers, socket.create_server(("127.0.0.1", numbers["one"])):
        assert not ports.is_free(numbers["one"])


def test_a_port_that_the_kernel_keeps_is_not_taken():
    """A port is free only if a program that does not set SO_REUSEADDR could listen there, too."""
    number = ports.free_port()
    assert ports.is_free(number)
    ports.kept_by_the_kernel(number)
    assert not ports.is_free(number)


def test_a_reserved_port_stays_reserved_while_nobody_listens(monkeypatch):
    """A server that is killed finds its port again: another run does not get it meanwhile."""
    with ports.reserved(["mine"]) as mine:
        monkeypatch.setattr(ports, "FIRST", mine["mine"])
        monkeypatch.setattr(ports, "END", mine["mine"] + 1)
        with pytest.raises(RuntimeError, match="is free"), ports.reserved(["theirs"]):
            pytest.fail("it was given away")
        assert ports.is_reserved(mine["mine"])
    assert not ports.is_reserved(mine["mine"])
    with ports.reserved(["theirs"]) as theirs:
        assert theirs["theirs"] == mine["mine"]


def test_a_free_port_stays_this_processs_own():
    """No other run gets it, and the same process does not get it twice, also while nothing listens."""
    mine = [ports.free_port() for _ in range(3)]
    assert len(set(mine)) == 3
    assert all(ports.is_reserved(number) and ports.is_free(number) for number in mine)
