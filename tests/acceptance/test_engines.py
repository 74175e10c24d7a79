"""The published client's whole suite once more, on real engines, with the roles in processes of their own."""

from __future__ import annotations

import pytest

from tests.acceptance.deployment import Deployment, engines
from tests.acceptance.proof import proved
from tests.acceptance.test_published_client import *  # noqa: F403  # the same tests, on the server below

pytestmark = [pytest.mark.acceptance, pytest.mark.engines]

ROLES = ["api,orchestrator,informer,operator", "aggregator", "aggregator", "sink", "sink"]
"""The local cluster belongs to one process, so those that need the cluster are one."""


del test_the_client_rides_over_a_restart  # noqa: F821  # it has a server of its own, and so is the same everywhere


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Kafka, MongoDB's protocol, S3, and the local cluster."""
    folder = tmp_path_factory.mktemp("dyff")
    subject = Deployment(folder, engines(folder), ROLES)
    subject.start()
    yield subject
    proved(subject)
    codes = subject.stop()
    assert set(codes) == {0}
    assert subject.lines("Traceback", "role-failed") == []
