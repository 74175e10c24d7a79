"""The node, as the tests of Dyff use it, and what it leaves behind."""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.engines import building, ports
from tests.engines.catalog import RECIPES
from tests.engines.node import launcher
from tests.engines.node.access import Node
from tests.engines.recipes import Unavailable
from tests.engines.server import running

SETTINGS = (
    "net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip


def test_nodes_on_one_machine_share_no_address():
    """The port that each has reserved gives it networks of its own, which are not those of Services either."""
    for one, two in itertools.pairwise(range(ports.END - ports.FIRST)):
        networks = [each for number in (one, two) for each in networks_of(number)]
        assert not any(first.overlaps(second) for first, second in itertools.combinations(networks, 2))
    last = networks_of(ports.END - ports.FIRST - 1)
    assert all(each.subnet_of(ipaddress.IPv4Network("10.0.0.0/8")) for each in last)
    assert max(each.broadcast_address for each in last) < ipaddress.IPv4Network(launcher.SERVICES).network_address


def networks_of(number: int) -> list[ipaddress.IPv4Network]:
    """The link to the node, and its pods."""
    machine = launcher.Machine(number)
    link = ipaddress.IPv4Network(f"{machine.host}/30", strict=False)
    assert ipaddress.ip_address(machine.node) in link
    return [link, ipaddress.IPv4Network(machine.pods)]


def test_what_ends_by_itself_meanwhile_is_no_error(monkeypatch):
    """Between the list of a node's processes and their end by our hand they may be gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    listed = iter([f"{gone.pid}\n"])
    monkeypatch.setattr(launcher, "_quiet", lambda *command: next(listed, "") if "pids" in command else "")
    launcher.Machine(ports.END).clean()


@pytest.fixture
def node() -> Node:
    if "DYFF_TEST_NODE" not in os.environ:
        missing("no Kubernetes node: DYFF_TEST_NODE is not set; run make test-engines as root")
    return Node(os.environ["DYFF_TEST_NODE"])


CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).sendall(b'from inside')"


def connect(node: Node, host: str, port: int) -> None:
    """From the node's network; it must succeed."""
    subprocess.run(node.inside(sys.executable, "-c", CONNECT, host, str(port)), check=True, timeout=60)


@pytest.mark.engines
def test_a_command_inside_reaches_services(node):
    """A program of this machine, started in the node's network, gets to the address of a Service."""
    connect(node, node.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"), 443)


@pytest.mark.engines
def test_a_server_of_this_machine_is_reached_from_the_node(node):
    """Also one that listens on the loopback address only, while a test lets it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def listen() -> None:
            with server.accept()[0] as connection:
                heard.append(connection.recv(100))

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        with node.reaching(server.getsockname()[1]) as port:
            connect(node, node.host, port)
            listening.join(30)
        with pytest.raises(subprocess.CalledProcessError):
            connect(node, node.host, port)
    assert heard == [b"from inside"]


@pytest.mark.engines
@pytest.mark.slow
def test_a_killed_node_leaves_nothing_and_comes_back_with_its_objects(tmp_path):
    """The machine is as before while it is down; started again, it has its objects, its tokens, and Services that work."""
    before = of_machine()
    try:
        built = building.build(RECIPES["node"])
    except Unavailable as reason:
        missing(str(reason))
    with running(RECIPES["node"], built, tmp_path / "home") as server:
        access = Path(server.address).read_text()
        Node(server.address).kubectl("create", "configmap", "kept")
        name = f"dyff{server._place.ports['number'] - ports.FIRST}"
        assert traces(name)
        assert of_machine() == before
        server.kill()
        assert traces(name) == []
        server.start()
        node = Node(server.address)
        assert node.kubectl("get", "configmap", "kept", "-o", "name") == "configmap/kept\n"
        assert Path(server.address).read_text() == access
        connect(node, node.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"), 443)
    assert traces(name) == []
    assert of_machine() == before


def of_machine() -> dict[str, str]:
    """Settings of the kernel that a kubelet would write."""
    return {name: Path("/proc/sys", name).read_text() for name in SETTINGS}


def traces(name: str) -> list[str]:
    """What of a node is on this machine: namespace, link, cgroups."""
    places = (f"run/netns/{name}", f"sys/class/net/{name}", f"sys/fs/cgroup/{name}", f"sys/fs/cgroup/*/{name}")
    return [str(each) for place in places for each in Path("/").glob(place)]
