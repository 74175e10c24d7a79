"""The NetworkPolicy of a session: nothing but its callers in, nothing out unless it is granted, and for as long as its pods live."""

from __future__ import annotations

import ipaddress

import pytest

from dyff.cluster import port
from dyff.kernel import programs, settings
from dyff.kernel.addresses import is_public
from dyff.operator import plan
from dyff.operator.manifests import network
from tests import kinds
from tests.planning import world
from tests.planning.world import ID, OTHER, World

NAME = f"session-{ID}"
DATA = {"kind": "Data", "name": "weights", "mountPath": "/weights", "source": {"kind": "Model", "id": OTHER}}
CLOSED = settings.Image(command=("x",))
OPEN = settings.Image(command=("x",), network="outside")
IMAGE = "registry.example/service@sha256:" + "0" * 64


def setup(url="s3://bucket", images=None, **chosen):
    return plan.Setup(settings.Operator(programs=programs.Programs(**chosen)), {"DYFF_STORAGE_URL": url}, images or {})


def policy(there):
    return there.get(port.NETWORK_POLICY, NAME)


def the_policy(given=None, **spec):
    return policy(World(world.a_session(**spec), setup=given or setup()).settle())["spec"]


def allows(spec, address, number=443):
    """Whether a policy lets a pod connect to an address outside the cluster, at that port."""
    found = ipaddress.ip_address(address)

    def within(block):
        cidr = ipaddress.ip_network(block["cidr"])
        return found in cidr and not any(found in ipaddress.ip_network(each) for each in block.get("except", ()))

    for rule in spec.get("egress", ()):
        ports = [each["port"] for each in rule.get("ports", ())]
        if (not ports or number in ports) and any(within(peer["ipBlock"]) for peer in rule["to"] if "ipBlock" in peer):
            return True
    return False


def services(spec):
    """The peers of a policy that are pods, without those of the DNS."""
    peers = [peer for rule in spec.get("egress", ()) if {each["port"] for each in rule.get("ports", ())} != {53} for peer in rule["to"]]
    return [peer for peer in peers if "ipBlock" not in peer]


def test_it_is_for_the_sessions_pods_and_goes_with_the_session():
    """It selects exactly the pods of the Deployment, is owned by the session, and is there before they are."""
    there = World(world.a_session()).settle()
    found, deployment = policy(there), there.get(port.DEPLOYMENT, NAME)
    assert found["spec"]["podSelector"] == deployment["spec"]["selector"]
    assert found["metadata"]["ownerReferences"] == deployment["metadata"]["ownerReferences"]
    assert found["spec"]["policyTypes"] == ["Ingress", "Egress"]
    kinds_made = [kind for kind, _ in there.objects]
    assert kinds_made.index(port.NETWORK_POLICY) < kinds_made.index(port.DEPLOYMENT)


def test_only_the_callers_of_the_service_come_in():
    """Clients of evaluations and Dyff's own API, at the port of the runner, and networks that the administrator names."""
    (rule,) = the_policy(setup(callers=("10.1.0.0/16",)))["ingress"]
    evaluation = World(world.an_evaluation()).settle()
    client = evaluation.get(port.JOB, f"eval-{ID}-client")["spec"]["template"]["metadata"]["labels"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    first, second, third = rule["from"]
    assert first["podSelector"]["matchLabels"].items() <= client.items()
    assert second == {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "dyff", "app.kubernetes.io/component": "api"}}}
    assert third == {"ipBlock": {"cidr": "10.1.0.0/16"}}
    runner = evaluation.get(port.DEPLOYMENT, f"eval-{ID}-infer")["spec"]["template"]["metadata"]["labels"]
    assert not any(each["podSelector"]["matchLabels"].items() <= runner.items() for each in (first, second))


@pytest.mark.parametrize(
    ("images", "want"),
    [
        ({}, False),
        ({"service": CLOSED}, False),
        ({"service": OPEN}, True),
        ({"registry.example/service": OPEN}, True),
        ({"registry.example/service": CLOSED, "service": OPEN}, False),
        ({"other.example/service": OPEN}, False),
        ({"registry.example/service:v1": OPEN}, False),
    ],
)
def test_the_internet_is_granted_by_the_name_of_the_image(images, want):
    """`pods.images.NAME.network: outside` opens it, with names as on the local cluster; otherwise nothing goes out, not even to DNS."""
    spec = the_policy(setup(images=images), image=IMAGE)
    assert allows(spec, "8.8.8.8") is want
    assert allows(spec, "2606:4700::1111") is want
    assert ("egress" in spec) is want


@pytest.mark.parametrize(
    ("place", "address", "number", "others"),
    [
        ("10.1.2.3:8081", "10.1.2.3", 8081, [("10.1.2.4", 8081), ("10.1.2.3", 8082), ("8.8.8.8", 8081)]),
        ("[fd00::7]:8081", "fd00::7", 8081, [("fd00::8", 8081), ("fd00::7", 80)]),
        ("model.example.com:443", "8.8.8.8", 443, [("8.8.8.8", 80), ("10.0.0.1", 443)]),
    ],
)
def test_a_named_place_is_opened(place, address, number, others):
    """`pods.images.NAME.connect` opens the port of an address; behind a name of the Internet, that port of public addresses."""
    spec = the_policy(setup(images={"service": settings.Image(command=("x",), connect=(place,))}), image=IMAGE)
    assert allows(spec, address, number)
    assert not [each for each in others if allows(spec, *each)]


