"""What a step fetches for a user comes from public hosts, and from those that an administrator allows; at every redirect."""

from __future__ import annotations

import socket
import urllib.request
from typing import Any

import anyio
import httpx
import pytest

from dyff.kernel.addresses import is_public
from dyff.workflows import addresses, downloads, endings
from tests import http_servers
from tests.workflows import hub as hubs
from tests.workflows import runs
from tests.workflows.fetching import CONFIG, VOLUME, WEIGHTS, git_source

INTERNAL = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8",
    "198.18.0.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses(address):
    """Private, loopback, link-local, shared, reserved and multicast addresses, and IPv6 addresses that stand for such, are internal."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "140.82.121.4", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address):
    """The Internet is public."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "::1", "LOCALHOST", "localhost."]
)
def test_no_spelling_of_an_internal_host_passes(monkeypatch, host):
    """Whatever the resolver makes of a name is what counts, unless the host is allowed."""
    monkeypatch.delenv(addresses.VARIABLE, raising=False)
    with pytest.raises(endings.Ending, match=r"operator\.fetch_allowed_hosts") as refused:
        addresses.resolve(host, 80)
    assert refused.value.code == endings.WRONG_DATA
    monkeypatch.setenv(addresses.VARIABLE, f"other, {host}")
    assert addresses.resolve(host, 80)


def test_one_internal_address_is_enough_to_refuse_a_name(monkeypatch):
    """A name that is public and internal at once is not tried at its public address."""
    monkeypatch.delenv(addresses.VARIABLE, raising=False)
    _resolving(monkeypatch, {"both.test": ["1.1.1.1", "10.0.0.1"]})
    with pytest.raises(endings.Ending):
        addresses.resolve("both.test", 80)


def _resolving(monkeypatch, names):
    """A resolver that knows these names only; returns what it was asked."""
    asked, real = [], socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host not in names:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


class Noting(http_servers.Server):
    """Keeps the Host headers that arrived."""

    asked: list[str]


class Answers(hubs.Handler):
    """Redirects `/to/<host>/<rest>` to that host, and notes the hosts that it was asked by."""

    def do_GET(self):
        assert isinstance(self.server, Noting)
        self.server.asked.append(self.headers["Host"])
        port = self.server.server_port
        if self.path.startswith("/to/"):
            host, _, rest = self.path.removeprefix("/to/").partition("/")
            return self.reply(302, {"Location": f"http://{host}:{port}/{rest}"}, b"")
        return self.reply(200, {}, b"here")


@pytest.fixture
def server():
    """A server on this machine; `asked`: the Host headers that arrived."""
    made = Noting(("127.0.0.1", 0), Answers)
    made.asked = []
    with runs.serving(made):
        yield made


async def _get(server, host, path):
    async with downloads.client() as client:
        return await client.get(f"http://{host}:{server.server_address[1]}{path}")


async def test_a_redirect_to_an_internal_host_is_not_followed(monkeypatch, server):
    """However many hops there are: the host that is not allowed is never connected to."""
    monkeypatch.setenv(addresses.VARIABLE, "first.test,second.test")
    _resolving(monkeypatch, {f"{name}.test": ["127.0.0.1"] for name in ("first", "second", "third")})
    assert (await _get(server, "first.test", "/to/second.test/x")).content == b"here"
    with pytest.raises(endings.Ending, match=r"third\.test is a host of an internal network"):
        await _get(server, "first.test", "/to/second.test/to/third.test/x")
    assert {each.partition(":")[0] for each in server.asked} == {"first.test", "second.test"}


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch, server):
    """A name is resolved once for each connection, so it cannot mean another host when the connection is made."""
    monkeypatch.setenv(addresses.VARIABLE, "rebinding.test")
    asked = _resolving(monkeypatch, {"rebinding.test": ["127.0.0.1"]})
    answer = await _get(server, "rebinding.test", "/x")
    assert (answer.content, asked) == (b"here", ["rebinding.test"])
    assert server.asked == [f"rebinding.test:{server.server_address[1]}"]


async def test_the_next_address_is_tried(monkeypatch, server):
    """A host whose first address does not answer is reached at its second; one without an answer is a connection error."""
    monkeypatch.setenv(addresses.VARIABLE, "two.test,none.test")
    _resolving(monkeypatch, {"two.test": ["127.0.0.2", "127.0.0.1"], "none.test": ["127.0.0.2"]})
    assert (await _get(server, "two.test", "/x")).content == b"here"
    with pytest.raises(httpx.ConnectError):
        await _get(server, "none.test", "/x")


