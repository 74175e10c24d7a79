"""The published client's whole suite on real engines: Kafka, MongoDB's protocol, S3, and containers on a real Kubernetes node.

Every role is a process of its own, and each is there twice.
"""

from __future__ import annotations

import pytest

from tests.acceptance import on_kubernetes
from tests.acceptance.proof import proved
from tests.acceptance.test_published_client import *  # noqa: F403  # the same tests, on the server below

pytestmark = [pytest.mark.acceptance, pytest.mark.engines, pytest.mark.slow]


del test_the_client_rides_over_a_restart  # noqa: F821  # it has a server of its own, and so is the same everywhere


@pytest.fixture(scope="module")
def server(node, tmp_path_factory):
    """All roles."""
    with on_kubernetes.deployed(node, tmp_path_factory.mktemp("dyff")) as subject:
        subject.start()
        yield subject
        proved(subject)
        assert set(subject.stop()) == {0}
        assert subject.lines("Traceback", "role-failed") == []
