"""The proxy to public addresses. Where a test needs a public host, `is_public` counts one loopback address as public."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import contextmanager

import pytest

from dyff.cluster.pods.shim import outside
from dyff.kernel import addresses, settings
from tests.pods.sandboxed import HAS_PYTHON, PYTHON, TIERS

PUBLIC = "127.0.0.77"
INTERNAL = (
    *("127.0.0.1", "localhost", "LOCALHOST.", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0"),
    *("2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "[64:ff9b::7f00:1]"),
    *("[::127.0.0.1]", "[::10.0.0.1]", "[::ffff:0:127.0.0.1]"),
)


@pytest.mark.parametrize(
    ("url", "want"),
    [
        (b"CONNECT example.com:443 HTTP/1.1", ("example.com", 443, None)),
        (b"CONNECT [2001:db8::1]:8443 HTTP/1.1", ("2001:db8::1", 8443, None)),
        (b"GET http://example.com/a?b HTTP/1.1", ("example.com", 80, b"GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")),
        (b"GET http://example.com:81 HTTP/1.1", ("example.com", 81, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")),
        (b"GET http://user:word@[::1]:81/ HTTP/1.1", ("::1", 81, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")),
    ],
)
def test_what_a_request_names(url, want):
    """The host and port come from the first line, and fields for the proxy itself are not passed on."""
    head = url + b"\r\nHost: x\r\nProxy-Authorization: secret\r\nConnection: keep-alive"
    assert outside._target(head) == want


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"CONNECT example.com HTTP/1.1",
        b"CONNECT :443 HTTP/1.1",
        b"CONNECT a:0 HTTP/1.1",
        b"CONNECT a:99999 HTTP/1.1",
        b"CONNECT a:1\xb2 HTTP/1.1",
        b"GET https://a/ HTTP/1.1",
        b"GET ftp://a/ HTTP/1.1",
        b"GET http://a:x/ HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"nonsense",
    ],
)
def test_a_request_that_is_not_served(line):
    """Anything else is refused as a bad request."""
    with pytest.raises(ValueError, match=r"request|serves"):
        outside._target(line)


@contextmanager
def proxied(grant=outside.PUBLIC):
    """A proxy in this process. Yields its port. `grant`: what it serves."""
    with socket.create_server(("127.0.0.1", 0)) as entrance:
        places = threading.Semaphore(8)

        def serve() -> None:
            while True:
                try:
                    client, _ = entrance.accept()
                except OSError:
                    return
                places.acquire()
                threading.Thread(target=outside._attend, args=(client, places, grant), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield entrance.getsockname()[1]
        entrance.shutdown(socket.SHUT_RDWR)
        thread.join()


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.sendall(request)
        stream.shutdown(socket.SHUT_WR)
        data = b""
        while piece := stream.recv(65536):
            data += piece
        return data


@pytest.mark.parametrize("host", INTERNAL)
@pytest.mark.parametrize("form", ["CONNECT {}:80 HTTP/1.1\r\n\r\n", "GET http://{}/ HTTP/1.1\r\n\r\n"])
def test_internal_addresses_are_refused(host, form):
    """No spelling of an address of the machine or of an internal network is connected to."""
    if ":" in host:
        assert not addresses.is_public(addresses.plain(host))
    with proxied() as port:
        answer = ask(port, form.format(host).encode())
    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 502")), answer


def test_a_name_that_leads_inside_is_refused(monkeypatch):
    """A name is judged by all its addresses, which are looked up once: one that is internal makes it refused."""
    asked, real = [], socket.getaddrinfo

    def resolve(host, port, *rest, **options):
        if host == "127.0.0.1":
            return real(host, port, *rest, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with proxied() as port:
        answer = ask(port, b"CONNECT rebinding.example:443 HTTP/1.1\r\n\r\n")
    assert b"403 Forbidden" in answer
    assert b"internal network" in answer
    assert asked == ["rebinding.example"]


def test_the_machines_own_public_address_is_refused(monkeypatch):
    """The machine can have a public address: the server and other programs listen there, so it is as closed as loopback."""
    monkeypatch.setattr(addresses, "is_public", lambda address: True)
    with socket.create_server((PUBLIC, 0)) as listener, proxied() as port:
        answer = ask(port, f"CONNECT {PUBLIC}:{listener.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")
    assert not outside._is_own("192.0.2.1")
    assert not outside._is_own("2001:db8::1")


def begun(port: int, request: bytes) -> bytes:
    """The beginning of an answer, whose connection then ends."""
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.sendall(request)
        return stream.recv(65536)


@pytest.mark.parametrize("network", ["none", "outside"])
def test_a_named_place_is_reached_and_nothing_next_to_it(network):
    """`connect` opens one port of one host, in all spellings of its name, also on this machine; other ports and hosts stay closed."""
    with socket.create_server(("127.0.0.1", 0)) as named, socket.create_server(("127.0.0.1", 0)) as other:
        at, elsewhere = (each.getsockname()[1] for each in (named, other))
        grant = outside.granted(network, [f"127.0.0.1:{at}", f"LocalHost.:{at}", f"[::1]:{at}"])
        with proxied(grant) as port:
            opened = [begun(port, f"CONNECT {host}:{at} HTTP/1.1\r\n\r\n".encode()) for host in ("127.0.0.1", "localhost", "LOCALHOST.")]
            absent = ask(port, f"CONNECT [::1]:{at} HTTP/1.1\r\n\r\n".encode())
            closed = [
                ask(port, f"CONNECT {place} HTTP/1.1\r\n\r\n".encode())
                for place in (f"127.0.0.1:{elsewhere}", f"127.0.0.2:{at}", f"0.0.0.0:{at}")
            ]
    assert opened == [b"HTTP/1.1 200 Connection established\r\n\r\n"] * 3
    assert absent.startswith(b"HTTP/1.1 502"), "it is granted, and nothing listens there"
    assert [each[:12] for each in closed] == [b"HTTP/1.1 403"] * 3


def test_without_the_network_only_named_places_are_served(monkeypatch):
    """A grant of places is none of public addresses; the refusal names the setting."""
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: asked.append(host))
    with pytest.raises(PermissionError, match=r"does not grant a connection to example\.com:443"):
        outside._connect("example.com", 443, outside.granted("none", ["127.0.0.1:1"]))
    assert asked == [], "not even its name is looked up"


@contextmanager
def public_server(monkeypatch, answers):
    """A server at an address that counts as public. `answers`: by path."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == PUBLIC or real(address))
    monkeypatch.setattr(outside, "_is_own", lambda address: address != PUBLIC)
    with socket.create_server((PUBLIC, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                with stream:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += stream.recv(4096)
                    stream.sendall(answers(head))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_public_host_is_reached(monkeypatch):
    """Both forms reach a public host, and bytes go through unchanged."""
    with public_server(monkeypatch, lambda head: b"HTTP/1.1 200 OK\r\n\r\n" + head.split()[1]) as at, proxied() as port:
        plain = ask(port, f"GET http://{PUBLIC}:{at}/x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        tunnel = ask(port, f"CONNECT {PUBLIC}:{at} HTTP/1.1\r\n\r\nGET /y HTTP/1.1\r\n\r\n".encode())
    assert plain == b"HTTP/1.1 200 OK\r\n\r\n/x"
    assert tunnel == b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\r\n/y"


def test_a_redirect_does_not_lead_inside(monkeypatch):
    """A client that follows a redirect to an internal host asks the proxy again, and is refused."""
    import httpx

    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:80/\r\nContent-Length: 0\r\n\r\n"
    with public_server(monkeypatch, lambda head: answer) as at, proxied() as port:  # noqa: SIM117
        with httpx.Client(proxy=f"http://127.0.0.1:{port}", trust_env=False, follow_redirects=True) as client:
            got = client.get(f"http://{PUBLIC}:{at}/")
    assert got.status_code == 403
    assert len(got.history) == 1


@TIERS
@HAS_PYTHON
@pytest.mark.parametrize("network", ["none", "outside"])
async def test_a_pod_gets_the_proxy_by_its_images_setting(lab, sandboxes, network):
    """Only `network: outside` gives a pod the proxy, which refuses the machine's own addresses; without it there is nothing."""
    script = (
        "import os, urllib.request, urllib.error\n"
        "print(any('proxy' in name.lower() for name in os.environ))\n"
        "proxies = {'http': os.environ.get('http_proxy', 'http://127.0.0.1:3128')}\n"
        "try: urllib.request.build_opener(urllib.request.ProxyHandler(proxies)).open('http://10.0.0.1/', timeout=10)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
        "except OSError as error: print('nothing')\n"
    )
    images = {"test/net": settings.Image(command=(PYTHON, "-I", "-S", "-c"), readiness_path=None, network=network)}
    async with lab.running(sandboxes, images=images):
        await lab.create(lab.a_pod("p", {"name": "main", "image": "test/net", "args": [script]}))
        await lab.ended("p")
        lines = await lab.logs("p")
    assert lines == (["True", "403"] if network == "outside" else ["False", "nothing"])


def test_the_public_address_of_these_tests():
    """The address that tests count as public is not public without them."""
    assert ipaddress.ip_address(PUBLIC).is_loopback
    assert not addresses.is_public(PUBLIC)
