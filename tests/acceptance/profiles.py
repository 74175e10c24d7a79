"""The two profiles that are tested whole, and one between them: where the same tests of the published client run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Server
from tests.acceptance.proof import proved


@contextmanager
def embedded(folder: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """One process with everything in its data directory."""
    subject = Server(folder / "data")
    subject.start()
    yield subject
    proved(subject)
    assert subject.stop() == 0
    assert subject.processes() == []


@contextmanager
def engines(folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Kafka, MongoDB's protocol, S3, and the local cluster, with processes that share them."""
    from tests.acceptance import deployment

    with _served(deployment.Deployment(folder, deployment.engines(folder), deployment.ON_THE_LOCAL_CLUSTER)) as subject:
        yield subject


@contextmanager
def kubernetes(folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """All engines: every role in processes of its own, twice, and containers on a real Kubernetes node."""
    from tests.acceptance import on_kubernetes

    with on_kubernetes.deployed(request.getfixturevalue("node"), folder) as made, _served(made) as subject:
        yield subject


@contextmanager
def _served(subject: Any) -> Iterator[Any]:
    subject.start()
    try:
        yield subject
        proved(subject)
        assert set(subject.stop()) == {0}
        assert subject.lines("Traceback", "role-failed") == []
    finally:
        subject.kill()


OPENED: dict[str, Callable[[Path, pytest.FixtureRequest], AbstractContextManager[Any]]] = {
    "profile:embedded": embedded,
    "profile:engines": engines,
    "profile:kubernetes": kubernetes,
}
PARAMS = [
    "profile:embedded",
    pytest.param("profile:engines", marks=pytest.mark.engines),
    pytest.param("profile:kubernetes", marks=[pytest.mark.engines, pytest.mark.slow]),
]
