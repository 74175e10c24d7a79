from __future__ import annotations

from dyff.cluster.pods import directory, ports, specs
from tests.engines.ports import free_port, kept_by_the_kernel


def _pod() -> specs.Pod:
    container = {"name": "main", "ports": [{"containerPort": 80}]}
    return specs.parse({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [container]}})


def _after_a_run(port: int) -> directory.Facts:
    return directory.Facts(directory.Intent(0, "p", "", [], "", 1.0, 1, 1.0, port=port))


def test_a_pod_keeps_its_port():
    """A run that follows another one listens at the same port."""
    port = free_port()
    assert ports.choose(_pod(), _after_a_run(port), {"u": port}) == port


def test_a_port_that_the_kernel_keeps_is_not_used_again_yet():
    """A program that does not set SO_REUSEADDR could not listen there: the pod gets another port."""
    port = free_port()
    kept_by_the_kernel(port)
    assert ports.choose(_pod(), _after_a_run(port), {"u": port}) not in (port, None)