async def test_libraries_that_connect_by_themselves_are_guarded(monkeypatch, server):
    """A socket of Python's connects to no internal address while it is guarded, also in a thread; afterwards it does."""
    monkeypatch.delenv(addresses.VARIABLE, raising=False)
    url = f"http://127.0.0.1:{server.server_address[1]}/x"

    def ask():
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            return answer.read()

    with pytest.raises(endings.Ending), addresses.guarded(url):
        await anyio.to_thread.run_sync(ask)
    assert server.asked == []
    assert await anyio.to_thread.run_sync(ask) == b"here"
    monkeypatch.setenv(addresses.VARIABLE, "127.0.0.1")
    with addresses.guarded(url):
        assert await anyio.to_thread.run_sync(ask) == b"here"


@pytest.fixture
def hub():
    with hubs.a_hub() as running:
        running.repos["org/tiny"] = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
        yield running


def _is_refused(done):
    return (done.code, "operator.fetch_allowed_hosts" in done.last) == (65, True)


def test_a_hub_on_an_internal_host_must_be_allowed(fetch, hub):
    """The endpoint itself is one of the hosts; nothing is asked of it."""
    fetch.environment = {"HF_ENDPOINT": hub.url}
    done = fetch.hub()
    assert _is_refused(done), done
    assert hub.tokens == []


@pytest.mark.parametrize("what", ["the list", "a file"])
def test_a_hub_cannot_lead_to_an_internal_host(fetch, hub, what):
    """Neither its library, which lists a repository, nor the download of a file follows it there."""
    inside, outside = hub.url, hub.url.replace("127.0.0.1", "localhost")
    fetch.environment = {"HF_ENDPOINT": outside, addresses.VARIABLE: "localhost"}
    hub.cdn, answer = inside, hub.answer

    def misled(handler):
        if what == "the list" and handler.headers["Host"].startswith("localhost"):
            return handler.reply(302, {"Location": inside.replace("127.0.0.1", "127.0.0.2") + handler.path}, b"")
        return answer(handler)

    hub.answer = misled
    done = fetch.hub()
    assert _is_refused(done), done
    assert fetch.manifest() is None


def test_a_repository_on_an_internal_host_must_be_allowed(fetch, git):
    """Nothing is asked of a Git server that is not allowed."""
    url = git.repository("tiny", {"config.json": CONFIG})
    seen: list[Any] = []
    fetch.environment = {}
    _note(git, seen)
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert _is_refused(done), done
    assert seen == []


def test_a_repository_cannot_lead_to_an_internal_host(fetch, git):
    """A redirect of a repository is not followed to a host that is not allowed; to one that is, it is."""
    url = git.repository("tiny", {"config.json": CONFIG}).replace("127.0.0.1", "localhost")
    seen: list[Any] = []
    git.redirects_from = "localhost"
    fetch.environment = {addresses.VARIABLE: "localhost"}
    _note(git, seen)
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert _is_refused(done), done
    assert {each.partition(":")[0] for each in seen} == {"localhost"}
    fetch.environment = {addresses.VARIABLE: "localhost,127.0.0.1"}
    assert fetch.run(git_source(url), artifact=VOLUME).code == 0


def test_an_lfs_server_cannot_lead_to_an_internal_host(fetch, git):
    """The place of a large file is named by the server, and is checked like all others."""
    url = git.repository("tiny", {"model.safetensors": WEIGHTS}).replace("127.0.0.1", "localhost")
    fetch.environment = {addresses.VARIABLE: "localhost"}
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert _is_refused(done), done
    assert git.asked == []


def _note(git, seen):
    answer = git.answer

    def noted(handler):
        seen.append(handler.headers["Host"])
        return answer(handler)

    git.answer = noted


@pytest.mark.parametrize("url", ["http://localhost.:{port}/x.git", "http://localhost:99999/x.git", "http://bücher.test/x.git"])
def test_hosts_that_git_would_read_differently_are_refused(fetch, git, url):
    """What could not be compared with the address that was checked is not tried."""
    done = fetch.run(git_source(url.format(port=git.url.rpartition(":")[2])), artifact=VOLUME)
    assert (done.code, "is not fetched" in done.last) == (65, True), done