@pytest.mark.parametrize(("place", "namespace"), [("llm.models.svc:80", "models"), ("llm:80", None)])
def test_a_named_service_is_opened(place, namespace):
    """The name of a Service opens its namespace, and DNS, by which the name is found."""
    spec = the_policy(setup(images={"service": settings.Image(command=("x",), connect=(place,))}), image=IMAGE)
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}} if namespace else {"podSelector": {}}
    assert {"to": [selector]} in spec["egress"]
    assert any("k8s-app" in str(rule) for rule in spec["egress"])
    assert not allows(spec, "8.8.8.8", 80)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "198.18.0.1", "::1", "fe80::1", "fd00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
     "2002:a00:1::1",
     "2001:0:a00:1::1", "::"],
)  # fmt: skip
def test_the_internet_has_no_internal_addresses(address):
    """Loopback, private, link-local, shared and reserved ranges stay closed, and IPv6 addresses that stand for IPv4 ones."""
    assert not allows(the_policy(setup(images={"service": OPEN}), image=IMAGE), address)


def test_the_rule_is_that_of_the_steps():
    """No address that a policy opens is one that a step would refuse, at both ends and in the middle of every range."""
    spec = the_policy(setup(images={"service": OPEN}), image=IMAGE)
    edges = {ipaddress.ip_network(each) for key, others in network.NOT_PUBLIC.items() for each in (key, *others)}
    tried = [edge[n] for edge in edges for n in (0, 1, edge.num_addresses // 2, edge.num_addresses - 1)]
    beside = [
        type(edge[0])(int(edge[0]) + n) for edge in edges for n in (-1, edge.num_addresses) if 0 < int(edge[0]) + n < 2**edge.max_prefixlen
    ]
    wrong = [str(each) for each in (*tried, *beside) if allows(spec, str(each)) and not is_public(str(each))]
    assert wrong == []


@pytest.mark.parametrize(
    ("url", "address", "number", "other"),
    [
        ("s3://bucket?endpoint=http%3A%2F%2F10.9.8.7%3A9000", "10.9.8.7", 9000, "10.9.8.8"),
        ("s3://bucket?endpoint=http%3A%2F%2F%5Bfd00%3A%3A7%5D%3A9000", "fd00::7", 9000, "fd00::8"),
        ("s3://bucket", "52.216.0.1", 443, "10.0.0.1"),
        ("gs://bucket", "142.250.0.1", 443, "169.254.169.254"),
        ("s3://bucket?endpoint=https%3A%2F%2Fs3.example.com", "52.216.0.1", 443, "192.168.0.1"),
    ],
)
def test_a_pod_that_fetches_data_reaches_the_store_and_no_other_address(url, address, number, other):
    """A policy holds for all containers of a pod, so the address of the store is open for it, at its port."""
    spec = the_policy(setup(url), volumes=[DATA])
    assert allows(spec, address, number)
    assert not allows(spec, address, number + 1)
    assert not allows(spec, other, number)


@pytest.mark.parametrize(
    ("host", "want"),
    [
        ("minio", {"podSelector": {}}),
        ("minio.storage.svc", {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}),
        ("minio.storage.svc.cluster.local", {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}),
    ],
)
def test_a_store_inside_the_cluster_is_its_namespace(host, want):
    """The name of a Service stands for pods, whose addresses and ports change."""
    spec = the_policy(setup(f"s3://bucket?endpoint=http://{host}:9000"), volumes=[DATA])
    assert services(spec) == [want]
    assert not allows(spec, "8.8.8.8", 9000)


def test_the_administrator_can_name_the_networks_of_the_store():
    """`operator.programs.storage` replaces what is derived from the URL."""
    spec = the_policy(setup("s3://bucket", storage=("10.5.0.0/16",)), volumes=[DATA])
    assert allows(spec, "10.5.1.1", 9000)
    assert not allows(spec, "52.216.0.1")


@pytest.mark.parametrize("url", ["s3://bucket", "file:///srv"])
def test_a_pod_without_data_reaches_no_store(url):
    """Only the steps of the pod need it; on one machine not even they."""
    assert "egress" not in the_policy(setup(url))


def test_a_grant_that_is_taken_back_closes_the_network():
    """The policy of a session that runs follows the settings in both directions, and nothing is written without a change."""
    there = World(world.a_session(image=IMAGE), setup=setup(images={"service": OPEN})).settle()
    version = policy(there)["metadata"]["resourceVersion"]
    assert policy(there.settle())["metadata"]["resourceVersion"] == version
    there.setup = setup()
    assert not policy(there.settle())["spec"].get("egress")
    there.setup = setup(images={"service": OPEN})
    assert allows(policy(there.settle())["spec"], "8.8.8.8")


@pytest.mark.parametrize("how", ["it is deleted", "it is gone", "it expires", "someone deletes the policy"])
def test_it_holds_until_the_last_pod_has_ended(how):
    """A program that is being stopped has a grace period, and no network in it."""
    there = World(world.a_session(expires="2026-11-01T13:00:00Z")).settle().serve(NAME)
    pod = there.run_pod(port.DEPLOYMENT, NAME)
    pod["metadata"]["finalizers"] = ["test/kubelet"]
    if how == "it is gone":
        there.patch(kinds.INFERENCE_SESSION, NAME, {"metadata": {"finalizers": []}})
    if how in ("it is deleted", "it is gone"):
        there.delete(kinds.INFERENCE_SESSION, NAME)
    elif how == "it expires":
        there.after(hours=2)
    else:
        there.delete(port.NETWORK_POLICY, NAME)
    there.settle()
    assert policy(there) is not None
    pod["status"] = {"phase": "Failed"}
    there.settle()
    found = policy(there)
    assert found is None if how != "someone deletes the policy" else "deletionTimestamp" not in found["metadata"]
