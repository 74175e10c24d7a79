"""Redpanda and MongoDB in containers, where a Docker engine is: the same variables, the same tests.

Not tried yet: the machines on which the other recipes were made have no Docker engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.engines.recipes import EngineError, Recipe
from tests.engines.server import DEADLINE_S, wait

REDPANDA = "docker.redpanda.com/redpandadata/redpanda:v25.2.1"
MONGODB = "mongo:8.0.13"
_ANSWER_S = 10


def wanted() -> bool:
    """`DYFF_ENGINES`: docker, native, or auto (docker if its engine answers).

    Raises:
        EngineError: Another value.
    """
    choice = os.environ.get("DYFF_ENGINES", "auto")
    if choice not in ("auto", "docker", "native"):
        raise EngineError(f"DYFF_ENGINES is {choice!r}; it can be auto, docker or native")
    return choice == "docker" or (choice == "auto" and _engine_answers())


def _engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=_ANSWER_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def _redpanda() -> Iterator[str]:
    from testcontainers.community.kafka import RedpandaContainer

    with RedpandaContainer(REDPANDA) as container:
        yield container.get_bootstrap_server()


@contextmanager
def _mongodb() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    one_node = DockerContainer(MONGODB).with_command("mongod --replSet dyff --bind_ip_all").with_exposed_ports(27017)
    with one_node.waiting_for(LogMessageWaitStrategy("Waiting for connections")) as container:
        made = container.exec(["mongosh", "--quiet", "--eval", "rs.initiate()"])
        if made.exit_code:
            raise EngineError(f"MongoDB made no replica set: {made.output!r}")
        yield f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"


IMAGES: dict[str, tuple[str, Callable[[], Any]]] = {"DYFF_TEST_KAFKA": (REDPANDA, _redpanda), "DYFF_TEST_MONGODB": (MONGODB, _mongodb)}
"""By the variable that tells the tests where it is. testcontainers' own helper removes the containers if this process is killed."""


@contextmanager
def running(recipe: Recipe) -> Iterator[str]:
    """The container that stands in for the recipe, up and answering; its address. Raises EngineError if it does not come up."""
    image, start = IMAGES[recipe.variable]
    with start() as address:
        if reason := wait(lambda: recipe.check(address), lambda: True, DEADLINE_S):
            raise EngineError(f"{image} {reason}")
        yield address
